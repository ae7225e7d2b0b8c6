package main

import (
	"bytes"
	"os"
	"testing"
)

// TestWhatIsServedIsWhatWasPublished: the module that is checked in is the one that the published files make.
func TestWhatIsServedIsWhatWasPublished(t *testing.T) {
	want, err := Bundle()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../front/webui/ui/vendor/preact.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("ui/vendor/preact.js is another one: go generate ./internal/front/webui")
	}
}
