package app_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/front/cli"
)

// TestAccessCommands: an administrator makes somebody known by the command line, who then is who they are said to be, and
// may do no more than was granted.
func TestAccessCommands(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	sluice := func(c *client.Client, args ...string) (status int, out, complaint string) {
		var stdout, stderr bytes.Buffer
		status = cli.Main(context.Background(), cli.World{Args: args, Stdin: strings.NewReader(""),
			Env: func(name string) string {
				return map[string]string{"SLUICE_SERVER": "http://" + s.address, "SLUICE_TOKEN": "token"}[name]
			},
			Stdout: &stdout, Stderr: &stderr, Clock: app.Now,
			Client: func(cli.Server) (*client.Client, func() error, error) { return c, func() error { return nil }, nil }})
		return status, stdout.String(), stderr.String()
	}
	must := func(c *client.Client, args ...string) string {
		t.Helper()
		status, out, complaint := sluice(c, args...)
		if status != 0 {
			t.Fatalf("%q ends with %d: %s", args, status, complaint)
		}
		return out
	}
	must(s.client, "access", "add", "ann")
	must(s.client, "access", "define-role", "pager", "job.see", "job.halt")
	must(s.client, "access", "grant", "ann", "pager", "--namespace", "prod", "--tag", "$web")
	secret := must(s.client, "access", "token", "make", "--for", "ann", "--expires", "1h", "--label", "phone")
	if secret != strings.TrimSpace(secret)+"\n" || !strings.HasPrefix(secret, "sluice_") {
		t.Errorf("the secret is not alone on stdout: %q", secret)
	}
	ann, err := client.New(s.client.Server(), strings.TrimSpace(secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	if out := must(ann, "whoami"); !strings.HasPrefix(out, "ann\n  pager in prod on $web\nby the token ") || !strings.Contains(out, "(phone)") {
		t.Errorf("whoami says %q", out)
	}
	if out := must(ann, "access", "tokens", "-o", "json"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"label":"phone"`) || strings.Contains(out, "digest") {
		t.Errorf("tokens: %s", out)
	}
	for _, args := range [][]string{{"access", "list"}, {"access", "grant", "ann", "admin"}, {"access", "remove", "admin"}, {"access", "roles"}} {
		if status, _, complaint := sluice(ann, args...); status == 0 || !strings.Contains(complaint, "ann may not do access.") {
			t.Errorf("ann does %q: status %d, %s", args, status, complaint)
		}
	}
	if status, _, complaint := sluice(s.client, "access", "remove", "admin"); status != 2 || !strings.Contains(complaint, "last admin") {
		t.Errorf("the last admin is removed: status %d, %s", status, complaint)
	}
	if out := must(s.client, "access", "list", "ann"); !strings.Contains(out, "ann\n  pager in prod on $web\n  token ") {
		t.Errorf("list says %q", out)
	}
	must(s.client, "access", "revoke-grant", "ann", "pager", "--namespace", "prod", "--tag", "web")
	must(s.client, "access", "remove", "ann")
	if status, _, complaint := sluice(ann, "whoami"); status != 2 || !strings.Contains(complaint, "not valid") {
		t.Errorf("ann is still somebody: status %d, %s", status, complaint)
	}
}
