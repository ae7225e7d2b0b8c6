package schedule_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wander lets a world go its way for a while.
func wander(t *rapid.T, most int) *world {
	w := newWorld(t, rapid.IntRange(1, 2).Draw(t, "drivers"))
	w.submit()
	for range rapid.IntRange(1, most).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0:
			w.submit()
		case 1, 2, 3:
			w.end(w.running)
		case 4:
			w.end(w.unknown)
		case 5:
			w.withdraw()
		case 6:
			w.operator()
		case 7:
			w.control()
		case 8:
			w.now = w.now.Add(time.Minute)
		case 9:
			w.append("", sluice.UnknownBody{TypeName: "a.novelty"})
		}
		w.decide(rapid.SampledFrom(w.drivers).Draw(t, "who"))
	}
	return w
}

func apply(t rapid.TB, s *schedule.State, events []sluice.Event) {
	t.Helper()
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			t.Fatalf("the log does not apply: %v", err)
		}
	}
}

func save(t rapid.TB, s *schedule.State) []byte {
	t.Helper()
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func restore(t rapid.TB, b []byte) *schedule.State {
	t.Helper()
	s, err := schedule.Restore(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSnapshotIsTheFold: wherever a fold is put away and taken out again, by one process or by several in turn, it ends
// where it would have ended; what it decides then is the same, too.
func TestSnapshotIsTheFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := wander(t, 60)
		s := schedule.New()
		for at := 0; at < len(w.log); {
			next := rapid.IntRange(at, len(w.log)).Draw(t, "cut")
			apply(t, s, w.log[at:next])
			b := save(t, s)
			if at = next; rapid.Bool().Draw(t, "asked meanwhile") {
				picture(s)
			}
			s = restore(t, b)
			if !bytes.Equal(save(t, s), b) {
				t.Fatalf("what was taken out is put away otherwise\n%s", tell(w.log))
			}
			if next == len(w.log) || rapid.IntRange(0, 3).Draw(t, "no more cuts") == 0 {
				apply(t, s, w.log[next:])
				break
			}
		}
		want := w.fold()
		if got, want := save(t, s), save(t, want); !bytes.Equal(got, want) {
			t.Fatalf("the snapshots differ\n%s", tell(w.log))
		}
		whole, plain := restore(t, save(t, s)).Whole(), w.fold().Whole()
		save(t, plain) // fills what only snapshots have
		save(t, whole)
		if where := differ(reflect.ValueOf(plain), reflect.ValueOf(whole), map[[2]uintptr]bool{}); where != "" {
			t.Fatalf("the states differ at State%s\n%s", where, tell(w.log))
		}
		if got, want := listed(s), listed(want); got != want {
			t.Fatalf("the lists of jobs differ\n%s\n%s", got, want)
		}
		if got, want := specs(t, restore(t, save(t, w.fold()))), specs(t, w.fold()); got != want {
			t.Fatalf("what people approve is written otherwise:\n%s\nand was\n%s", got, want)
		}
		d := rapid.SampledFrom(w.drivers).Draw(t, "who decides")
		in := schedule.Input{Now: w.now.Add(time.Minute), Owns: func(id sluice.JobID) bool { return d.owns[id] }, Driven: w.driven}
		if got, want := s.Decide(in), want.Decide(in); !reflect.DeepEqual(got, want) {
			t.Fatalf("it decides %v, not %v\n%s", got, want, tell(w.log))
		}
		if got, want := picture(s), picture(want); got != want {
			t.Fatalf("with the snapshot\n%s\nwithout\n%s", got, want)
		}
	})
}

