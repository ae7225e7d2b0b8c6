package app_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"sluice"
	"sluice/internal/app"
)

// TestABadPlaceMakesNothing: what is wrong with a flag is said before there is data, and a first token that nobody would see
// again.
func TestABadPlaceMakesNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := &app.Server{Data: data, Listen: "127.0.0.1:0", Home: t.TempDir(), Env: func(string) string { return "" }, Clock: app.Now,
		Log: slog.New(slog.DiscardHandler), Archive: "s3://bucket/p?endpoint=http://example.com",
		FirstToken: func(string) error { t.Error("there is a token"); return nil }}
	if err := s.Run(t.Context()); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is data, error %v", err)
	}
}
