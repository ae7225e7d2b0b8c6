package diroutputs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// open makes a reader of what is kept of a stream.
func (j *jobFile) open(s stream, name string) (io.ReadCloser, error) {
	e := j.streams[s]
	if e.size == 0 {
		return &streamReader{}, nil
	}
	frames, whole, err := j.back(s, e)
	if err == nil && !whole {
		frames, err = j.forward(s)
	}
	if err != nil {
		return nil, err
	}
	return &streamReader{h: j.h.hold(), salt: j.salt, stream: s, name: name, places: frames, size: e.size}, nil
}

// back collects where the frames of a stream are, from the last to the first. whole is false where damage is in
// the way.
func (j *jobFile) back(s stream, e extent) (frames []place, whole bool, err error) {
	end := e.size
	for at := e.last; ; {
		f, ok, err := readFrame(j.h, j.salt, at, j.end)
		if err != nil || !ok || f.stream != s || f.offset+int64(f.length) != end || f.length == 0 {
			return nil, false, err
		}
		frames = append(frames, place{at, f.offset})
		if f.offset == 0 {
			slices.Reverse(frames)
			return frames, true, nil
		}
		at, end = f.prev, f.offset
	}
}

// forward collects them by looking at all frames of the file.
func (j *jobFile) forward(s stream) (frames []place, err error) {
	_, _, err = scan(j.h, j.salt, int64(fileHeader), j.end, func(f frame) error {
		if f.stream == s {
			frames = append(frames, place{f.at, f.offset})
		}
		return nil
	})
	return frames, err
}

// streamReader reads frame by frame, and proves each.
type streamReader struct {
	h      *handle // nil: nothing to read, or closed
	salt   salt
	stream stream
	name   string
	places []place // of all its frames, in order
	nth    int     // the first of them that is still to be read
	size   int64   // of the stream
	at     int64   // where in the stream the next byte is
	buf    []byte  // of the frame
	rest   []byte  // of buf, not yet given out
}

// place is where a frame is in the file, and where in the stream its data begins.
type place struct{ at, offset int64 }

// Seek goes to a place of the stream as it was when it was opened. Frames before it are not read.
func (r *streamReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return r.at, fmt.Errorf("%s has no byte %d", r.name, offset)
	}
	to := min(offset, r.size)
	r.nth = sort.Search(len(r.places), func(i int) bool { return r.places[i].offset > to })
	r.rest, r.at = nil, to
	if to == r.size || r.nth == 0 {
		return to, nil
	}
	r.nth--
	r.at = r.places[r.nth].offset
	if err := r.next(); err != nil {
		return r.at, err
	}
	r.rest, r.at = r.rest[min(to-r.at, int64(len(r.rest))):], to
	return to, nil
}

func (r *streamReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.rest) == 0 {
		if r.at == r.size {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.at += int64(n)
	return n, nil
}

func (r *streamReader) next() error {
	if r.h == nil {
		return errors.New("read of a closed output")
	}
	damaged := fmt.Errorf("%s is damaged from byte %d of %d on", r.name, r.at, r.size)
	if r.nth == len(r.places) {
		return damaged
	}
	at := r.places[r.nth].at
	r.nth++
	info, err := r.h.Stat()
	if err != nil {
		return err
	}
	f, ok, err := readFrame(r.h, r.salt, at, info.Size())
	if err != nil {
		return err
	}
	if !ok || f.stream != r.stream || f.offset != r.at {
		return damaged
	}
	r.buf = slices.Grow(r.buf[:0], f.length)[:f.length]
	if _, err := r.h.ReadAt(r.buf, at+frameHeader); err != nil {
		return err
	}
	if sumOf(r.buf) != f.sum {
		return damaged
	}
	r.rest = r.buf
	return nil
}

func (r *streamReader) Close() error {
	if r.h == nil {
		return nil
	}
	h := r.h
	r.h, r.rest, r.places = nil, nil, nil
	return h.release()
}
