package sshexec

import (
	"fmt"
	"net"
	"runtime/debug"
	"sync/atomic"
)

// wire is a connection that counts what it reads, for keepalives, and lets the beginning be looked at. While
// the beginning lasts it reads in larger pieces than the library, which takes the version byte by byte.
type wire struct {
	net.Conn
	reads   atomic.Uint64
	kex     kexReader
	begun   []byte // holds what is pending
	pending []byte // read, and not yet asked for; used by the only reader
	broken  error
}

// beginning has room for the version and the list of algorithms of most hosts.
const beginning = 2048

func newWire(c net.Conn, offered algorithms) *wire {
	return &wire{Conn: c, kex: kexReader{offered: offered}}
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.pending) == 0 && w.kex.done {
		n, err := w.Conn.Read(p)
		w.reads.Add(1)
		return n, err
	}
	if w.broken != nil {
		return 0, w.broken
	}
	if len(w.pending) == 0 {
		if w.begun == nil {
			w.begun = make([]byte, beginning)
		}
		n, err := w.Conn.Read(w.begun)
		w.reads.Add(1)
		if n == 0 {
			return 0, err
		}
		if w.broken = w.look(w.begun[:n]); w.broken != nil {
			return 0, w.broken
		}
		w.pending = w.begun[:n]
	}
	n := copy(p, w.pending)
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil
		if w.kex.done {
			w.begun = nil
		}
	}
	return n, nil
}

// look reads hostile bytes in a goroutine of the library, where a panic would end the process.
func (w *wire) look(p []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic over the list of algorithms: %v\n%s", r, debug.Stack())
		}
	}()
	return w.kex.feed(p)
}
