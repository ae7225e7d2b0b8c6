package control_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	corefleet "sluice/internal/core/fleet"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
)

// bundle is a fleet of one file in the namespace "test".
func bundle(text string) corefleet.Bundle {
	return corefleet.Bundle{Main: "fleet.yaml", Files: []corefleet.File{{Path: "fleet.yaml", Content: []byte("namespace: test\n" + text)}}}
}

const (
	oneByOne = "tag: {web: [\"web[1-4]\"]}\nconstraint: {$web: 1}\n"
	twoByTwo = "tag: {web: [\"web[1-4]\"]}\nconstraint: {$web: 2}\n"
	ordered  = oneByOne + "sequence: [web4, $web]\n" // the rules of oneByOne
)

// log lists the events of the namespace by their types.
func (d *desk) log() string {
	d.t.Helper()
	events, err := d.Log.Read(d.t.Context(), "test", 0, 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	var types []string
	for _, e := range events {
		types = append(types, e.Body.Type())
	}
	return strings.Join(types, " ")
}

func (d *desk) apply(text string, base int) control.Applied {
	d.t.Helper()
	a, err := d.ApplyFleet(d.t.Context(), bundle(text), "a note", base)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func TestFleetsAreApplied(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	at := time.Unix(1e9, 0).UTC()
	d.Clock = func() time.Time { return at }
	_, _, err := d.Fleet(ctx, "test")
	refused(t, err, sluice.NotFound, "no fleet was applied to the namespace test")

	var versions []control.Applied
	for i, c := range []struct{ text, log string }{
		{oneByOne, "rules.applied fleet.applied"},
		{ordered, "rules.applied fleet.applied fleet.applied"},
		{twoByTwo, "rules.applied fleet.applied fleet.applied rules.applied fleet.applied"},
	} {
		at = at.Add(time.Hour)
		a := d.apply(c.text, i)
		versions = append(versions, a)
		if a.Version != i+1 || a.Same || a.By != "ann" || a.Note != "a note" || a.Hosts != 4 || a.Namespace != "test" || !a.Time.Equal(at) || d.log() != c.log {
			t.Errorf("version %d: %+v with the log %s", i+1, a, d.log())
		}
		l, is, err := d.Fleet(ctx, "test")
		if err != nil || is != a {
			t.Fatalf("the fleet is %+v (%v), want %+v", is, err, a)
		}
		if rules, _ := sluice.NewRules(l.Fleet().Hosts, l.Fleet().Constraints); rules.Digest != a.Rules {
			t.Errorf("version %d has the rules %s", i+1, rules.Digest)
		}
	}
	if got, err := d.Fleets(ctx, "test"); err != nil || !reflect.DeepEqual(got, versions) {
		t.Errorf("the history is %+v (%v)", got, err)
	}
	first := versions[0].Time
	for _, c := range []struct {
		at   control.FleetAt
		want int // 0: none
	}{{control.FleetAt{}, 3}, {control.FleetAt{Version: 1}, 1}, {control.FleetAt{Version: 3}, 3}, {control.FleetAt{Version: 4}, 0},
		{control.FleetAt{Version: -1}, 0}, {control.FleetAt{Time: first}, 1}, {control.FleetAt{Time: first.Add(90 * time.Minute)}, 2},
		{control.FleetAt{Time: first.Add(-1)}, 0}, {control.FleetAt{Time: first.Add(99 * time.Hour)}, 3}} {
		b, is, err := d.FleetAt(ctx, "test", c.at)
		if is.Version != c.want || c.want == 0 && sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("%+v is version %d (%v), want %d", c.at, is.Version, err, c.want)
		}
		if c.want > 0 && string(b.Files[0].Content) != "namespace: test\n"+[]string{oneByOne, ordered, twoByTwo}[c.want-1] {
			t.Errorf("version %d is %s", c.want, b.Files[0].Content)
		}
	}
	d.sound()
}

func TestTwoPeopleApply(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	_, err := d.ApplyFleet(ctx, bundle(oneByOne), "", 1)
	refused(t, err, sluice.Conflict, "none was applied yet")
	d.apply(oneByOne, 0)
	_, err = d.ApplyFleet(ctx, bundle(twoByTwo), "", 0)
	refused(t, err, sluice.Conflict, "ann applied version 1 meanwhile")
	if a := d.apply(oneByOne, 0); a.Version != 1 || !a.Same {
		t.Errorf("what is current already is %+v", a)
	}
	if d.log() != "rules.applied fleet.applied" {
		t.Error(d.log())
	}
	if a := d.apply(twoByTwo, -1); a.Version != 2 {
		t.Errorf("without a base: %+v", a)
	}
	if a := d.apply(oneByOne, 2); a.Version != 3 || a.Same {
		t.Errorf("back to what once was: %+v", a)
	}
	d.sound()

	const people = 8 // all from version 3: one of them is first
	var all sync.WaitGroup
	errs := make([]error, people)
	for i := range people {
		all.Go(func() {
			_, errs[i] = d.ApplyFleet(ctx, bundle(fmt.Sprintf("tag: {web: [web1, other%d]}\n", i)), "", 3)
		})
	}
	all.Wait()
	first := 0
	for _, err := range errs {
		if err == nil {
			first++
		} else if sluice.CodeOf(err) != sluice.Conflict {
			t.Error(err)
		}
	}
	if history, _ := d.Fleets(ctx, "test"); first != 1 || len(history) != 4 {
		t.Errorf("%d of them were first, and there are %d versions", first, len(history))
	}
	d.sound()
}

// TestAnothersApplyIsSeen: what another process applied between the reading and the writing counts.
func TestAnothersApplyIsSeen(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	d.apply(oneByOne, 0)
	log := d.Log
	other := &control.Service{Log: log, Blobs: d.Blobs, Clock: d.Clock, By: "bob"}
	d.Log = &overtaken{Log: log, by: func() {
		if _, err := other.ApplyFleet(ctx, bundle(ordered), "", 1); err != nil {
			t.Error(err)
		}
	}}
	_, err := d.ApplyFleet(ctx, bundle(twoByTwo), "", 1)
	refused(t, err, sluice.Conflict, "bob applied version 2 meanwhile")
	if _, is, err := d.Fleet(ctx, "test"); err != nil || is.Version != 2 || is.By != "bob" {
		t.Errorf("%+v %v", is, err)
	}
	if d.log() != "rules.applied fleet.applied fleet.applied" {
		t.Error(d.log())
	}
}

// overtaken is a log to which somebody else is faster, once.
type overtaken struct {
	sluice.Log
	by func()
}

func (o *overtaken) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return o.Log.Update(ctx, ns, after, decide)
}

