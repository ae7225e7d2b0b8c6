package audit_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/audit"
)

// chain makes records of hosts that were held, one event in each.
func chain(ns sluice.Namespace, hosts ...sluice.Host) (out []sluice.Record) {
	var end sluice.Head
	for _, h := range hosts {
		e := sluice.Event{Seq: end.Seq + 1, Time: time.Unix(int64(end.Seq), 0).UTC(), Body: sluice.HostHeld{Host: h, By: "ann"}}
		b, _ := json.Marshal(e)
		r := sluice.Record{Namespace: ns, First: e.Seq, Last: e.Seq, Prev: end.Hash, Payload: append(b, '\n')}
		r.Hash = r.Sum()
		out, end = append(out, r), r.Head()
	}
	return out
}

func prove(records []sluice.Record, kept ...sluice.Head) (*audit.Proof, error) {
	p, err := audit.New(kept...)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if _, err := p.Add(r); err != nil {
			return nil, err
		}
	}
	return p, p.End()
}

// TestChainFinds: what does not fit by itself needs no witness.
func TestChainFinds(t *testing.T) {
	whole := func() []sluice.Record { return chain("prod", "h1", "h2", "h3", "h4") }
	if p, err := prove(whole()); err != nil || len(p.Heads()) != 1 || p.Heads()[0] != whole()[3].Head() {
		t.Fatalf("%v, error %v", p, err)
	}
	end := whole()[3].Head()
	for name, c := range map[string]struct {
		do   func([]sluice.Record) []sluice.Record
		says string
	}{
		"edit": {func(r []sluice.Record) []sluice.Record {
			r[1].Payload = bytes.Replace(r[1].Payload, []byte("h2"), []byte("h9"), 1)
			return r
		}, "the events 2 to 2 were changed"},
		"edit, with its hash": {func(r []sluice.Record) []sluice.Record {
			r[1].Payload = bytes.Replace(r[1].Payload, []byte("h2"), []byte("h9"), 1)
			r[1].Hash = r[1].Sum()
			return r
		}, "the events 3 to 3 do not continue event 2"},
		"deletion":              {func(r []sluice.Record) []sluice.Record { return slices.Delete(r, 1, 2) }, "event 3 follows event 1"},
		"deletion of the first": {func(r []sluice.Record) []sluice.Record { return r[1:] }, "event 2 follows event 0"},
		"reorder":               {func(r []sluice.Record) []sluice.Record { r[1], r[2] = r[2], r[1]; return r }, "event 3 follows event 1"},
		"twice":                 {func(r []sluice.Record) []sluice.Record { return slices.Insert(r, 1, r[0]) }, "event 1 follows event 1"},
		"fork": {func(r []sluice.Record) []sluice.Record {
			return append(r[:2:2], chain("prod", "h1", "x2", "x3")[2])
		}, "the events 3 to 3 do not continue event 2"},
		"truncation":                   {func(r []sluice.Record) []sluice.Record { return r[:2] }, "it ends at event 2, and event 4 was seen elsewhere"},
		"all gone":                     {func([]sluice.Record) []sluice.Record { return nil }, "it ends at event 0, and event 4 was seen elsewhere"},
		"written anew":                 {func([]sluice.Record) []sluice.Record { return chain("prod", "h1", "x2", "h3", "h4", "h5") }, "event 4 or one before it is another"},
		"under another namespace name": {func(r []sluice.Record) []sluice.Record { r[0].Namespace = "lab"; return r }, "namespace lab: the events 1 to 1 were changed"},
		"numbers in the events": {func([]sluice.Record) []sluice.Record {
			r := chain("prod", "h1")
			r[0].Payload = bytes.Replace(r[0].Payload, []byte(`"seq":1`), []byte(`"seq":7`), 1)
			r[0].Hash = r[0].Sum()
			return r
		}, "event 1 says that it is 7"},
		"more events than it says": {func([]sluice.Record) []sluice.Record {
			r := chain("prod", "h1")
			r[0].Payload = append(r[0].Payload, chain("prod", "h1", "h2")[1].Payload...)
			r[0].Hash = r[0].Sum()
			return r
		}, "holds another number of events"},
		"garbage": {func([]sluice.Record) []sluice.Record {
			r := chain("prod", "h1")
			r[0].Payload = []byte("garbage\n")
			r[0].Hash = r[0].Sum()
			return r
		}, "event 1 cannot be read"},
	} {
		_, err := prove(c.do(whole()), end)
		if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
	}
	if _, err := prove(nil, end, sluice.Head{Namespace: "prod", Seq: 4}); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("heads that contradict each other: %v", err)
	}
}

