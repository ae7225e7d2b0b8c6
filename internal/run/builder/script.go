package builder

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/core/build"
)

const (
	lastLines = 12
	lastBytes = 4 << 10
	// oldest is when the files of bundles say that they are from: the first moment that a zip knows.
	oldest = 315532800
)

// timed has a part done, and keeps how long it took.
func (w *building) timed(part string, do func() (note string, err error)) error {
	began := w.Clock()
	note, err := do()
	took := w.Clock().Sub(began)
	if err != nil {
		return err
	}
	w.report.Took = append(w.report.Took, build.Took{Part: part, Seconds: build.Seconds(took), Note: note, Time: took})
	if note != "" {
		w.tell("%s: %s", part, note)
	}
	return nil
}

// script runs the script of a part, if there is one.
func (w *building) script(ctx context.Context, part, line string, timeout time.Duration) error {
	if line == "" {
		return nil
	}
	return w.timed(part, func() (string, error) {
		return "", w.run(ctx, part, line, timeout, map[string]string{
			"SLUICE_PART": part, "SLUICE_TARGET": w.report.Target, "SLUICE_VERSION": w.report.Version, "SLUICE_COMMIT": w.at.Commit, "SLUICE_BRANCH": w.at.Branch,
			"SOURCE_DATE_EPOCH": strconv.FormatInt(w.at.Committed.Unix(), 10),
		})
	})
}

// run runs a line in the checkout.
func (w *building) run(ctx context.Context, part, line string, timeout time.Duration, more map[string]string) error {
	w.tell("%s: %s", part, line)
	var last tail
	how, err := w.Run(ctx, Line{Text: line, Dir: w.Dir, Env: w.environment(more), Output: io.MultiWriter(w.Output, &last), Timeout: timeout})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case how != "":
		return &build.Failed{Part: part, Script: line, How: how, Last: last.lines()}
	}
	return nil
}

// environment is what a script gets: what we have, but for the forge's token, then what the app sets, then what is built.
func (w *building) environment(more map[string]string) []string {
	set := map[string]string{}
	for _, v := range w.Environ {
		if name, value, ok := strings.Cut(v, "="); ok {
			set[name] = value
		}
	}
	if s := w.app.Build.Status; s != nil {
		delete(set, s.TokenEnv)
	}
	for _, part := range []map[string]string{more, w.app.Build.Env, {"SLUICE_APP": w.app.App}} {
		maps.Copy(set, part)
	}
	out := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out = append(out, name+"="+set[name])
	}
	return out
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-lastBytes):]...)
	if extra := len(t.b) - lastBytes; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

func (t *tail) lines() (out []string) {
	for line := range bytes.Lines(bytes.TrimRight(t.b, "\n")) {
		out = append(out, strings.ToValidUTF8(strings.TrimRight(string(line), "\r\n"), "?"))
	}
	return out[max(0, len(out)-lastLines):]
}
