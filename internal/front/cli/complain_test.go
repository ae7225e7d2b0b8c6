package cli

import (
	"bytes"
	"strings"
	"testing"

	"sluice"
)

// TestHintsAreClean: what a host, a file or a server has put into a hint steers no terminal.
func TestHintsAreClean(t *testing.T) {
	var out bytes.Buffer
	a := &app{World: World{Stderr: &out}}
	a.complain(sluice.Errorf(sluice.Usage, "bad \x1b[2J").WithHint("try \x1b]0;x\x07 this"))
	if strings.ContainsAny(out.String(), "\x1b\x07") || !strings.Contains(out.String(), "try ") {
		t.Errorf("%q", out.String())
	}
}
