package webui_test

import (
	"strings"
	"testing"

	"sluice/internal/lab/browser"
)

const appFleet = `confirm_above: 5
tag:
  app: {web: ["web[01-10]"], db: [db1, db2]}
  canary: [web01]
sequence:
  rollout: [{target: $canary, pause: 10m, approve: true}, {target: $app.web, ramp: [2, 100%], max_failures: 1}]
constraint:
  $app: 30%
`

// TestTypedOn: who types on while the address gets what was typed before keeps what is typed.
func TestTypedOn(t *testing.T) {
	s := newStage(t, appFleet)
	b, _ := s.visit("fleet/default?tab=hosts")
	b.Sees("Target expression")
	browser.Eval[bool](b, `((put) => { history.replaceState = function (...all) {
		put.apply(this, all);
		if (globalThis.typedOn || !location.search.includes('web01')) return;
		globalThis.typedOn = true;
		const f = document.querySelector('.expression [role=combobox]');
		f.value = 'web02';
		f.dispatchEvent(new InputEvent('input', {bubbles: true}));
	}; return true; })(history.replaceState)`)
	b.Type("combobox", "Target expression", "web01")
	b.Until(`globalThis.typedOn && new URLSearchParams(location.search).get('targets') === 'web02'`)
	b.Until(`document.querySelector('.expression [role=combobox]').value === 'web02'`)
	b.Until(`[...document.querySelectorAll('.fleethosts tbody th')].map((e) => e.innerText).join() === 'web02'`)
	b.Click("link", "$app.web") // a link to others counts, and so does the way back from there
	b.Until(`document.querySelector('.expression [role=combobox]').value === '$app.web'`)
	browser.Eval[bool](b, `(setTimeout(() => history.back()), true)`)
	b.Until(`document.querySelector('.expression [role=combobox]').value === 'web02'`)
}

// TestFleetPage: the rules as they are written and as they work out, hosts by an expression, versions, and what is different.
func TestFleetPage(t *testing.T) {
	s := newStage(t, appFleet)
	s.apply("default", strings.Replace(appFleet, "web[01-10]", "web[01-20]", 1))
	b, d := s.visit("fleet")
	b.Sees("Version 2 of 2, in force")
	b.Sees(`web: ["web[01-20]"]`)
	everywhere(b, "fleet-rules")
	b.Click("link", "Worked out")
	b.Until(`location.search === '?tab=meaning'`)
	b.Sees("$app.web")
	if row := browser.Eval[string](b, `[...document.querySelectorAll('tbody tr')].find((r) => r.innerText.includes('$app.web')).innerText.replace(/\s+/g, ' ')`); row != "$app.web 30% 6 20 none web[01-20]" {
		t.Errorf("the group: %q", row)
	}
	b.Sees("then a pause of 10m; then an approval")
	everywhere(b, "fleet-meaning")
	b.Click("link", "$canary")
	b.Sees("rollout: $canary")
	b.Sees("1 host")
	b.Accessible()

	// An expression, as it is typed.
	b.Type("combobox", "Target expression", "$app.web & $canry")
	b.Sees("there is no tag $canry")
	b.Sees("did you mean $canary?")
	b.Sees("(column 12)")
	b.Type("combobox", "Target expression", "$app.web & $can")
	b.Has("option", "$canary")
	everywhere(b, "fleet-expression")
	b.Keys("ArrowDown", "Enter")
	b.Until(`document.querySelector('.expression [role=combobox]').value === '$app.web & $canary'`)
	b.Until(`new URLSearchParams(location.search).get('targets') === '$app.web & $canary'`)
	b.Until(`document.querySelectorAll('.fleethosts tbody tr').length === 1`)
	b.Has("link", "New job on these")

	b.Click("link", "Versions")
	b.Sees("by")
	b.Accessible()
	b.Click("link", "differences of version 2")
	b.Sees("capacity 6, was 3")
	b.Sees("10 hosts: web[11-20]")
	b.Until(`[...document.querySelectorAll('tr[data-kind=new]')].some((r) => r.innerText.includes('web[01-20]'))`)
	everywhere(b, "fleet-diff")

	// Opened in the middle, and with an old version.
	b.Open(d.URL + "fleet/default?version=1")
	b.Sees("not in force")
	b.Sees(`web: ["web[01-10]"]`)
	b.Open(d.URL + "fleet/nowhere")
	b.Sees("No fleet was applied to the namespace nowhere yet.")
	b.Accessible()
	b.Size(390, 844, true)
	for _, at := range []string{"fleet", "fleet?tab=meaning", "fleet?tab=hosts", "fleet?tab=versions", "fleet?from=1&to=2"} {
		b.Open(d.URL + at)
		b.Sees("Version 2 of 2")
		b.Until(`document.querySelector('main table, main pre')`)
		b.Accessible()
	}
}
