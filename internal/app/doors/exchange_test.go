package doors

import (
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

// Who comes while nobody takes connections waits for the next who does.
func TestDoorsStayOpen(t *testing.T) {
	defer goleak.VerifyNone(t)
	opened := 0
	d := &Doors{Stay: true}
	listen := func() (net.Listener, error) {
		opened++
		return net.Listen("tcp", "127.0.0.1:0")
	}
	say := func(l net.Listener, text string) {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	hears := func(c net.Conn, want string) {
		got, err := io.ReadAll(c)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		_ = c.Close()
	}
	come := func(l net.Listener) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, err := d.Open("api", listen)
	if err != nil {
		t.Fatal(err)
	}
	c := come(first)
	say(first, "first")
	hears(c, "first")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a listener that was closed says %v", err)
	}
	c = come(first)
	second, err := d.Open("api", listen)
	if err != nil || opened != 1 || second.Addr().String() != first.Addr().String() {
		t.Fatalf("opened %d times, at %v and %v: %v", opened, first.Addr(), second.Addr(), err)
	}
	say(second, "second")
	hears(c, "second")
	waits := make(chan error)
	go func() { _, err := second.Accept(); waits <- err }()
	d.Close()
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("who waits when all is closed gets %v", err)
	}
	third, err := d.Open("api", listen)
	if err != nil || opened != 2 {
		t.Fatalf("opened %d times: %v", opened, err)
	}
	_ = third.Close()
	d.Close()
}
