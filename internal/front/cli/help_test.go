package cli

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// commands are all commands but those that cobra brings along.
func commands(t *testing.T) (out []*cobra.Command) {
	t.Helper()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() != "completion" && c.Name() != "help" {
			out = append(out, c)
			for _, sub := range c.Commands() {
				walk(sub)
			}
		}
	}
	walk((&app{World: World{Env: func(string) string { return "" }}}).root())
	if len(out) < 30 {
		t.Fatalf("only %d commands were found", len(out))
	}
	return out
}

func TestHelpFitsTheSmallestTerminal(t *testing.T) {
	for _, c := range commands(t) {
		c.InitDefaultHelpFlag()
		for line := range strings.SplitSeq(c.Long+"\n"+c.UsageString(), "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%s --help has a line of %d columns: %s", c.CommandPath(), n, line)
			}
		}
	}
}

// TestExamplesAreUnderstood: the flags of examples are there, and the arguments are as many as the command takes.
func TestExamplesAreUnderstood(t *testing.T) {
	for _, c := range commands(t) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			words := shellWords(line)
			if len(words) == 0 {
				continue
			}
			root := (&app{World: World{Env: func(string) string { return "" }}}).root()
			target, rest, err := root.Find(words[1:])
			if err != nil || words[0] != "sluice" || target == root {
				t.Errorf("%s: %q is no command: %v", c.CommandPath(), line, err)
				continue
			}
			if err := target.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			} else if err := target.ValidateArgs(target.Flags().Args()); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			}
		}
	}
}

// shellWords splits a line at its spaces, as a shell does that knows no quotes but ' and the comments of examples.
func shellWords(line string) (out []string) {
	for i, piece := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, piece)
			continue
		}
		words := strings.Fields(piece)
		if at := slices.Index(words, "#"); at >= 0 {
			return append(out, words[:at]...)
		}
		out = append(out, words...)
	}
	return out
}
