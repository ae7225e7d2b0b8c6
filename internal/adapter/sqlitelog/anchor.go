package sqlitelog

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice"
)

// The anchor is a text file of lines of 512 bytes, two for each namespace:
//
//	{"namespace":"prod","seq":120,"hash":"…"} 89abcdef
//
// A line is no longer than a disk sector, and the two are written by turns, so a write that power loss tears
// leaves the other one. The number behind the object is its CRC-32C. Lines are made before the first record of
// their namespace is committed and never move: writing one later needs no room on the disk.

const (
	anchorLine = 512
	anchorPair = 2 * anchorLine
)

// anchor is the file that says what was acknowledged.
type anchor struct {
	f    *os.File
	path string
	file pinned
	sync func(*os.File) error // fdatasync; tests have it fail

	mu    sync.Mutex
	pairs map[sluice.Namespace]int64    // where the two lines of a namespace are
	known map[sluice.Namespace]mark     // the furthest that this process has seen
	seen  map[sluice.Namespace]*reading // as last read
	buf   [anchorPair]byte
}

// reading is two lines and what they say.
type reading struct {
	text   [anchorPair]byte
	newest mark
	older  int64 // where in the pair the line is that is not the newest
}

func openAnchor(path string) (*anchor, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	file, err := pin(path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &anchor{f: f, path: path, file: file, sync: fdatasync,
		pairs: map[sluice.Namespace]int64{}, known: map[sluice.Namespace]mark{}, seen: map[sluice.Namespace]*reading{}}, nil
}

func (a *anchor) close() error { return a.f.Close() }

// all returns every namespace's mark.
func (a *anchor) all() (map[sluice.Namespace]mark, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.load()
}

// read returns the mark of a namespace; ok is false where it has none.
func (a *anchor) read(ns sluice.Namespace) (m mark, ok bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pair, ok := a.pairs[ns]
	if !ok {
		marks, err := a.load()
		m, ok := marks[ns]
		return m, ok, err
	}
	newest, _, err := a.look(ns, pair)
	if err != nil {
		return mark{}, false, err
	}
	return newest, true, a.learn(ns, newest)
}

// look reads the lines of a namespace, which begin at a place of the file. What they say is worked out only where
// they are not those that were there before.
func (a *anchor) look(ns sluice.Namespace, at int64) (newest mark, older int64, err error) {
	clear(a.buf[:])
	if _, err := a.f.ReadAt(a.buf[:], at); err != nil && err != io.EOF {
		return mark{}, 0, err
	}
	if p := a.seen[ns]; p != nil && p.text == a.buf {
		return p.newest, p.older, nil
	}
	if newest, older, err = bestOf(ns, a.buf[:]); err != nil {
		return mark{}, 0, err
	}
	a.seen[ns] = &reading{a.buf, newest, older}
	return newest, older, nil
}

// load reads the whole file. A pair of which neither line is whole says nothing: if it mattered, a namespace
// now has no mark, and that is found.
func (a *anchor) load() (map[sluice.Namespace]mark, error) {
	size, err := a.f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size-size%anchorPair)
	if _, err := a.f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	marks := map[sluice.Namespace]mark{}
	for pair := int64(0); pair < int64(len(b)); pair += anchorPair {
		for line := range int64(2) {
			ns, m, ok := parseLine(b[pair+line*anchorLine:][:anchorLine])
			if !ok {
				continue
			}
			if have, dup := marks[ns]; !dup || m.seq > have.seq {
				marks[ns] = m
			}
			a.pairs[ns] = pair
		}
	}
	for ns, m := range marks {
		if err := a.learn(ns, m); err != nil {
			return nil, err
		}
	}
	return marks, nil
}

// learn remembers how far the anchor was, so that one that goes backwards under a running process is found.
func (a *anchor) learn(ns sluice.Namespace, m mark) error {
	if was := a.known[ns]; m.seq < was.seq || m.seq == was.seq && m.hash != was.hash {
		return wentBack(ns, m.seq, was.seq)
	}
	a.known[ns] = m
	return nil
}

// reserve makes the lines of a namespace. It is called under the journal's write lock, before the first commit.
func (a *anchor) reserve(ctx context.Context, ns sluice.Namespace) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := a.load(); err != nil {
		return err
	}
	if _, ok := a.pairs[ns]; ok {
		return nil
	}
	size, err := a.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	pair := (size + anchorPair - 1) / anchorPair * anchorPair
	line := formatLine(ns, mark{})
	if _, err := a.f.WriteAt(append(line, line...), pair); err != nil {
		return errors.Join(err, a.f.Truncate(size))
	}
	if err := a.f.Sync(); err != nil {
		return err
	}
	a.pairs[ns] = pair
	return nil
}

