package target

import (
	"bytes"
	"strings"
)

// maxFrame bounds a frame; a longer one is no frame but output that happens to begin like one.
const maxFrame = 16 << 10

// Item is a piece of what a session sent: a frame, or bytes between frames.
type Item struct {
	// Word is the first word of a frame, Rest what follows it; Word is "" for bytes.
	Word, Rest string
	// Data are bytes between frames; valid until the next call of Feed.
	Data []byte
}

// Framer takes a byte stream apart into frames and the bytes between them. The zero value is of no use; see
// [NewFramer].
type Framer struct {
	mark []byte // what a frame begins with
	held []byte // the beginning of something that may become a frame
}

// NewFramer reads frames that bear the nonce.
func NewFramer(nonce string) *Framer { return &Framer{mark: []byte(FrameStart + nonce + " ")} }

// Feed takes the next bytes and hands out what is complete. Bytes that may be the beginning of a frame are
// held back; they are never more than a frame may be long.
func (f *Framer) Feed(p []byte, out func(Item)) {
	if len(f.held) > 0 {
		p = append(f.held, p...)
		f.held = nil
	}
	for len(p) > 0 {
		at := bytes.IndexByte(p, FrameStart[0])
		if at < 0 {
			out(Item{Data: p})
			return
		}
		if at > 0 {
			out(Item{Data: p[:at]})
			p = p[at:]
		}
		n, complete := f.match(p)
		switch {
		case n > 0:
			word, rest, _ := strings.Cut(strings.TrimSuffix(string(p[len(f.mark):n-1]), "\r"), " ")
			out(Item{Word: word, Rest: rest})
			p = p[n:]
		case complete:
			out(Item{Data: p[:1]})
			p = p[1:]
		default:
			f.held = append([]byte(nil), p...)
			return
		}
	}
}

// match looks at bytes that begin with the frame's first byte: the length of the frame, or 0. complete says
// that more bytes will not make it one.
func (f *Framer) match(p []byte) (n int, complete bool) {
	if len(p) < len(f.mark) {
		return 0, !bytes.HasPrefix(f.mark, p)
	}
	if !bytes.HasPrefix(p, f.mark) {
		return 0, true
	}
	end := bytes.IndexByte(p[:min(len(p), maxFrame)], '\n')
	if end <= len(f.mark) {
		return 0, end >= 0 || len(p) >= maxFrame
	}
	return end + 1, false
}

// Rest are the bytes that are held back; the stream ended, and they are no frame.
func (f *Framer) Rest() []byte {
	rest := f.held
	f.held = nil
	return rest
}
