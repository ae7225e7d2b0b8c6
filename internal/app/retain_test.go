package app

import (
	"path/filepath"
	"testing"

	"sluice"
	"sluice/internal/adapter/dirarchive"
	"sluice/internal/adapter/s3/s3archive"
)

// What is not kept goes into a bucket or a directory, by how it is named; what is wrong with a name ends the start.
func TestWhereTheArchiveIs(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	if a, err := archive(t.Context(), filepath.Join(t.TempDir(), "s3")); err != nil {
		t.Error(err)
	} else if _, is := a.(*dirarchive.Archive); !is {
		t.Errorf("a directory is a %T", a)
	}
	if a, err := archive(t.Context(), "s3://bucket/prod?endpoint=http://127.0.0.1:1"); err != nil {
		t.Error(err)
	} else if _, is := a.(*s3archive.Archive); !is {
		t.Errorf("a bucket is a %T", a)
	}
	if _, err := archive(t.Context(), "s3://bucket/prod?endpoint=http://s3.example.com"); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("a bucket in clear text: %v", err)
	}
}
