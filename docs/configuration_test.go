package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	exampleFile = regexp.MustCompile("(?ms)^<!-- file: (\\S+) -->\n```\\w+\n(.*?)^```$")
	exampleRun  = regexp.MustCompile("(?ms)^```sh\n([^`]*?)^```\n\n<!-- prints -->\n```text\n(.*?)^```$")
)

// The example of configuration.md is made as it stands there, and prints what stands there.
func TestConfigurationExample(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the program")
	}
	p := build(t)
	text, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, m := range exampleFile.FindAllStringSubmatch(string(text), -1) {
		name := filepath.Join(dir, m[1])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(m[2]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runs := 0
	fresh := exampleRun.ReplaceAllStringFunc(string(text), func(block string) string {
		runs++
		m := exampleRun.FindStringSubmatch(block)
		printed := ""
		for _, args := range commandLines(m[1]) {
			c := exec.Command(p.path, args...)
			c.Dir, c.Env = dir, []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
			out, _ := c.CombinedOutput() // diff ends with 1
			printed += string(out)
		}
		if printed != m[2] && !*update {
			t.Errorf("%s prints\n%s\nand configuration.md says (go test ./docs -update writes it anew)\n%s", m[1], printed, m[2])
		}
		return strings.Replace(block, "```text\n"+m[2], "```text\n"+printed, 1)
	})
	if runs < 5 {
		t.Errorf("only %d commands were found", runs)
	}
	if *update {
		if err := os.WriteFile("configuration.md", []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
