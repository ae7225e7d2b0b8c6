package fleet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/fleet"
)

// world is a Source made of maps.
type world struct {
	files    map[string]string
	programs map[string]string // command line to what it prints; "!" and a text is a failure
	ran      []string
}

func (w *world) ReadFile(name string, limit int64) ([]byte, error) {
	text, ok := w.files[name]
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case int64(len(text)) > limit:
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return []byte(text), nil
}

func (w *world) Glob(pattern string) (out []string, err error) {
	for name := range w.files {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (w *world) Executable(name string) (bool, error) {
	if _, ok := w.programs["./"+path.Base(name)+" --list"]; ok {
		return true, nil
	}
	if _, ok := w.files[name]; !ok {
		return false, fs.ErrNotExist
	}
	return false, nil
}

func (w *world) Run(dir string, command []string, timeout time.Duration, limit int64) ([]byte, error) {
	line := strings.Join(command, " ")
	w.ran = append(w.ran, line)
	out, ok := w.programs[line]
	if why, failed := strings.CutPrefix(out, "!"); !ok || failed {
		return nil, errors.New("exit status 1: " + why)
	}
	return []byte(out), nil
}

// one is a world with one fleet file.
func one(text string) *world { return &world{files: map[string]string{"fleet.yaml": text}} }

func mustLoad(t testing.TB, w *world) *fleet.Loaded {
	t.Helper()
	l, err := fleet.Load(w, "fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if t, ok := t.(*testing.T); ok {
		sameByBundle(t, w, l)
	}
	return l
}

// outline writes what a fleet says, for comparing.
func outline(f *sluice.Fleet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "hosts %s\n", fleet.Fold(f.Hosts))
	for _, t := range f.TagOrder {
		fmt.Fprintf(&b, "tag %s: %s\n", t, fleet.Fold(f.Tags[t]))
	}
	for _, s := range f.Sequences {
		fmt.Fprintf(&b, "sequence %s\n", s.Name)
		for _, e := range s.Entries {
			fmt.Fprintf(&b, "  %s: %s%s\n", e.Name, fleet.Fold(e.Hosts), gate(e.Gate))
		}
	}
	for _, c := range f.Constraints {
		fmt.Fprintf(&b, "constraint %s\n", c.Name)
		for _, g := range c.Groups {
			fmt.Fprintf(&b, "  %s: %s of %s\n", g.Name, g.Limit, fleet.Fold(g.Members))
		}
	}
	return b.String()
}

func gate(g sluice.Gate) string {
	var b strings.Builder
	if g.MaxFailures != (sluice.Amount{}) {
		fmt.Fprintf(&b, " max_failures=%s", g.MaxFailures)
	}
	if g.Pause > 0 {
		fmt.Fprintf(&b, " pause=%s", g.Pause)
	}
	if g.Approve {
		b.WriteString(" approve")
	}
	if g.Ramp != nil {
		fmt.Fprintf(&b, " ramp=%v", g.Ramp)
	}
	return b.String()
}

const pogoTags = `
tag:
  frontend: [host1, host4]
  backend:
    - host2
    - host5
  colo:
    north_america: [host1, host2, host3]
    south_east_asia:
      - host4
      - host5
      - host6
`

const pogoTagOutline = `hosts host[1,4,2,5,3,6]
tag frontend: host[1,4]
tag backend: host[2,5]
tag colo: host[1,4,2,5,3,6]
tag colo.north_america: host[1-3]
tag colo.south_east_asia: host[4-6]
`

// TestPogo holds Sluice to the forms and meanings of Pogo's manual.
func TestPogo(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"one sequence", pogoTags + `
sequence: [ $colo.north_america, $colo.south_east_asia ]
constraint:
  $colo: 2
`, pogoTagOutline + `sequence sequence
  $colo.north_america: host[1-3]
  $colo.south_east_asia: host[4-6]
constraint $colo
  $colo.north_america: 2 of host[1-3]
  $colo.south_east_asia: 2 of host[4-6]
`},
		{"a list in a list", pogoTags + `
sequence:
  - [ $colo.north_america, $colo.south_east_asia ]
constraint:
  $colo.north_america: 3
  $colo.south_east_asia: 15%
`, pogoTagOutline + `sequence sequence
  $colo.north_america: host[1-3]
  $colo.south_east_asia: host[4-6]
constraint $colo.north_america
  $colo.north_america: 3 of host[1-3]
constraint $colo.south_east_asia
  $colo.south_east_asia: 15% of host[4-6]
`},
		{"several lists", pogoTags + `
sequence:
  - [ $colo.north_america, $colo.south_east_asia ]
  - [ $backend, $frontend ]
`, pogoTagOutline + `sequence sequence-1
  $colo.north_america: host[1-3]
  $colo.south_east_asia: host[4-6]
sequence sequence-2
  $backend: host[2,5]
  $frontend: host[1,4]
`},
		{"sequences on subsets", pogoTags + `
sequence:
  $frontend:
    - $colo.north_america
    - $colo.south_east_asia
  $backend:
    - $colo.south_east_asia
    - $colo.north_america
`, pogoTagOutline + `sequence $frontend
  $colo.north_america: host1
  $colo.south_east_asia: host4
sequence $backend
  $colo.south_east_asia: host5
  $colo.north_america: host2
`},
		{"old spelling of subsets", pogoTags + `
sequence:
  frontend:
    - $colo.north_america
    - "@colo.south_east_asia"
constraint:
  frontend:
    $colo.north_america: 2
`, pogoTagOutline + `sequence $frontend
  $colo.north_america: host1
  $colo.south_east_asia: host4
constraint $frontend & $colo.north_america
  $frontend & $colo.north_america: 2 of host1
`},
		{"names", `
tag:
  north:
      - host[1-2]
  south:
      - host[3-4]
  east:
      - host[5-6]
  west:
      - host{7,8}
sequence:
  horizontal:
    - $south
    - $north
  vertical:
    - $west
    - $east
`, `hosts host[1-8]
tag north: host[1-2]
tag south: host[3-4]
tag east: host[5-6]
tag west: host[7-8]
sequence horizontal
  $south: host[3-4]
  $north: host[1-2]
sequence vertical
  $west: host[7-8]
  $east: host[5-6]
`},
		{"hosts in a sequence only", `
tag:
sequence:
  - host3
  - host2
  - host1
constraint:
  host9: 1
`, `hosts host[3,2,1,9]
sequence sequence
  host3: host3
  host2: host2
  host1: host1
constraint host9
  host9: 1 of host9
`},
		{"dotted tags", `
tag:
  colo.usa:
    - host1
  colo.mexico:
    - host2
`, `hosts host[1-2]
tag colo: host[1-2]
tag colo.usa: host1
tag colo.mexico: host2
`},
		{"plugins", `
resolver:
  MyRules: {command: [rules]}
constraint:
  $_MyRules[my_db_server]: 2
  $resolver.MyRules web: 1
`, `hosts db[1-3],web1
constraint $resolver.MyRules my_db_server
  $resolver.MyRules my_db_server: 2 of db[1-3]
constraint $resolver.MyRules web
  $resolver.MyRules web: 1 of web1
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := one(c.file)
			w.programs = map[string]string{"rules my_db_server": `["db1","db2","db3"]`, "rules web": `["web1"]`}
			if got := outline(mustLoad(t, w).Fleet()); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestFleetFile(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"empty", "# nothing yet\n", "hosts \n"},
		{"deep tags and hosts beside values", `
tag:
  colo: {south: {web: ["w[1-2]"], db: [d1]}, north: [n1]}
  colo.south: [s1]
constraint:
  $colo: 1
  $colo.south: 2
`, `hosts w[1-2],d1,n1,s1
tag colo: w[1-2],d1,n1,s1
tag colo.south: w[1-2],d1,s1
tag colo.south.web: w[1-2]
tag colo.south.db: d1
tag colo.north: n1
constraint $colo
  $colo.south: 1 of w[1-2],d1,s1
  $colo.north: 1 of n1
constraint $colo.south
  $colo.south.web: 2 of w[1-2]
  $colo.south.db: 2 of d1
  $colo.south: 2 of s1
`},
		{"tags by tags", `
tag:
  canary: [web01, $app.db]
  app:
    web: "web[01-03]"
    db: [db1]
  rest: $app ! $canary
  almost: ["!web01"]
  wild: "*1 & web*"
`, `hosts web[01-03],db1
tag canary: web01,db1
tag app: web[01-03],db1
tag app.web: web[01-03]
tag app.db: db1
tag rest: web[02-03]
tag almost: web[02-03],db1
tag wild: web01
`},
		{"gates", `
sequence:
  rollout:
    - web01
    - {target: "web[02-09]", max_failures: 1, pause: 1d2h, approve: true, ramp: [1, 10%, 100%]}
    - {target: "web[10-11]", max_failures: 2.5%}
`, `hosts web[01-11]
sequence rollout
  web01: web01
  web[02-09]: web[02-09] max_failures=1 pause=26h0m0s approve ramp=[1 10% 100%]
  web[10-11]: web[10-11] max_failures=2.5%
`},
		{"nested conditions", `
tag:
  env: {prod: ["p[1-6]"], test: ["t[1-2]"]}
  colo: {north: ["p[1-3]", t1], south: ["p[4-5]", t2], dark: []}
  app: ["p[1-4]", t1]
sequence:
  $env.prod:
    $app: [$colo.north, $colo.south]
    late: [$colo.south, $colo.north]
  all of it:
    - [$env.test, $env.prod]
    - [$colo.north, $colo.south]
constraint:
  $env.prod:
    $colo: {max_parallel: 2}
    $app: 50%
  $env:
    $app:
      $colo: 1
`, `hosts p[1-6],t[1-2]
tag env: p[1-6],t[1-2]
tag env.prod: p[1-6]
tag env.test: t[1-2]
tag colo: p[1-5],t[1-2]
tag colo.north: p[1-3],t1
tag colo.south: p[4-5],t2
tag colo.dark: 
tag app: p[1-4],t1
sequence $env.prod & $app
  $colo.north: p[1-3]
  $colo.south: p4
sequence $env.prod: late
  $colo.south: p[4-5]
  $colo.north: p[1-3]
sequence all of it-1
  $env.test: t[1-2]
  $env.prod: p[1-6]
sequence all of it-2
  $colo.north: p[1-3],t1
  $colo.south: p[4-5],t2
constraint $env.prod & $colo
  $env.prod & $colo.north: 2 of p[1-3]
  $env.prod & $colo.south: 2 of p[4-5]
constraint $env.prod & $app
  $env.prod & $app: 50% of p[1-4]
constraint $env & $app & $colo
  $env.prod & $app & $colo.north: 1 of p[1-3]
  $env.prod & $app & $colo.south: 1 of p4
  $env.test & $app & $colo.north: 1 of t1
`},
		{"an entry without hosts under a condition is left out", `
tag: {frontend: [a, b], colo: {n: [a], m: [c], s: [b]}}
sequence: {$frontend: [$colo.n, $colo.m, $colo.s]}
`, `hosts a,b,c
tag frontend: a,b
tag colo: a,b,c
tag colo.n: a
tag colo.m: c
tag colo.s: b
sequence $frontend
  $colo.n: a
  $colo.s: b
`},
		{"aliases", `
tag:
  web: &web [web1, web2]
  both: [*web, db1]
`, `hosts web[1-2],db1
tag web: web[1-2]
tag both: web[1-2],db1
`},
		{"fleet order is the order of the text", `
sequence: [c]
host: {b: {port: 1}, "a[1-2]": {}}
tag: {x: [a2, d, c]}
`, `hosts c,b,a[1-2],d
tag x: c,a2,d
sequence sequence
  c: c
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := outline(mustLoad(t, one(c.file)).Fleet()); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestOneLongLine loads a file as a program would write it: all in one line.
func TestOneLongLine(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"tag": {"web": [`)
	const n = 50_000
	for i := range n {
		fmt.Fprintf(&b, "%q, ", fmt.Sprintf("web[%d-%d]", 2*i, 2*i+1))
	}
	b.WriteString(`"$nope"]}}`)
	_, err := fleet.Load(one(b.String()), "fleet.yaml")
	if want := fmt.Sprintf("fleet.yaml:1:%d: there is no tag $nope", b.Len()-9); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
