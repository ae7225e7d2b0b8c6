package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/core/fleet"
)

const before = `
namespace: shop
ssh: {user: deploy}
host: {old1: {port: 22}, "web[01-02]": {user: web}}
tag:
  app: {web: ["web[01-04]"], db: [db1, db2]}
  canary: [web01]
  old: [old1]
constraint:
  $app: 1
  $old: 1
sequence:
  rollout: [$canary, {target: $app.db, pause: 10m, max_failures: 1}, $app.web]
  gone: [$old]
`

// TestDiff compares fleets; testdata/differences.golden is what people read.
func TestDiff(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ name, now string }{
		{"nothing", before},
		{"comments only", "# hello\n" + before},
		{"a host more", strings.Replace(before, "web[01-04]", "web[01-06]", 1)},
		{"hosts less", strings.Replace(before, "web[01-04]", "web[01-02]", 1)},
		{"another order", strings.Replace(before, "[db1, db2]", "[db2, db1]", 1)},
		{"a tag more", strings.Replace(before, "  canary:", "  spare: [db2]\n  empty: []\n  canary:", 1)},
		{"a limit", strings.Replace(before, "$app: 1", "$app: 30%", 1)},
		{"a share, and then of more hosts", strings.NewReplacer("$app: 1", "$app: 50%", "web[01-04]", "web[01-06]").Replace(before)},
		{"other constraints", strings.Replace(before, "  $old: 1", "  $canary: 0\n  $app.web: {$canary: 1}", 1)},
		{"a gate", strings.Replace(before, "pause: 10m, max_failures: 1", "approve: true, ramp: [1, 50%, 100%]", 1)},
		{"a gate gone", strings.Replace(before, "{target: $app.db, pause: 10m, max_failures: 1}", "$app.db", 1)},
		{"entries in another order", strings.Replace(before, "[$canary, {target: $app.db, pause: 10m, max_failures: 1}, $app.web]", "[$app.web, $app.db, $canary, $app.web]", 1)},
		{"a sequence", strings.Replace(before, "gone: [$old]", "come: [$old, $app]", 1)},
		{"a balancer", before + "balancer: {web: {haproxy: /s, on: lb1, pool: {shop: 50%, api: 2}}}\n"},
		{"converge", before + "converge: {every: 5m, app: [shop, api], env: production}\n"},
		{"settings", strings.NewReplacer("shop", "mall", "user: deploy", "user: root, jump: [bastion]", "user: web", "port: 2222").Replace(before) + "confirm_above: 9\napproval: {by: another}\ntarget: {dir: /srv}\n"},
		{"a pool", strings.Replace(before, "user: web}", "user: web, pool: dmz}", 1)},
		{"all", "tag: {new: [n1]}\n"},
	} {
		a, b := mustLoad(t, one(before)).Fleet(), mustLoad(t, one(c.now)).Fleet()
		d := fleet.Diff(a, b)
		fmt.Fprintf(&all, "# %s\n%s\n", c.name, d)
		if d.Empty() != (c.name == "nothing" || c.name == "comments only") {
			t.Errorf("%s: empty is %v", c.name, d.Empty())
		}
		if !fleet.Diff(b, b).Empty() || fleet.Diff(b, a).Empty() != d.Empty() {
			t.Errorf("%s: a fleet differs from itself, or only one way", c.name)
		}
	}
	golden(t, "differences.golden", all.String())
}
