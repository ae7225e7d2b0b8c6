package work

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/core/target"
)

// chunk is how much is written to a session at once.
const chunk = 256 << 10

// upload hands the attempt's directory its file through a session of its own, and lets the host prove by its
// digest that it has all of it. It returns why that is not so, or "".
func (t *attempt) upload(ctx context.Context, link sluice.Link) (string, error) {
	if t.parcel == nil {
		return "", nil
	}
	ctx, stop := t.untilKilled(ctx)
	defer stop()
	opening, cancel := context.WithTimeout(ctx, t.w.helloTimeout())
	defer cancel()
	c, err := t.open(opening, link, false)
	if err != nil {
		return "", fmt.Errorf("a second session on the host: %w", err)
	}
	defer c.close()
	return t.send(ctx, c)
}

// send does one upload on an open shell.
func (t *attempt) send(ctx context.Context, c *conn) (string, error) {
	call := t.call(c)
	call.Put, call.Main = true, nil
	c.say(target.Render(call))
	framer := target.NewFramer(call.Nonce)
	word, text, err := t.awaitWord(ctx, c, framer)
	if err != nil || word != "ready" {
		return "the file cannot be sent: " + printable(text), err
	}
	sent := make(chan error, 1)
	go func() { sent <- t.parcel.copyTo(ctx, c.session.Stdin()) }()
	word, text, err = t.awaitWord(ctx, c, framer)
	if err != nil {
		c.close() // lets the writer end
		<-sent
		return "", err
	}
	if word != "sum" {
		c.close()
		<-sent
		return "the file cannot be kept on the host: " + printable(strings.TrimPrefix(text, "put ")), nil
	}
	if err := <-sent; err != nil {
		return "what is to be sent cannot be read: " + printable(err.Error()), nil
	}
	return t.parcel.check(ctx, text)
}

// copyTo writes the content and closes w. Only errors of reading count: those of writing show at the other end.
func (p *parcel) copyTo(ctx context.Context, w io.WriteCloser) error {
	defer func() { _ = w.Close() }()
	if p.write != nil {
		return p.make(ctx, w)
	}
	r, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(r, buf)
		if _, broken := w.Write(buf[:n]); broken != nil {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// make writes what is made on the way, and keeps its digest.
func (p *parcel) make(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	peer := &peer{w: bufio.NewWriterSize(w, chunk)}
	err := p.write(ctx, io.MultiWriter(peer, sum))
	if err == nil {
		_ = peer.w.Flush()
	}
	p.sha = hex.EncodeToString(sum.Sum(nil))
	if peer.broken {
		return nil
	}
	return err
}

// peer is the other end of a session, whose errors show there.
type peer struct {
	w      *bufio.Writer
	broken bool
}

func (p *peer) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.broken = p.broken || err != nil
	return n, err
}

// check compares what sha256sum or, where there is none, cksum said on the host.
func (p *parcel) check(ctx context.Context, said string) (string, error) {
	f := strings.Fields(said)
	if len(f) >= 1 && len(f[0]) == 64 {
		if f[0] == p.sha {
			return "", nil
		}
	} else if len(f) >= 2 && p.open != nil {
		r, err := p.open(ctx)
		if err != nil {
			return "what was sent cannot be read again: " + printable(err.Error()), nil
		}
		defer func() { _ = r.Close() }()
		sum := target.NewCksum()
		if _, err := io.Copy(sum, r); err != nil {
			return "what was sent cannot be read again: " + printable(err.Error()), nil
		}
		if f[0] == strconv.FormatUint(uint64(sum.Sum()), 10) && f[1] == strconv.FormatInt(sum.Size(), 10) {
			return "", nil
		}
	}
	return "the file arrived damaged on the host: its digest there is " + printable(said), nil
}

// awaitWord reads up to the next frame.
func (t *attempt) awaitWord(ctx context.Context, c *conn, framer *target.Framer) (word, rest string, err error) {
	for {
		select {
		case <-ctx.Done():
			return "", "", ctx.Err()
		case p, ok := <-c.pieces:
			if !ok {
				_, err := c.session.Wait()
				return "", "", errors.Join(sluice.ErrLinkLost, err)
			}
			if !p.stderr {
				framer.Feed(p.data, func(i target.Item) {
					if word == "" {
						word, rest = i.Word, i.Rest
					}
				})
			}
			p.release()
			if word != "" {
				return word, rest, nil
			}
		}
	}
}

// killAside kills an attempt whose own session belongs to its terminal: through another session, which joins
// it. Whether that worked shows in the end of the attempt.
func (t *attempt) killAside(ctx context.Context, link sluice.Link) {
	t.helpers.Add(1)
	word := t.killWord()
	go func() {
		defer t.helpers.Done()
		ctx, cancel := context.WithTimeout(ctx, killGrace)
		defer cancel()
		c, err := t.greet(ctx, link, false)
		if err != nil {
			return
		}
		defer c.close()
		call := t.call(c)
		call.Settle, call.TTY, call.Main = true, false, nil
		c.say(target.Render(call))
		if got, _, err := t.awaitWord(ctx, c, target.NewFramer(call.Nonce)); err == nil && got == "old" {
			c.say("k " + word + "\n")
			c.drain(ctx)
		}
	}()
}
