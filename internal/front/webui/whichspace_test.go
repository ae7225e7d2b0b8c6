package webui_test

import (
	"testing"

	"sluice"
	"sluice/internal/lab/browser"
)

// TestWhichNamespace: without a namespace in the address, one is led to the only one that one may see, and else chooses; what
// the address says besides stays.
func TestWhichNamespace(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	b, d := s.visit("")
	b.Click("link", "New job")
	b.Until(`location.pathname.endsWith('/ui/new/default')`)
	s.apply("prod", "namespace: prod\ntag:\n  db: [db1]\n")
	b.Open(d.URL + "new?targets=all")
	b.Sees("In which namespace?")
	everywhere(b, "which-namespace")
	b.Click("link", "prod")
	b.Until(`location.pathname.endsWith('/ui/new/prod')`)
	b.Sees("New job in prod")
	b.Sees("db1")
	b.Click("link", "Fleet")
	b.Sees("In which namespace?")
	b.Click("link", "default")
	b.Sees("Fleet of default")
	b.Click("link", "All namespaces")
	b.Until(`location.pathname.endsWith('/ui/fleet')`)

	v := browser.New(t)
	v.Open(s.door("", s.person("vera", sluice.Grant{Role: "viewer", Namespace: "prod"})).URL + "fleet?tab=hosts")
	v.Until(`location.pathname.endsWith('/ui/fleet/prod') && location.search === '?tab=hosts'`)
	v.Sees("db1")
	v.SeesNot("All namespaces")
}
