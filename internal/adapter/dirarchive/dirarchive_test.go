package dirarchive_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/adapter/dirarchive"
	"sluice/internal/lab/conform"
)

func TestConform(t *testing.T) {
	conform.Archive(t, func(t *testing.T) conform.Shed {
		dir := filepath.Join(t.TempDir(), "archive")
		return conform.Shed{
			Open: func(t *testing.T) conform.VerifiedArchive {
				a, err := dirarchive.New(dir)
				if err != nil {
					t.Fatal(err)
				}
				return a
			},
			Segments: func(t *testing.T) (names []string) {
				all, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range all {
					if e.Name() != "index.jsonl" {
						names = append(names, e.Name())
					}
				}
				return names
			},
			Read: func(t *testing.T, name string) []byte {
				b, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			},
			Change: func(t *testing.T, name string) {
				if !strings.HasSuffix(name, ".tar.gz") {
					t.Fatalf("%s is no segment", name)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