// specs is what the digests of jobs are made of, to the byte.
func specs(t rapid.TB, s *schedule.State) string {
	t.Helper()
	var b strings.Builder
	for _, i := range s.Jobs() {
		whole, _ := s.Job(i.Spec.ID)
		text, err := json.Marshal(struct {
			Job    *sluice.Job
			Tracks []sluice.Track
		}{whole.Spec, whole.Spec.Tracks})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.String()
}

// listed is what a list of jobs shows.
func listed(s *schedule.State) string {
	var b strings.Builder
	for _, i := range s.Jobs() {
		fmt.Fprintf(&b, "%s %s %s %s %q %q %v %s %v %d %v %v %d %d %d\n", i.Spec.ID, i.Spec.Namespace, i.Spec.By, i.Spec.Fleet, i.Spec.Command,
			i.Spec.Expression, i.Spec.Targets, i.State, i.Submitted, i.Running, i.Counts, i.Cancelling, i.Budget, i.Failures, i.Generation)
	}
	return b.String()
}

// differ says where two values differ, "" if they do not. It follows pointers; empty is as good as nil, and a time is
// what it stands for.
func differ(a, b reflect.Value, seen map[[2]uintptr]bool) string {
	switch {
	case a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0, a.Kind() == reflect.Map && a.Len() == 0 && b.Len() == 0:
		return ""
	case a.Type() == reflect.TypeFor[time.Time]():
		for i := range 2 { // not the location
			if x, y := a.Field(i), b.Field(i); i == 0 && x.Uint() != y.Uint() || i == 1 && x.Int() != y.Int() {
				return ": another time"
			}
		}
		return ""
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return fmt.Sprintf(": nil is %v, %v", a.IsNil(), b.IsNil())
			}
			return ""
		}
		at := [2]uintptr{a.Pointer(), b.Pointer()}
		if seen[at] {
			return ""
		}
		seen[at] = true
		return differ(a.Elem(), b.Elem(), seen)
	case reflect.Struct:
		for i := range a.NumField() {
			if where := differ(a.Field(i), b.Field(i), seen); where != "" {
				return "." + a.Type().Field(i).Name + where
			}
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return fmt.Sprintf(": %d and %d", a.Len(), b.Len())
		}
		for i := range a.Len() {
			if where := differ(a.Index(i), b.Index(i), seen); where != "" {
				return fmt.Sprintf("[%d]%s", i, where)
			}
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			return fmt.Sprintf(": %d and %d", a.Len(), b.Len())
		}
		for _, k := range a.MapKeys() {
			if !b.MapIndex(k).IsValid() {
				return fmt.Sprintf("[%v]: is only in one", k)
			}
			if where := differ(a.MapIndex(k), b.MapIndex(k), seen); where != "" {
				return fmt.Sprintf("[%v]%s", k, where)
			}
		}
	default:
		if !a.Equal(b) {
			return fmt.Sprintf(": %v and %v", a, b)
		}
	}
	return ""
}

