package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/core/target"
	"sluice/internal/run/tree"
)

// fetched is one fetch on its way: the bytes go beside the place where they belong, and get there by a rename
// when they are whole.
type fetched struct {
	t     *attempt
	dest  string // FetchDir/HOST/path
	temp  string
	into  io.WriteCloser
	sum   hash.Hash
	tree  chan error // how unpacking ended; nil for a file
	left  []string   // links that were left out
	wrong error      // of writing here
	end   *ending
}

// fetch gets a file or a tree of the host.
func (t *attempt) fetch(ctx context.Context, link sluice.Link) (ending, error) {
	if t.a.FetchDir == "" {
		return ending{}, &refusal{text: "a fetch needs a directory to put things in"}
	}
	source := filepath.Clean(strings.TrimLeft(t.job.Action.Source, "/"))
	if t.job.Action.Source == "" || !filepath.IsLocal(source) {
		return ending{}, &refusal{text: fmt.Sprintf("%q is no path that can be fetched", t.job.Action.Source)}
	}
	c, err := t.open(ctx, link, false)
	if err != nil {
		return ending{}, err
	}
	defer c.close()
	f := &fetched{t: t, dest: filepath.Join(t.a.FetchDir, string(t.a.Host), source)}
	defer f.cleanUp()
	n := nonce()
	t.mayRun = true
	c.say(target.Fetch(n, t.job.Action.Source))
	return f.run(ctx, c, target.NewFramer(n))
}

func (f *fetched) run(ctx context.Context, c *conn, framer *target.Framer) (ending, error) {
	var at int64
	for f.end == nil {
		select {
		case <-ctx.Done():
			return ending{}, ctx.Err()
		case p, ok := <-c.pieces:
			if !ok {
				_, err := c.session.Wait()
				return ending{}, errors.Join(sluice.ErrLinkLost, err)
			}
			if p.stderr {
				f.t.stderr.take(at, p.data)
				at += int64(len(p.data))
			} else {
				framer.Feed(p.data, f.item)
			}
			p.release()
		}
	}
	f.drainErrors(ctx, c, at)
	if f.end.code == 0 {
		err := f.finish()
		if err == nil && f.t.w.cfg.Fetched != nil {
			err = f.t.w.cfg.Fetched(f.t.job.ID, f.t.a.Attempt, filepath.Join(f.t.a.FetchDir, string(f.t.a.Host)))
		}
		if err != nil {
			return ending{code: 1, reason: "what was fetched cannot be kept: " + err.Error()}, nil
		}
		if len(f.left) > 0 {
			f.end.reason = fmt.Sprintf("%d links that point outside were left out, such as %s", len(f.left), printable(f.left[0]))
		}
	}
	return *f.end, nil
}

// drainErrors takes what the host still says about the end.
func (f *fetched) drainErrors(ctx context.Context, c *conn, at int64) {
	for {
		select {
		case <-ctx.Done():
			return
		case p, ok := <-c.pieces:
			if !ok {
				return
			}
			if p.stderr {
				f.t.stderr.take(at, p.data)
				at += int64(len(p.data))
			}
			p.release()
		}
	}
}

func (f *fetched) item(i target.Item) {
	switch i.Word {
	case "":
		if f.into == nil || f.wrong != nil {
			return
		}
		if f.sum != nil {
			_, _ = f.sum.Write(i.Data)
		}
		_, f.wrong = f.into.Write(i.Data)
	case "file":
		f.wrong = f.beginFile()
	case "tree":
		f.wrong = f.beginTree()
	case "end":
		f.finishStream(i.Rest)
	}
}

func (f *fetched) beginFile() error {
	if err := os.MkdirAll(filepath.Dir(f.dest), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(f.dest), ".sluice-")
	if err != nil {
		return err
	}
	f.temp, f.into, f.sum = file.Name(), file, sha256.New()
	return nil
}

func (f *fetched) beginTree() error {
	if err := os.MkdirAll(filepath.Dir(f.dest), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(f.dest), ".sluice-")
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	f.temp, f.into, f.tree = dir, w, make(chan error, 1)
	go func() {
		left, err := tree.Unpack(r, dir, tree.DefaultLimits())
		if err == nil {
			_, err = io.Copy(io.Discard, r) // the end of a tar stream is padded
		}
		f.left = left
		_ = r.CloseWithError(err)
		f.tree <- err
	}()
	return nil
}

// finishStream closes what is being written, and checks it.
func (f *fetched) finishStream(rest string) {
	words := strings.Fields(rest)
	f.end = &ending{code: 1}
	if len(words) > 0 {
		if code, err := strconv.Atoi(words[0]); err == nil {
			f.end.code = code & 255
		}
	}
	f.closeInto()
	switch {
	case f.end.code != 0:
	case f.wrong != nil:
		*f.end = ending{code: 1, reason: "what was fetched cannot be kept: " + f.wrong.Error()}
	case f.sum != nil && len(words) > 1 && words[1] != hex.EncodeToString(f.sum.Sum(nil)):
		*f.end = ending{code: 1, reason: "the file changed on the host while it was fetched"}
	}
}

func (f *fetched) closeInto() {
	if f.into == nil {
		return
	}
	err := f.into.Close()
	if f.tree != nil {
		err = errors.Join(err, <-f.tree)
	}
	if f.wrong == nil {
		f.wrong = err
	}
	f.into = nil
}

// finish puts what was fetched in its place.
func (f *fetched) finish() error {
	if f.temp == "" {
		return errors.New("the host sent nothing")
	}
	mode := os.FileMode(0o644)
	if f.tree != nil {
		mode = 0o755
		if err := os.RemoveAll(f.dest); err != nil {
			return err
		}
	}
	if err := os.Chmod(f.temp, mode); err != nil {
		return err
	}
	if err := os.Rename(f.temp, f.dest); err != nil {
		return err
	}
	f.temp = ""
	return nil
}

func (f *fetched) cleanUp() {
	if f.into != nil {
		if w, ok := f.into.(*io.PipeWriter); ok {
			_ = w.CloseWithError(io.ErrUnexpectedEOF)
		}
		f.closeInto()
	}
	if f.temp != "" {
		_ = os.RemoveAll(f.temp)
	}
}
