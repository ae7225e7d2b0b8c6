package app

import (
	"os"
	"testing"

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
