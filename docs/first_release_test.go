package docs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/internal/lab/testfleet"
)

var (
	sameFile   = regexp.MustCompile("(?ms)^<!-- same: (\\S+) -->\n```\\w+\n(.*?)^```$")
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$(\n\n<!-- prints -->\n```text\n(.*?)^```$)?")
)

// What is another one in every run: times, how long something took, how much it was, and ids of jobs.
var varies = regexp.MustCompile(`(?m)\d\d:\d\d:\d\d|\b\d+(\.\d+)?m?s\b|\d+ answers|[0-9a-hjkmnp-tv-z]{12}\b|on web\d$|\d+ times`)

// The page that a newcomer follows is run as it stands, on real hosts, in one shell; what it prints is what stands there.
func TestFirstRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it deploys on a fleet")
	}
	text, err := os.ReadFile("first-release.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range sameFile.FindAllStringSubmatch(string(text), -1) {
		if is, err := os.ReadFile(filepath.Join("..", m[1])); err != nil || string(is) != m[2] {
			t.Errorf("the page shows %s otherwise than it is: %v", m[1], err)
		}
	}
	found := shellBlock.FindAllStringSubmatch(string(text), -1)
	if len(found) < 7 {
		t.Fatalf("only %d blocks were found", len(found))
	}
	f := testfleet.Start(t, testfleet.Config{Hosts: 4, Names: []string{"web1", "web2", "web3", "lb1"},
		Host: testfleet.HostConfig{Files: map[string]string{"/var/log/supervisor/.keep": ""}}})
	for _, need := range []string{"supervisord", "haproxy"} {
		if _, err := f.Hosts[0].Exec(t.Context(), "command -v "+need); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("there is no %s; .ci/install-test-deps installs it", need)
			}
			t.Skipf("skipped: there is no %s here", need)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", "../examples", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "sluice"), "../cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	printed := follow(t, f, dir, found)
	for i, m := range found {
		if m[3] != "" && !like(m[3], printed[i]) {
			t.Errorf("%s\nprints\n%s\nand the page says\n%s", m[1], printed[i], m[3])
		}
	}
}

// follow runs the blocks one after the other in one shell, as a person does who types them, and returns what each printed.
func follow(t *testing.T, f *testfleet.Fleet, dir string, found [][]string) []string {
	t.Helper()
	const mark = "---- the next block ----"
	var script, known strings.Builder
	script.WriteString("mount --bind \"$0\" /etc/hosts\n")
	for _, m := range found {
		// The page has the id of a job of another day.
		block := regexp.MustCompile(`(rollback) [0-9a-z]{12}`).ReplaceAllString(m[1],
			`$1 "$$(sluice jobs -n 1 -o json | grep -o '"job":"[^"]*"' | head -n 1 | cut -d '"' -f 4)"`)
		script.WriteString(block + "echo '" + mark + "'\n")
	}
	for _, h := range f.Hosts {
		known.WriteString(h.IP + " " + h.Name + "\n")
	}
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte(known.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := f.Command(ctx, "unshare", "--mount", "bash", "-c", script.String(), hosts)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	printed := strings.Split(string(out), mark+"\n")
	if err != nil || len(printed) != len(found)+1 {
		t.Fatalf("%v: %s", err, out)
	}
	return printed
}

// like reports whether a text is what a page says, where "..." stands for any lines, and what varies may be another one.
func like(says, text string) bool {
	says, text = varies.ReplaceAllString(says, "#"), varies.ReplaceAllString(text, "#")
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for line := range strings.Lines(says) {
		if line == "...\n" {
			b.WriteString(`(.*\n)?`)
			continue
		}
		b.WriteString(regexp.QuoteMeta(strings.TrimSuffix(line, "\n")) + `\s*\n`)
	}
	b.WriteString(`\s*\z`)
	return regexp.MustCompile(b.String()).MatchString(text)
}

func TestWhatIsLikeAPage(t *testing.T) {
	const page = "...\n19:22:50 [1/3] web1: failed (13s)\n...\nversion 2.0: 8621 answers\nfailed: 0\n"
	for text, want := range map[string]bool{
		"19:22:51 [1/3] web1: failed (9.5s)\nversion 2.0: 1 answers\nfailed: 0\n":                         true,
		"before\n20:00:00 [1/3] web1: failed (1s)\nmore\n\nversion 2.0: 12 answers\nfailed: 0\n":          true,
		"19:22:51 [1/3] web1: failed (9.5s)\nversion 2.0: 1 answers\nfailed: 3\n":                         false,
		"19:22:51 [1/3] web1: failed (9.5s)\nversion 2.0: 1 answers\nfailed: 0\n  1 x refused\n":          false,
		"19:22:51 [1/3] web1: ok (9.5s)\nversion 2.0: 1 answers\nfailed: 0\n":                             false,
		"19:22:51 [1/3] web1: failed (9.5s)\nversion 3.0: 1 answers\nfailed: 0\n":                         false,
		"19:22:51 [1/3] web1: failed (9.5s)\nversion 2.0: 1 answers\nversion 3.0: 1 answers\nfailed: 0\n": false,
	} {
		if like(page, text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
