package work

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"sluice"
)

// conn is a session whose output comes as pieces through one channel. At most one piece of each stream is on
// its way at a time, so a slow reader slows the peer and memory stays flat.
type conn struct {
	session sluice.Session
	pieces  chan piece // closed when both streams have ended
	quit    chan struct{}
	reading atomic.Int32 // readers
	once    sync.Once
	tty     bool
	prompt  string // sudo's, that was answered on the way; "" without sudo
}

type piece struct {
	stderr bool
	data   []byte        // valid until done
	done   chan struct{} // has room for one; the reader goes on when something is in it
}

// A reader begins with little, as most commands print next to nothing, and takes more when it was filled.
const (
	firstStdout = 512
	firstStderr = 128
	pieceSize   = 32 << 10
)

func newConn(s sluice.Session, tty bool) *conn {
	c := &conn{session: s, pieces: make(chan piece), quit: make(chan struct{}), tty: tty}
	c.reading.Store(2)
	go c.read(s.Stdout(), make([]byte, firstStdout), false)
	go c.read(s.Stderr(), make([]byte, firstStderr), true)
	return c
}

func (c *conn) read(r io.Reader, buf []byte, stderr bool) {
	defer func() {
		if c.reading.Add(-1) == 0 {
			close(c.pieces)
		}
	}()
	p := piece{stderr: stderr, done: make(chan struct{}, 1)}
	for {
		n, err := r.Read(buf)
		if n > 0 {
			p.data = buf[:n]
			select {
			case c.pieces <- p:
			case <-c.quit:
				return
			}
			select {
			case <-p.done:
			case <-c.quit:
				return
			}
			if n == len(buf) && n < pieceSize {
				buf = make([]byte, min(4*n, pieceSize))
			}
		}
		if err != nil {
			return
		}
	}
}

func (p piece) release() { p.done <- struct{}{} }

// saidAtOnce is what fits into one write to the network, with what the protocol adds. What is longer would be copied,
// whole, several times on the way there, and each copy be kept for as long as the connection.
const saidAtOnce = 4000

// say sends text; a failure shows as the end of the session.
func (c *conn) say(text string) {
	in, buf := c.session.Stdin(), make([]byte, min(len(text), saidAtOnce))
	for len(text) > 0 {
		n := copy(buf, text)
		if _, err := in.Write(buf[:n]); err != nil {
			return
		}
		text = text[n:]
	}
}

// close ends the session and waits for its readers.
func (c *conn) close() {
	c.once.Do(func() {
		close(c.quit)
		_ = c.session.Close()
		for range c.pieces { // until the readers are gone
		}
	})
}

// drain reads to the end of the session and drops what comes, or until ctx is done.
func (c *conn) drain(ctx context.Context) {
	for {
		select {
		case p, ok := <-c.pieces:
			if !ok {
				return
			}
			p.release()
		case <-ctx.Done():
			return
		}
	}
}

// acknowledge says that the outcome is durable, and reports whether the launcher ended with its work done.
func (c *conn) acknowledge(ctx context.Context) bool {
	c.say("ack\n")
	c.drain(ctx)
	if ctx.Err() != nil {
		return false
	}
	_, err := c.session.Wait()
	return err == nil
}
