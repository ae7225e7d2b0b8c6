package spell_test

import (
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/front/spell"
)

// TestCommandLine: what cannot be typed is not written. That the rest means the same job is shown where there is a server.
func TestCommandLine(t *testing.T) {
	copied := &api.Copy{Digest: "sha256:1", Name: "app.conf", Dest: "/etc/app.conf"}
	for _, c := range []struct {
		name    string
		s       api.Submit
		byFleet bool
		line    string
		call    bool
	}{
		{"by a fleet", api.Submit{Namespace: "prod", Targets: "$web", Command: "uptime"}, true, `sluice run --namespace prod -t '$web' -- uptime`, true},
		{"without one", api.Submit{Namespace: "default", Targets: "web[1-2]", Command: "uptime"}, false, `sluice run -w 'web[1-2]' -- uptime`, true},
		{"a copy", api.Submit{Targets: "all", Copy: copied}, true, `sluice copy -t all -- app.conf /etc/app.conf`, true},
		{"a fetch", api.Submit{Targets: "all", Fetch: "/etc/x"}, true, `sluice fetch -t all --output-dir fetched -- /etc/x`, true},
		{"a deploy with variables, which the command has no flag for", api.Submit{Targets: "all", Release: &sluice.Release{App: "shop", Env: "live", Version: "1"}, Options: api.Options{Env: map[string]string{"A": "b"}}}, true, "", true},
		{"another user", api.Submit{Targets: "all", Command: "id", Options: api.Options{Sudo: "app"}}, true, `sluice run -t all '--sudo=app' -- id`, true},
		{"a password", api.Submit{Targets: "all", Command: "id", Options: api.Options{Sudo: "root", AskSudoPassword: true}}, true,
			`sluice run -t all --sudo --ask-sudo-password -- id`, false},
		{"a key", api.Submit{Targets: "all", Command: "id", Options: api.Options{AskPrivateKey: true, Signed: true}}, true,
			`sluice run -t all --identity-file KEY --sign -- id`, false},
		{"nothing to run yet", api.Submit{Targets: "all"}, true, "", true},
		{"a fleet along", api.Submit{Targets: "all", Command: "id", Fleet: map[string]any{}}, true, "", false},
		{"what has no flag", api.Submit{Targets: "all", Command: "id", Options: api.Options{OutputLimit: 5}}, true, "", true},
		{"a copy on a terminal", api.Submit{Targets: "all", Copy: copied, Options: api.Options{TTY: true}}, true, "", true},
		{"a copy that changes nothing", api.Submit{Targets: "all", Copy: copied, Options: api.Options{ReadOnly: true}}, true, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := spell.CommandLine(c.s, c.byFleet); got != c.line {
				t.Errorf("%s, want %s", got, c.line)
			}
			if got := spell.Curl(c.s); (got != "") != c.call || strings.Contains(got, "sluice_") {
				t.Errorf("called by %q", got)
			}
		})
	}
}
