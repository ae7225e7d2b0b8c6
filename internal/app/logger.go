package app

import (
	"io"
	"log/slog"

	"sluice"
)

// logger writes lines as text or JSON, from a level on. "" stands for text, and for info.
func logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var o slog.HandlerOptions
	if level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, sluice.Errorf(sluice.Usage, "there is no log level %q", level).WithHint("debug, info, warn and error are")
		}
		o.Level = l
	}
	switch format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	}
	return nil, sluice.Errorf(sluice.Usage, "the log can be text or json, not %q", format)
}