// Any record that is changed in any bit, left out or moved is found, wherever it is: at the end by what was kept.
func TestChainFindsAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.SliceOfN(rapid.SampledFrom([]sluice.Host{"a", "b", "c"}), 1, 8).Draw(t, "hosts")
		r := chain("prod", hosts...)
		end := r[len(r)-1].Head()
		at := rapid.IntRange(0, len(r)-1).Draw(t, "at")
		switch rapid.SampledFrom([]string{"bit", "drop", "swap", "cut"}).Draw(t, "what") {
		case "bit":
			bit := rapid.IntRange(0, 8*len(r[at].Payload)-1).Draw(t, "bit")
			r[at].Payload[bit/8] ^= 1 << (bit % 8)
		case "drop":
			r = slices.Delete(r, at, at+1)
		case "swap":
			other := rapid.IntRange(0, len(r)-1).Draw(t, "other")
			if other == at {
				return
			}
			r[at], r[other] = r[other], r[at]
		case "cut":
			r = r[:at]
		}
		if _, err := prove(r, end); err == nil {
			t.Fatal("nothing was found")
		}
	})
}

// What is exported comes back, byte for byte, and can be compared with.
func TestExportComesBack(t *testing.T) {
	records := append(chain("prod", "h1", "<ü>"), chain("lab", "h2")...)
	odd := sluice.Record{Namespace: "odd", First: 1, Last: 1, Payload: []byte{0xff, '\n'}}
	odd.Hash = odd.Sum()
	var file bytes.Buffer
	for _, r := range append(slices.Clone(records), odd) {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back sluice.Record
		if err := json.Unmarshal(b, &back); err != nil || back.Sum() != r.Hash || back.Hash != r.Hash {
			t.Errorf("%s came back as %+v, error %v", b, back, err)
		}
		file.Write(append(b, '\n'))
	}
	kept, err := audit.ParseHeads(file.Bytes())
	if err != nil || len(kept) != 4 {
		t.Fatalf("%v, error %v", kept, err)
	}
	if _, err := prove(records, kept[:3]...); err != nil {
		t.Error(err)
	}
	heads, _ := json.Marshal(records[1].Head())
	if kept, err := audit.ParseHeads(append(heads, "\n\n"...)); err != nil || len(kept) != 1 || kept[0] != records[1].Head() {
		t.Errorf("%v, error %v", kept, err)
	}
	for _, bad := range []string{"{}", "x", `{"namespace":"prod","seq":1}`, `{"namespace":"prod","seq":1,"hash":"00"}`, `{"namespace":"prod","hash":"` + strings.Repeat("0", 64) + `"}`} {
		if _, err := audit.ParseHeads([]byte(string(heads) + "\n" + bad)); sluice.CodeOf(err) != sluice.Usage || !strings.HasPrefix(err.Error(), "line 2") && !strings.Contains(err.Error(), "2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParseHeads(f *testing.F) {
	f.Add([]byte(`{"namespace":"prod","seq":1,"hash":"00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		heads, err := audit.ParseHeads(b)
		for _, h := range heads {
			if err == nil && (h.Namespace == "" || h.Seq == 0) {
				t.Errorf("%+v", h)
			}
		}
	})
}

// TestEntries: everything that somebody asked for is a line, and what nobody asked for is none.
func TestEntries(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		body sluice.Body
		want string
	}{
		{sluice.JobSubmitted{Submitted: sluice.Job{By: "ann", Command: "reboot", Expression: "$web", Targets: []sluice.Host{"a", "b"}}}, `ann  job J  submitted "reboot" for 2 hosts ($web)`},
		{sluice.JobHalting{By: "bob", Reason: "smoke"}, "bob  job J  halted it: smoke"},
		{sluice.JobHalting{Rule: sluice.RuleBudget, Reason: "too many"}, ""},
		{sluice.JobCancelling{By: "bob"}, "bob  job J  cancelled it"},
		{sluice.JobResumed{By: "bob"}, "bob  job J  resumed it"},
		{sluice.TaskRetried{By: "bob", Hosts: []sluice.Host{"a", "b", "c", "d", "e", "f"}}, "bob  job J  has 6 hosts tried again: a b c d e ..."},
		{sluice.TaskFinished{Host: "a", By: "bob", Reason: "gone", Outcome: sluice.Skipped}, "bob  job J  skipped a: gone"},
		{sluice.TaskFinished{Host: "a", Outcome: sluice.Failed}, ""},
		{sluice.GatePassed{Stage: "canary", By: "bob"}, `bob  job J  approved what follows the stage "canary"`},
		{sluice.GatePassed{Stage: "canary"}, ""},
		{sluice.TaskStarted{}, ""}, {sluice.StageOpened{}, ""}, {sluice.JobFinished{}, ""}, {sluice.JobStarted{}, ""}, {sluice.UnknownBody{TypeName: "x.y"}, ""},
		{sluice.FleetApplied{Version: 3, Hosts: 7, By: "ann", Note: "web9 is new"}, "ann  job J  applied version 3 of the fleet, 7 hosts: web9 is new"},
		{sluice.HostReleased{Host: "a", By: "bob", Reason: "new disk"}, "bob  job J  released a: new disk"},
		{sluice.TokenMade{Token: sluice.Token{ID: "t1", Principal: "ci", Digest: "secret"}, By: "root"}, "root  job J  made the token t1 for ci"},
		{sluice.AccessNoted{Principal: "eve", What: "GET /api/v1/jobs", Refused: "no grant", From: "192.0.2.1:5", Times: 3}, "eve  job J  GET /api/v1/jobs (3 times)  from 192.0.2.1:5  REFUSED: no grant"},
		{sluice.AccessNoted{What: "GET /"}, "nobody known  job J  GET /"},
		{sluice.LogRepaired{Epoch: 2, Reason: "a disk", By: "root"}, "root  job J  declared the log the truth; epoch 2: a disk"},
		{sluice.ServerRestored{Epoch: 1, Backup: at, By: "root"}, "root  job J  restored the server from the backup of 2026-01-02T03:04:05Z; epoch 1"},
		{sluice.ServerInvited{Server: "s3", By: "root"}, "root  job J  invited the server s3"},
		{sluice.ServerInvited{Server: "s3", Replaces: "s1", By: "root"}, "root  job J  invited the server s3 in place of s1"},
		{sluice.ServerJoined{Server: "s3", Address: "s3:7659", From: "192.0.2.1:5"}, "server s3  job J  joined the cluster at s3:7659  from 192.0.2.1:5"},
		{sluice.ServerRemoved{Server: "s1", By: "root", Reason: "replaced by s3"}, "root  job J  removed the server s1: replaced by s3"},
		{sluice.OutputRemoved{Bytes: 7, Reason: "too old", By: "server"}, "server  job J  removed its output, 7 bytes: too old"},
	} {
		e, ok := audit.Of("prod", sluice.Event{Seq: 1, Time: at, Job: "J", Body: c.body})
		got := ""
		if ok {
			got, _ = strings.CutPrefix(e.String(), "2026-01-02 03:04:05  prod        ")
		}
		if got != c.want {
			t.Errorf("%T: %q, want %q", c.body, got, c.want)
		}
	}
}
