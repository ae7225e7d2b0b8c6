package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestRecoverySteps: what docs/cluster.md has people type when a cluster is lost is what the story types, in this order: the same commands,
// with the same flags.
func TestRecoverySteps(t *testing.T) {
	story, err := os.ReadFile("../../testdata/server/recover.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var typed [][]string
	for line := range strings.Lines(string(story)) {
		if _, command, ok := strings.Cut(line, "sluice "); ok && (strings.HasPrefix(line, "status 0 ") || strings.HasPrefix(line, "start ")) {
			typed = append(typed, shape(command))
		}
	}
	text, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"### From one server that is left", "### From a backup"} {
		_, section, ok := strings.Cut(string(text), title+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		if !ok {
			t.Errorf("there is no %q", title)
			continue
		}
		steps, at := 0, 0
		for line := range strings.Lines(section) {
			command, ok := strings.CutPrefix(line, "sluice ")
			if !ok {
				continue
			}
			steps++
			want := shape(command)
			i := slices.IndexFunc(typed[at:], func(got []string) bool {
				return !slices.ContainsFunc(want, func(word string) bool { return !slices.Contains(got, word) })
			})
			if i < 0 {
				t.Errorf("%s: the story does not type %q there: %q", title, strings.TrimSpace(command), want)
				continue
			}
			at += i + 1
		}
		if steps < 5 {
			t.Errorf("%s: %d steps", title, steps)
		}
	}
}

// shape is what a command line has whatever it is about: its commands, which come first, and its flags.
func shape(command string) (out []string) {
	flags := false
	for _, w := range strings.Fields(command) {
		flags = flags || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != ""
		if !flags || strings.HasPrefix(w, "-") {
			out = append(out, w)
		}
	}
	return out
}
