// Package systemd_test holds the units to what they promise: the service manager understands them, they may do little, and
// the program knows the flags that they give it.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exposure is the most that systemd-analyze may find, in tenths: 10.0 is everything.
const exposure = "15"

func TestUnits(t *testing.T) {
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatalf("%v, error %v", units, err)
	}
	for _, name := range units {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			for _, line := range []string{"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0077",
				"LimitCORE=0", "KillSignal=SIGTERM", "Restart=on-failure"} {
				if !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("there is no %s", line)
				}
			}
			if regexp.MustCompile(`(?i)(token|password|secret)=`).MatchString(text) {
				t.Error("a unit can be read by everybody, and there is a secret in it")
			}
			analyze(t, name, text)
		})
	}
}

func analyze(t *testing.T, name, text string) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("skipped: there is no systemd-analyze")
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/bin/sluice", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold="+exposure, file).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// TestUnitsAreUnderstood: the program has every flag that its units give it, and they have it tell how it is.
func TestUnitsAreUnderstood(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the program")
	}
	program := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"server", "worker"} {
		b, err := os.ReadFile("sluice-" + name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/sluice (.*) \$SLUICE_[A-Z]+_FLAGS$`).FindStringSubmatch(string(b))
		if line == nil || !strings.Contains(string(b), "\nType=notify\n") || !strings.Contains(string(b), "\nWatchdogSec=") {
			t.Fatalf("the unit does not start a %s that tells how it is", name)
		}
		c := exec.CommandContext(t.Context(), program, append(strings.Fields(line[1]), "--help")...)
		c.Env = []string{"HOME=" + t.TempDir()}
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
