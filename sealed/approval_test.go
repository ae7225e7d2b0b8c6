package sealed

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice"
)

func anApproval(t testing.TB, j *sluice.Job, by string, signer *Signer, passes ...Pass) Approval {
	t.Helper()
	b, err := Bind(j, by, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Approve(b, passes, signer)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestApproval: what was signed is what is read, and nothing else is.
func TestApproval(t *testing.T) {
	s := newSet(t)
	bob, err := NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	passes := []Pass{{"rollout", "$canary", 0}, {"rollout", "", 3}}
	a := anApproval(t, s.job, "bob", bob, passes...)
	said, err := a.Read()
	if err != nil || said.By != "bob" || said.Signer != bob.Public() || !reflect.DeepEqual(said.Passes, passes) || !said.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v, %v", said, err)
	}
	for i := range a {
		other := slices.Clone(a)
		other[i] ^= 1
		if _, err := other.Read(); err == nil {
			t.Fatalf("with another byte %d it is read, too", i)
		}
		if _, err := a[:i].Read(); err == nil {
			t.Fatalf("its first %d bytes are read, too", i)
		}
	}
	if _, err := append(slices.Clone(a), 0).Read(); err == nil {
		t.Error("with a byte more it is read, too")
	}
}

// TestApprovalCounts: only for this job as it stands, in time, of somebody known, and not of who wants it.
func TestApprovalCounts(t *testing.T) {
	s := newSet(t)
	bob, err := NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	s.job.Approval.By = sluice.AnotherApproves
	pass := Pass{"all", "all", 0}
	unknown := errors.New("unknown")
	for name, c := range map[string]struct {
		by     string
		signer *Signer
		change func(*sluice.Job)
		at     time.Time
		known  func(string, Key) error
		counts bool
	}{
		"another":             {by: "bob", signer: bob, counts: true},
		"who submitted it":    {by: "ann", signer: bob},
		"the same key":        {by: "bob", signer: s.signer},
		"who signed it":       {by: "carl", signer: bob},
		"nobody known":        {by: "bob", signer: bob, known: func(string, Key) error { return unknown }},
		"too late":            {by: "bob", signer: bob, at: now.Add(time.Hour)},
		"another command":     {by: "bob", signer: bob, change: func(j *sluice.Job) { j.Action.Shell = "evil" }},
		"another host":        {by: "bob", signer: bob, change: func(j *sluice.Job) { j.Targets = []sluice.Host{"web1", "db1"} }},
		"another job's":       {by: "bob", signer: bob, change: func(j *sluice.Job) { j.ID = "ba9876543210" }},
		"another namespace's": {by: "bob", signer: bob, change: func(j *sluice.Job) { j.Namespace = "test" }},
	} {
		a := anApproval(t, s.job, c.by, c.signer, pass)
		job := *s.job
		if c.change != nil {
			c.change(&job)
		}
		at, known := now, anyone
		if !c.at.IsZero() {
			at = c.at
		}
		if c.known != nil {
			known = c.known
		}
		if err := counts(a, &job, "carl", s.signer.Public(), at, known); (err == nil) != c.counts {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.job.Approval.By = "" // where one person is enough, it may be the same
	if err := counts(anApproval(t, s.job, "ann", s.signer, pass), s.job, "ann", s.signer.Public(), now, anyone); err != nil {
		t.Error(err)
	}
	said, err := anApproval(t, s.job, "bob", bob, pass).For(s.job, now)
	if err != nil {
		t.Fatal(err)
	}
	if said.Counts(s.job, "carl", s.signer.Public(), said.Expires, anyone) == nil {
		t.Error("one that was looked at in time counts for ever")
	}
}

func counts(a Approval, j *sluice.Job, submitter string, key Key, at time.Time, known func(string, Key) error) error {
	said, err := a.For(j, at)
	if err != nil {
		return err
	}
	return said.Counts(j, submitter, key, at, known)
}

// TestBefore: the gates that a host waits for are those of its own track, before its stage.
func TestBefore(t *testing.T) {
	gate := sluice.Gate{Approve: true}
	j := &sluice.Job{Tracks: []sluice.Track{
		{Name: "one", Stages: []sluice.Stage{{Name: sluice.BeforeStart, Gate: gate}, {Name: "a", Hosts: []sluice.Host{"a1"}}, {Name: "b", Hosts: []sluice.Host{"b1"}, Gate: gate}, {Name: "c", Hosts: []sluice.Host{"c1"}}}},
		{Name: "two", Stages: []sluice.Stage{{Name: "d", Hosts: []sluice.Host{"d1"}}}}}}
	for h, want := range map[sluice.Host][]Pass{"a1": {{"one", "start", 0}}, "b1": {{"one", "start", 0}}, "c1": {{"one", "start", 0}, {"one", "b", 2}}, "d1": nil, "x": nil} {
		if got := Before(j, h); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", h, got, want)
		}
	}
}

// FuzzApproval: nothing that comes over the wire stops the program, and what is read is written the same.
func FuzzApproval(f *testing.F) {
	s := newSet(f)
	f.Add([]byte(anApproval(f, s.job, "bob", s.signer, Pass{"all", "all", 0})))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = Approval(b).Read() })
}
