package httpapi_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/lab/apidoc"
)

var update = flag.Bool("update", false, "write docs/api.md anew")

const reference = "../../../docs/api.md"

func TestReferenceIsCurrent(t *testing.T) {
	w := newWorld(t)
	want, err := apidoc.Reference(ask(t, w.api, http.MethodGet, "/api/v1/openapi.json").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil || string(got) != want {
		t.Errorf("docs/api.md is not what the API is (go test ./internal/front/httpapi -run Reference -update writes it anew); %v", err)
	}
	for _, r := range w.api.Routes() {
		if !strings.Contains(want, "\n### "+r.Method+" "+r.Path+"\n") {
			t.Errorf("the reference has no %s %s", r.Method, r.Path)
		}
	}
}

var shell = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestExamplesWork runs what stands in docs/api.md: the story at the beginning as it is, and of each way in its call, which
// must reach it and be understood.
func TestExamplesWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: there is no curl")
	}
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	token := w.token("ann", sluice.Grant{Role: access.Admin})
	run := func(script string) (string, error) {
		c := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "SLUICE_SERVER=" + w.server.URL, "SLUICE_TOKEN=" + token, "JOB=0123456789ab"}
		var said bytes.Buffer
		c.Stdout, c.Stderr = &said, &said
		err := c.Run()
		return said.String(), err
	}
	story, rest, ok := strings.Cut(string(text), "\n## Errors\n")
	blocks := shell.FindAllStringSubmatch(story, -1)
	if !ok || len(blocks) < 5 {
		t.Fatalf("the story has %d parts", len(blocks))
	}
	var script strings.Builder
	for _, m := range blocks {
		script.WriteString(m[1])
	}
	said, err := run(script.String())
	if err != nil || !strings.Contains(said, `"rule":"operator"`) || !strings.Contains(said, "event: end") {
		t.Fatalf("the story ends with %v: %s", err, said)
	}
	calls := shell.FindAllStringSubmatch(rest, -1)
	if n := len(w.api.Routes()) + len(w.api.Open()); len(calls) != n {
		t.Errorf("%d calls for %d routes", len(calls), n)
	}
	for _, m := range calls {
		said, err := run(strings.Replace(m[1], "curl -sS", `curl -sS -o /dev/null -w '%{http_code}'`, 1))
		switch {
		case err != nil:
			t.Errorf("%v: %s\n%s", err, said, m[1])
		case strings.Contains(m[1], `"fleet":{}`) && said == "422": // an empty fleet is understood, and refused
		case strings.Contains(m[1], "/plan/files") && said == "422": // what is asked for is no deploy
		case strings.Contains(m[1], "/sealing") && said == "422": // this world has no worker that opens secrets
		case strings.Contains(m[1], `/session"`) && strings.Contains(m[1], "POST") && said == "401": // it shows no real token
		case !regexp.MustCompile(`^(2..|404|409)$`).MatchString(said):
			t.Errorf("status %s of\n%s", said, m[1])
		}
	}
}