// TestRulesComeBack: a job with a fleet file of its own has put other rules in force; to apply the same fleet again
// takes that back.
func TestRulesComeBack(t *testing.T) {
	d := newDesk(t)
	d.apply(oneByOne, 0)
	d.submit(fleet(3))
	if a := d.apply(oneByOne, 1); !a.Same || a.Version != 1 {
		t.Errorf("%+v", a)
	}
	if want := "rules.applied fleet.applied rules.applied job.submitted rules.applied"; d.log() != want {
		t.Errorf("the log is %s, want %s", d.log(), want)
	}
	d.sound()
}

func TestABrokenFleetIsNotApplied(t *testing.T) {
	d := newDesk(t)
	for text, want := range map[string]string{
		"tag: {a: [$b]}\n":                                      "fleet.yaml:2:11: there is no tag $b",
		"inventory: /etc/hosts.ini\n":                           "was not asked for when the fleet was applied",
		"resolver: {r: {command: [rm]}}\ntag: {a: $resolver.r}": "was not asked for when the fleet was applied",
	} {
		_, err := d.ApplyFleet(t.Context(), bundle(text), "", -1)
		refused(t, err, sluice.Config, want)
	}
	d.Blobs.(*fake.Blobs).Faults.Set(fake.BlobPut, fake.Always(io.ErrShortWrite))
	if _, err := d.ApplyFleet(t.Context(), bundle(oneByOne), "", -1); err == nil {
		t.Error("it counts although its content is not kept")
	}
	if d.log() != "" {
		t.Errorf("the log has %s", d.log())
	}
}

// TestLostContent: a version whose content is gone or another is an error that says so, never another fleet.
func TestLostContent(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	d.apply(oneByOne, 0)
	blobs := d.Blobs
	for content, want := range map[string]string{"": "is not there", "{}": "this is no bundle", `{"bundle":1,"main":"x"}`: "its content is not sha256:"} {
		d.Blobs = &swapped{blobs, content}
		_, _, err := d.Fleet(ctx, "test")
		refused(t, err, sluice.Contact, want)
		_, _, err = d.FleetAt(ctx, "test", control.FleetAt{Version: 1})
		refused(t, err, sluice.Contact, want)
	}
	d.Blobs = blobs
	if _, _, err := d.Fleet(ctx, "test"); err != nil {
		t.Error(err)
	}
}

// swapped are blobs whose content is another; "" is none.
type swapped struct {
	sluice.Blobs
	content string
}

func (s *swapped) Open(context.Context, string) (io.ReadCloser, error) {
	if s.content == "" {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(s.content)), nil
}

// TestOnlyWhatIsNeededIsKept: what lies in a bundle beside the fleet is not stored.
func TestOnlyWhatIsNeededIsKept(t *testing.T) {
	d := newDesk(t)
	a := d.apply(oneByOne, 0)
	more := bundle(oneByOne)
	more.Files = append(more.Files, corefleet.File{Path: "secret.txt", Content: []byte("password")})
	if b, err := d.ApplyFleet(t.Context(), more, "", 1); err != nil || !b.Same || b.Bundle != a.Bundle {
		t.Errorf("%+v %v", b, err)
	}
}

// TestManyUseAFleet: the loaded fleet is one for all, and stays as it is.
func TestManyUseAFleet(t *testing.T) {
	d := newDesk(t)
	d.apply(oneByOne+"resolver: {r: {command: [ask]}}\n", 0)
	l, _, err := d.Fleet(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			same, _, err := d.Fleet(t.Context(), "test")
			if err != nil || same != l {
				t.Errorf("it is loaded again (%v)", err)
			}
			if hosts, err := same.Resolve("$web ! web2"); err != nil || len(hosts) != 3 {
				t.Errorf("%v %v", hosts, err)
			}
			if _, err := same.Resolve("$resolver.r x"); err == nil {
				t.Error("a program was run")
			}
		})
	}
	all.Wait()
}
