package work

import (
	"context"
	"io"
	"sync"

	"sluice"
)

// conn is a session whose output comes as pieces through one channel. At most one piece of each stream is on
// its way at a time, so a slow reader slows the peer and memory stays flat.
type conn struct {
	session sluice.Session
	pieces  chan piece // closed when both streams have ended
	quit    chan struct{}
	readers sync.WaitGroup
	once    sync.Once
	tty     bool
	prompt  string // sudo's, that was answered on the way; "" without sudo
}

type piece struct {
	stderr bool
	data   []byte        // valid until done
	done   chan struct{} // has room for one; the reader goes on when something is in it
}

const pieceSize = 32 << 10

func newConn(s sluice.Session, tty bool) *conn {
	c := &conn{session: s, pieces: make(chan piece), quit: make(chan struct{}), tty: tty}
	c.readers.Add(2)
	go c.read(s.Stdout(), false)
	go c.read(s.Stderr(), true)
	go func() {
		c.readers.Wait()
		close(c.pieces)
	}()
	return c
}

func (c *conn) read(r io.Reader, stderr bool) {
	defer c.readers.Done()
	p := piece{stderr: stderr, done: make(chan struct{}, 1)}
	size := pieceSize
	if stderr {
		size = 4 << 10
	}
	buf := make([]byte, size)
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
		}
		if err != nil {
			return
		}
	}
}

func (p piece) release() { p.done <- struct{}{} }

// say sends a line; a failure shows as the end of the session.
func (c *conn) say(text string) { _, _ = io.WriteString(c.session.Stdin(), text) }

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
