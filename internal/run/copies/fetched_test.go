package copies_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/lab/fake"
)

func packs(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		for len(text) > 0 { // in pieces that fit nothing
			n := min(len(text), 1000)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				return err
			}
			text = text[n:]
		}
		return nil
	}
}

func (c *three) fetched(host int) (string, error) {
	r, err := c.Outputs().OpenFetched(job, attempt(host))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), errors.Join(err, r.Close())
}

// TestFetched: what was fetched is on a majority before that is said, and read by a new owner as it was kept last.
func TestFetched(t *testing.T) {
	c := cluster(t, 2)
	spec := sluice.Job{ID: job, Namespace: "prod", Action: sluice.Action{Kind: sluice.FetchFrom, Source: "/etc/hosts"}}
	begins(t, c.log, sluice.JobSubmitted{Submitted: spec}, started(1), started(2), started(3), ended(1), ended(2))
	long := strings.Repeat("0123456789", 70_000)
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	for host, text := range map[int]string{1: long, 2: "short"} {
		if err := c.Outputs().KeepFetched(job, attempt(host), packs(text)); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("the disk fails")
	err := c.Outputs().KeepFetched(job, attempt(3), func(w io.Writer) error { return errors.Join(packs(long)(w), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if text, err := c.fetched(3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of it was kept: %.20q, %v", text, err)
	}
	if err := c.Outputs().KeepFetched(job, attempt(2), packs("again")); err != nil {
		t.Fatal(err)
	}
	c.peers[0].Faults.Set(fake.PeerKeep, nil)
	n := c.next(t, 0)
	if text, err := n.fetched(1); text != long || err != nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if text, err := n.fetched(2); text != "again" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	got := map[sluice.Host]string{}
	err = n.Outputs().BringFetched(t.Context(), job, func(h sluice.Host) bool { return h == "h1" }, func(r io.Reader, j *sluice.Job, h sluice.Host) error {
		text, err := io.ReadAll(r)
		got[h] = j.Action.Source + " " + string(text)
		return err
	})
	if err != nil || len(got) != 1 || got["h2"] != "/etc/hosts again" {
		t.Errorf("%v, %v", got, err)
	}
	n.peers[0].Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	if text, err := n.fetched(2); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("there may be more elsewhere: %q, %v", text, err)
	}
}

// TestFetchedNowhereElse: without a majority it is not kept.
func TestFetchedNowhereElse(t *testing.T) {
	c := cluster(t, 2)
	for _, p := range c.peers {
		p.Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	}
	if err := c.Outputs().KeepFetched(job, attempt(1), packs("x")); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("%v", err)
	}
}
