package sqlitelog

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

func newTestPacker(t testing.TB) *packer {
	t.Helper()
	p, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// TestForm holds the form that is on people's disks. If it changes, old journals must still be read.
func TestForm(t *testing.T) {
	var out bytes.Buffer
	head := mark{}
	for _, events := range [][]sluice.Event{
		{held("web1")},
		{{Time: when, Job: "aaaa00000000", Body: sluice.JobStarted{Driver: "ann@laptop pid 1"}}, held("web2")},
	} {
		r, err := pack("prod", head, events)
		if err != nil {
			t.Fatal(err)
		}
		head = r.end()
		fmt.Fprintf(&out, "%s %d-%d\nprev %x\nhash %x\n%s%s\n", r.ns, r.first, r.last, r.prev, r.hash, r.payload, formatLine(r.ns, head))
	}
	const golden = "testdata/form.golden"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the form is now\n%s\nand was\n%s", out.Bytes(), want)
	}
}

func TestPackAndLoad(t *testing.T) {
	p := newTestPacker(t)
	rapid.Check(t, func(t *rapid.T) {
		head := mark{seq: rapid.Uint64Range(0, 1<<40).Draw(t, "head")}
		var events []sluice.Event
		for _, text := range rapid.SliceOfN(rapid.String(), 1, 20).Draw(t, "texts") {
			events = append(events, sluice.Event{Time: when, Body: sluice.HostHeld{Host: "h", Reason: strings.Repeat(text, 50)}})
		}
		r, err := pack("prod", head, events)
		if err != nil {
			t.Fatal(err)
		}
		w := p.store(r)
		if w.form == formZstd && len(w.payload) >= len(r.payload) {
			t.Fatal("compressing made it longer")
		}
		back, err := p.load("prod", w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.load("lab", w); err == nil {
			t.Fatal("the record fits another namespace")
		}
		after := rapid.Uint64Range(head.seq, r.last).Draw(t, "after")
		got, err := back.events(nil, after)
		if err != nil {
			t.Fatal(err)
		}
		if want := events[after-head.seq:]; !slices.EqualFunc(got, want, func(a, b sluice.Event) bool {
			return a.Seq == b.Seq && a.Body == b.Body && a.Time.Equal(b.Time)
		}) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// FuzzLoad gives the decoder rows as a damaged file might hold them.
func FuzzLoad(f *testing.F) {
	p := newTestPacker(f)
	for _, events := range [][]sluice.Event{
		{held("h")},
		{held("h1"), held("h2")},
		{held(strings.Repeat("long", 3000))},
	} {
		r, err := pack("prod", mark{seq: 6}, events)
		if err != nil {
			f.Fatal(err)
		}
		w := p.store(r)
		f.Add(w.first, w.last, w.prev, w.hash, w.form, w.size, w.payload)
		f.Add(w.first, w.last, w.prev, w.hash, w.form, int64(1<<60), w.payload)
		f.Add(w.first, w.last+1, w.prev, w.hash, int64(1), w.size, w.payload)
	}
	f.Add(int64(-1), int64(0), []byte{}, []byte{}, int64(0), int64(0), []byte("{}\n"))
	f.Fuzz(func(t *testing.T, first, last int64, prev, sum []byte, form, size int64, payload []byte) {
		w := row{first: first, last: last, prev: prev, hash: sum, form: form, size: size, payload: payload}
		r, err := p.load("prod", w)
		if err != nil {
			if sluice.CodeOf(err) != sluice.Contact {
				t.Fatalf("error without a code: %v", err)
			}
			// The lines behind a hash that fits are decoded all the same: a fuzzer cannot guess hashes.
			r = record{ns: "prod", first: uint64(first), last: uint64(last), payload: payload}
			if first < 1 || last < first {
				return
			}
		}
		events, err := r.events(nil, 0)
		if err != nil {
			return
		}
		if n := r.last - r.first + 1; uint64(len(events)) != n {
			t.Fatalf("%d events of a record of %d", len(events), n)
		}
		for i := range events {
			if events[i].Seq != r.first+uint64(i) {
				t.Fatalf("event %d in the place of %d", events[i].Seq, r.first+uint64(i))
			}
		}
	})
}
