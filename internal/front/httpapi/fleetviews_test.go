package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

const shop = `namespace: prod
confirm_above: 5
tag:
  app: {web: ["web[01-10]"], db: [db1, db2]}
  canary: [web01]
sequence:
  rollout: [{target: $canary, pause: 10m, approve: true}, {target: $app.web, ramp: [2, 100%], max_failures: 1}]
constraint:
  $app: 30%
`

// shopWorld is a world with that fleet applied.
func shopWorld(t *testing.T) *world {
	w := newWorld(t)
	if _, err := w.client(w.token("root2", sluice.Grant{Role: access.Admin})).ApplyFleet(t.Context(), "prod", bundle(t, shop), "the first", -1); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestMeaning: a fleet's rules are told as they work out, and who is out and who is retired counts.
func TestMeaning(t *testing.T) {
	w := shopWorld(t)
	for host, act := range map[sluice.Host]control.HostAct{"web10": control.Retire, "web04": control.Hold} {
		if _, err := w.service.ChangeHosts(t.Context(), "prod", act, []sluice.Host{host}, "disk"); err != nil {
			t.Fatal(err)
		}
	}
	c := w.client(w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	m, err := c.Means(t.Context(), "prod", 0)
	if err != nil || m.Version != 1 || m.ConfirmAbove != 5 || len(m.Tags) != 4 || len(m.Groups) != 2 || len(m.Sequences) != 1 {
		t.Fatalf("%+v, error %v", m, err)
	}
	for _, g := range []struct {
		got  any
		want string
	}{
		{m.Groups[0], "{$app $app.web 30% 2 {9 web[01-09] 0} {1 web04 0}}"},
		{m.Groups[1], "{$app $app.db 30% 1 {2 db[1-2] 0} {0  0}}"},
		{m.Sequences[0].Entries, "[{$canary {1 web01 0}  10m0s true []} {$app.web {10 web[01-10] 0} 1  false [2 100%]}]"},
	} {
		if fmt.Sprint(g.got) != g.want {
			t.Errorf("%v, want %s", g.got, g.want)
		}
	}
	if m, err := c.Means(t.Context(), "prod", 7); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("a version that is not there: %+v, error %v", m, err)
	}
}

// TestFleetDiff: two versions are compared by what they mean and by their text.
func TestFleetDiff(t *testing.T) {
	w := shopWorld(t)
	c := w.client(w.token("ann", sluice.Grant{Role: access.Admin, Namespace: "prod"}))
	if _, err := c.FleetDiff(t.Context(), "prod", 0, 0); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("the first against none: %v", err)
	}
	if _, err := c.ApplyFleet(t.Context(), "prod", bundle(t, strings.Replace(shop, "web[01-10]", "web[01-20]", 1)), "ten more", 1); err != nil {
		t.Fatal(err)
	}
	d, err := c.FleetDiff(t.Context(), "prod", 0, 0)
	if err != nil || d.From.Version != 1 || d.To.Version != 2 || d.To.Note != "ten more" || d.Added != (api.Some{Count: 10, Text: "web[11-20]"}) || d.Removed.Count != 0 {
		t.Fatalf("%+v, error %v", d, err)
	}
	if len(d.Constraints) != 1 || len(d.Constraints[0].Parts) != 1 || *d.Constraints[0].Parts[0].Capacity != 6 || *d.Constraints[0].Parts[0].CapacityWas != 3 {
		t.Errorf("constraints %+v", d.Constraints)
	}
	if len(d.Files) != 1 || d.Files[0].Path != "fleet.yaml" || len(d.Files[0].Runs) != 1 {
		t.Fatalf("files %+v", d.Files)
	}
	lines := d.Files[0].Runs[0]
	if i := slices.IndexFunc(lines, func(l api.LineDiff) bool { return l.Kind == "gone" }); i < 0 || lines[i].Was != 4 || lines[i+1].Now != 4 ||
		lines[i+1].Kind != "new" || !strings.Contains(lines[i+1].Text, "web[01-20]") {
		t.Errorf("lines %+v", lines)
	}
	if back, err := c.FleetDiff(t.Context(), "prod", 2, 1); err != nil || back.Removed.Count != 10 {
		t.Errorf("the other way: %+v, error %v", back, err)
	}
}

// TestExpressions: an expression is worked out as it is typed; where it is wrong, the place is told, and what was meant.
func TestExpressions(t *testing.T) {
	w := shopWorld(t)
	token := w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod"})
	get := func(query string, to any) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/namespaces/prod/hosts"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	var page struct {
		Hosts   []sluice.Host
		Count   int
		More    bool
		Folded  api.Some
		Details []api.HostStanding
	}
	if s := get("?targets=$app.web&limit=3", &page); s != 200 || page.Count != 10 || len(page.Hosts) != 3 || !page.More || page.Folded.Text != "web[01-10]" {
		t.Errorf("%d: %+v", s, page)
	}
	if s := get("?targets=$app.web&limit=9&after=web03", &page); s != 200 || page.Count != 10 || len(page.Hosts) != 7 || page.Hosts[0] != "web04" {
		t.Errorf("%d: %+v", s, page)
	}
	if s := get("?targets=web01&details=true", &page); s != 200 || len(page.Details) != 1 || fmt.Sprint(page.Details[0].Tags, page.Details[0].Groups) != "[app app.web canary] [$app.web]" {
		t.Errorf("%d: %+v", s, page)
	}
	if page.More = true; get("?targets=all&limit=0", &page) != 200 || page.Count != 12 || len(page.Hosts) != 0 || !page.More {
		t.Errorf("%+v", page)
	}
	for _, c := range []struct {
		text   string
		column int
		says   string
		hint   string
	}{
		{"$app.web & $canery", 12, "there is no tag $canery", "did you mean $canary?"},
		{"web[01-", 8, "expected a number", "a range is written as [01-20] or [a-c]"},
		{"web01 web02", 7, "expected , or & or ! here, not 'w'", "names are separated by commas: a,b is a or b"},
		{"$canary ! $canary", 1, "the expression means no hosts at all", ""},
	} {
		var p api.Problem
		s := get("?targets="+strings.NewReplacer(" ", "%20", "&", "%26", "$", "%24", "[", "%5B").Replace(c.text), &p)
		if s != 422 || len(p.Errors) != 1 || p.Errors[0].Line != 1 || p.Errors[0].Column != c.column || !strings.Contains(p.Errors[0].Message, c.says) || p.Hint != c.hint {
			t.Errorf("%q: %d, %+v", c.text, s, p)
		}
	}
	c := w.client(token)
	words, err := c.Complete(t.Context(), "prod", "$app.web & $c")
	if err != nil || fmt.Sprint(words) != "[{$canary tag 1}]" {
		t.Errorf("%v, error %v", words, err)
	}
}