// write moves the mark of a namespace on, durably. It never moves it back: where another process has already
// written a later one, that one stands for this one, too.
func (a *anchor) write(ctx context.Context, ns sluice.Namespace, m mark) error {
	return a.put(ctx, ns, m, false)
}

// force sets the mark, even back.
func (a *anchor) force(ctx context.Context, ns sluice.Namespace, m mark) error {
	return a.put(ctx, ns, m, true)
}

func (a *anchor) put(ctx context.Context, ns sluice.Namespace, m mark, force bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock, err := a.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.file.inPlace(); err != nil {
		return err
	}
	pair, ok := a.pairs[ns]
	if !ok {
		return fmt.Errorf("%s has no line for the namespace %s", a.path, ns)
	}
	newest, older, err := a.look(ns, pair)
	if err != nil && !force {
		return err
	}
	line := formatLine(ns, m)
	switch {
	case force: // both lines, or the later one would win
		_, err = a.f.WriteAt(append(line, line...), pair)
	case newest.seq >= m.seq:
		return nil
	default:
		if _, err = a.f.WriteAt(line, pair+older); err == nil {
			seen := a.seen[ns]
			copy(seen.text[older:], line)
			seen.newest, seen.older = m, anchorLine-older
		}
	}
	if err == nil {
		err = a.sync(a.f)
	}
	if err == nil {
		a.known[ns] = m
	}
	return err
}

// The anchor's lock is held for one write. lockPause is how long to wait before trying again; who does not get it
// in lockWait has met a process that is stopped.
const (
	lockPause = time.Millisecond
	lockWait  = 10 * time.Second
)

// lock keeps other processes from writing the anchor. The kernel drops it with the process.
func (a *anchor) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	fd := int(a.f.Fd())
	for {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = syscall.Flock(fd, syscall.LOCK_UN) }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			return nil, fmt.Errorf("lock %s: %w", a.path, err)
		}
		if pause(ctx, lockPause) != nil {
			return nil, sluice.Errorf(sluice.Contact, "another process has kept %s locked for %v", a.path, lockWait).
				WithHint("see which with `fuser %s`", a.path)
		}
	}
}

func fdatasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// bestOf returns the later of the two marks in a pair of lines, and where in the pair the other line is.
func bestOf(ns sluice.Namespace, pair []byte) (newest mark, older int64, err error) {
	n0, m0, ok0 := parseLine(pair[:anchorLine])
	n1, m1, ok1 := parseLine(pair[anchorLine:])
	ok0, ok1 = ok0 && n0 == ns, ok1 && n1 == ns
	switch {
	case ok0 && (!ok1 || m0.seq >= m1.seq):
		return m0, anchorLine, nil
	case ok1:
		return m1, 0, nil
	}
	return mark{}, 0, damaged(ns, "its lines in the anchor cannot be read")
}

type wireMark struct {
	Namespace sluice.Namespace `json:"namespace"`
	Seq       uint64           `json:"seq"`
	Hash      string           `json:"hash"`
}

func formatLine(ns sluice.Namespace, m mark) []byte {
	b, err := json.Marshal(wireMark{ns, m.seq, hex.EncodeToString(m.hash[:])})
	if err != nil {
		panic(err) // two strings and a number
	}
	b = fmt.Appendf(b, " %08x", crc32.Checksum(b, castagnoli()))
	return append(append(b, bytes.Repeat([]byte{' '}, anchorLine-1-len(b))...), '\n')
}

func parseLine(line []byte) (ns sluice.Namespace, m mark, ok bool) {
	text := strings.TrimRight(string(line), " \n")
	object, sum, found := strings.Cut(text, "} ")
	if !found || line[len(line)-1] != '\n' {
		return "", mark{}, false
	}
	object += "}"
	var w wireMark
	if fmt.Sprintf("%08x", crc32.Checksum([]byte(object), castagnoli())) != sum || json.Unmarshal([]byte(object), &w) != nil {
		return "", mark{}, false
	}
	n, err := hex.Decode(m.hash[:], []byte(w.Hash[:min(len(w.Hash), 2*len(m.hash))]))
	m.seq = w.Seq
	return w.Namespace, m, err == nil && n == len(m.hash) && validNamespace(w.Namespace)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
