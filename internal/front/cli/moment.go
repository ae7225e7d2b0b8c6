package cli

import (
	"strings"
	"time"

	"sluice"
)

// timeOf reads a time: to the second, a day, or a span before now; "" is the zero time.
func timeOf(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(strings.TrimSuffix(text, " ago")); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, now.Local().Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, sluice.Errorf(sluice.Usage, "%s: %q is no time", flag, text).
		WithHint("such as 2026-01-02, 2026-01-02T15:04:05Z, or 36h for a day and a half ago")
}
