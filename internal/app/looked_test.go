package app

import (
	"os"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/localsocket"
)

// TestNotedWhenItIs: who came by the socket is to be noted with every request until it was, and not after that.
func TestNotedWhenItIs(t *testing.T) {
	at := &atSocket{peer: localsocket.Peer{UID: 0}}
	for range 2 { // the first found no owner
		p, err := at.prove(os.Getuid())
		if err != nil || !p.Note {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	p, err := at.prove(os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	p.Noted()
	if p, err := at.prove(os.Getuid()); err != nil || p.Note {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestNobodyEverOwnedIt: servers that start where nobody can own the log come to know that, too.
func TestNobodyEverOwnedIt(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := newOutlook(now.Add(-time.Hour))
	for range 3 {
		o.see(sluice.Owner{}, 0, nil, now)
		now = now.Add(waitForOwner)
	}
	if v := o.now(); !v.ownerless(now) {
		t.Errorf("%+v", v)
	}
	o.see(sluice.Owner{Name: "a"}, 7, nil, now)
	if v := o.now(); v.ownerless(now.Add(time.Hour)) {
		t.Errorf("somebody owns it: %+v", v)
	}
}