// history is the golden one: a long way of a small world, in which everything happens that can.
func history(t testing.TB) (events []sluice.Event) {
	t.Helper()
	b, err := os.ReadFile("testdata/history.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e sluice.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// makeHistory writes a history for the golden file; -update does so only where there is none.
func makeHistory(t *testing.T) {
	if _, err := os.Stat("testdata/history.jsonl"); err == nil || !*update {
		return
	}
	for seed := range 10000 {
		log := rapid.Custom(func(t *rapid.T) []sluice.Event { return wander(t, 400).log }).Example(seed)
		log = slices.DeleteFunc(log, func(e sluice.Event) bool { return e.Body.Type() == "a.novelty" })
		for i := range log {
			log[i].Seq = uint64(i + 1)
		}
		if len(missing(t, log)) > 0 || len(log) < 150 || len(log) > 250 {
			continue
		}
		if err := os.WriteFile("testdata/history.jsonl", []byte(tell(log)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no seed gives a history in which everything happens")
}

// missing are the types of events that a log has none of, but for those that no state depends on.
func missing(t testing.TB, log []sluice.Event) (out []string) {
	t.Helper()
	stateless := []string{"balancer.asked", "balancer.changed", "fleet.applied", "task.output", "task.step"}
	file, err := parser.ParseFile(token.NewFileSet(), "../../../event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Type" || len(f.Body.List) != 1 {
			continue
		}
		lit, ok := f.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
		if !ok {
			continue // of unknown ones
		}
		name, _ := strconv.Unquote(lit.Value)
		if !slices.Contains(stateless, name) && !slices.ContainsFunc(log, func(e sluice.Event) bool { return e.Body.Type() == name }) {
			out = append(out, name)
		}
	}
	return out
}

// TestFormOfSnapshots: what is written of a history that never changes changes only together with the form, for a
// program of one form takes what another has folded as its own.
func TestFormOfSnapshots(t *testing.T) {
	makeHistory(t)
	events := history(t)
	if m := missing(t, events); len(m) > 0 {
		t.Fatalf("testdata/history.jsonl has no %v: append some, raise schedule.Form, and run this with -update", m)
	}
	const file = "testdata/snapshot.golden"
	var got []byte
	for _, at := range []int{len(events) / 3, len(events) * 2 / 3, len(events)} {
		s := schedule.New()
		apply(t, s, events[:at])
		b := save(t, s)
		got = fmt.Appendf(got, "form %d, %d events: %d bytes, sha256 %x\n", schedule.Form, at, len(b), sha256.Sum256(b))
	}
	want, err := os.ReadFile(file)
	if err == nil && bytes.Equal(got, want) {
		return
	}
	if form := fmt.Sprintf("form %d,", schedule.Form); bytes.HasPrefix(want, []byte(form)) {
		t.Fatal("the snapshot of the same history has changed: raise schedule.Form, and run this with -update")
	}
	if !*update {
		t.Fatal("the form is a new one: run this with -update")
	}
	if err := os.WriteFile(file, got, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotKnowsEveryField: whoever adds a field to what a snapshot is made of has to think of it there.
func TestSnapshotKnowsEveryField(t *testing.T) {
	known := map[string]string{
		"State":   "seq hosts index rules used force retired jobs open byID tables newest",
		"host":    "name attempt last unknown since bad held retired tasks waiting",
		"mark":    "job why by since reason",
		"task":    "job order host target try phase stopped outcome givenUp places before closed queue pos onHost",
		"stage":   "name entry limit gate tasks unsettled failed opened pauseTill paused asked approved",
		"track":   "name stages reach",
		"ruleset": "digest packed groups of users",
		"group":   "constraint name limit hosts members busy live out waits",
		"job": "number name spec packed frozen limit tracks tasks byTarget byHost submitted started ended everUp budget generation " +
			"halting halted cancelling finished running unsettled failures refused look touched dirty queues",
		"Track": "Name Stages",
		"Stage": "Name Entry Hosts MaxFailures Gate",
	}
	seen := map[string]bool{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(typ.Elem())
		case reflect.Struct:
			if seen[typ.Name()] {
				return
			}
			seen[typ.Name()] = true
			var fields []string
			for i := range typ.NumField() {
				fields = append(fields, typ.Field(i).Name)
				visit(typ.Field(i).Type)
			}
			if want, ok := known[typ.Name()]; ok && strings.Join(fields, " ") != want {
				t.Errorf("%s has the fields %v, and snapshots know %s", typ.Name(), fields, want)
			}
		}
	}
	visit(reflect.TypeFor[schedule.State]())
	for name := range known {
		if !seen[name] {
			t.Errorf("there is no %s any more", name)
		}
	}
}

// TestJobsThatAreOverStaySmall: they are unpacked only when somebody asks for their tasks or changes them.
func TestJobsThatAreOverStaySmall(t *testing.T) {
	hosts := make([]sluice.Host, 1000)
	for i := range hosts {
		hosts[i] = sluice.Host(fmt.Sprintf("h%03d", i))
	}
	s := schedule.New()
	now := time.Unix(1e9, 0).UTC()
	ids := make([]sluice.JobID, 100)
	sizes := map[int]int{}
	for n := range ids {
		ids[n] = sluice.JobID(fmt.Sprintf("%012d", n))
		events := []sluice.Event{{Time: now, Job: ids[n], Body: sluice.JobSubmitted{Submitted: sluice.Job{ID: ids[n], Namespace: "test",
			Command: "true", Targets: hosts, Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: hosts}}}}}}}}
		for i, h := range hosts {
			a := sluice.NewAttemptID(ids[n], i, 1)
			events = append(events, sluice.Event{Time: now, Job: ids[n], Body: sluice.TaskStarted{Host: h, Attempt: a}})
			outcome := sluice.Succeeded
			if n == 0 && i == 500 {
				outcome = sluice.Unknown
			} else if i == 7 {
				outcome = sluice.Failed
			}
			events = append(events, sluice.Event{Time: now, Job: ids[n], Body: sluice.TaskFinished{Host: h, Attempt: a, Outcome: outcome}})
		}
		apply(t, s, append(events, sluice.Event{Time: now, Job: ids[n], Body: sluice.JobFinished{Outcome: sluice.Failed}}))
		sizes[n] = len(save(t, s))
	}
	if more := sizes[99] - sizes[50]; more > 49*150 {
		t.Errorf("49 jobs on the same 1,000 hosts take %d bytes", more)
	}
	s = restore(t, save(t, s))
	if got := s.Packed(); got != 100 {
		t.Fatalf("%d of 100 jobs are packed", got)
	}
	if jobs := s.Jobs(); len(jobs[3].Spec.Targets) != 1000 || jobs[3].Counts[sluice.Failed] != 1 || s.Packed() != 100 {
		t.Errorf("the list has %d targets, counts %v, and leaves %d packed", len(jobs[3].Spec.Targets), jobs[3].Counts, s.Packed())
	}
	apply(t, s, []sluice.Event{{Time: now, Body: sluice.HostReleased{Host: "h500"}}})
	if task, _ := s.Task(ids[0], "h500"); !task.Retriable || s.Packed() != 99 {
		t.Errorf("the task whose host was released is %+v, and %d jobs are packed", task, s.Packed())
	}
	apply(t, s, []sluice.Event{
		{Time: now, Job: ids[4], Body: sluice.JobResumed{Generation: 1}},
		{Time: now, Job: ids[4], Body: sluice.TaskRetried{Hosts: []sluice.Host{"h007"}}},
	})
	yes := func(id sluice.JobID) bool { return id == ids[4] }
	opened := s.Decide(schedule.Input{Now: now, Owns: yes, Driven: yes})
	if n := len(opened); n == 0 || opened[n-1].Body.(sluice.TaskStarted).Attempt != sluice.NewAttemptID(ids[4], 7, 2) || s.Packed() != 98 {
		t.Errorf("tried again: %v; %d jobs are packed", opened, s.Packed())
	}
}

// TestAnotherForm: a snapshot that another version made is refused, however it goes on.
func TestAnotherForm(t *testing.T) {
	s := schedule.New()
	apply(t, s, history(t))
	b := save(t, s)
	at := bytes.IndexByte(b, '\n') + 1
	b[at]++
	if _, err := schedule.Restore(b); err == nil {
		t.Error("a snapshot of another form is taken")
	}
	b[at]--
	restore(t, b)
	for n := range b {
		if _, err := schedule.Restore(b[:n]); err == nil {
			t.Fatalf("a snapshot cut after %d of %d bytes is taken", n, len(b))
		}
	}
	if _, err := schedule.Restore(append(b, 0)); err == nil {
		t.Error("a snapshot with something behind it is taken")
	}
}

// use asks a state everything, and lets it decide.
func use(s *schedule.State) {
	picture(s)
	yes := func(sluice.JobID) bool { return true }
	s.Decide(schedule.Input{Now: time.Unix(1e9, 0), Owns: yes, Driven: yes})
	s.NextTimer(yes)
	picture(s)
}

// TestEveryByteOfASnapshot: whichever is another one, the snapshot is refused or gives a state that can be used.
func TestEveryByteOfASnapshot(t *testing.T) {
	events := history(t)
	s := schedule.New()
	apply(t, s, events[:len(events)/3])
	b := save(t, s)
	taken := 0
	for i := range b {
		for _, change := range []byte{0x01, 0x82} {
			bad := slices.Clone(b)
			bad[i] ^= change
			if s, err := schedule.Restore(bad); err == nil {
				taken++
				use(s)
				use(restore(t, save(t, s)).Whole())
			}
		}
	}
	if taken == 0 {
		t.Error("nothing was taken, so nothing was tried")
	}
}

// FuzzRestore: whatever the bytes are, they are refused or give a state that can be used and put away again.
func FuzzRestore(f *testing.F) {
	events := history(f)
	for _, at := range []int{0, 1, 5, len(events) / 4, len(events)} {
		s := schedule.New()
		apply(f, s, events[:at])
		f.Add(save(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := schedule.Restore(b)
		if err != nil {
			return
		}
		again := save(t, s)
		use(s)
		use(restore(t, again).Whole())
	})
}
