package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/manifest"
	"sluice/internal/run/tarball"
)

// tries is how often what somebody else changed meanwhile is looked at again.
const tries = 20

// Push puts the archive in a local file into the repository, as a version. It is read once before anything is sent: one that
// must not get onto a host never gets here. A version that is there with the same content is fine; with another one it is
// refused, as versions never change.
func (d *Depot) Push(ctx context.Context, n sluice.ArtifactName, path string, o artifact.PushOptions) (artifact.Pushed, error) {
	if err := n.Check(); err != nil {
		return artifact.Pushed{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return artifact.Pushed{}, &sluice.Error{Code: sluice.Usage, Text: "cannot read the artifact", Err: err}
	}
	defer f.Close()
	c, m, err := d.look(ctx, f, o.Progress)
	if err != nil {
		return artifact.Pushed{}, fmt.Errorf("%s: %w", path, err)
	}
	r := artifact.Record{ArtifactName: n, Content: c, Manifest: m.Digest(), Unpacked: m.Bytes(), Entries: len(m), Pushed: d.Clock().UTC(), By: o.By, Meta: o.Meta}
	statement, err := r.Statement()
	if err != nil {
		return artifact.Pushed{}, err
	}
	p, text, err := d.record(ctx, n)
	switch {
	case err == nil:
		return d.again(ctx, f, p, text, c, m, o)
	case !errors.Is(err, fs.ErrNotExist):
		return artifact.Pushed{}, err
	}
	if err := d.send(ctx, f, r, m, o.Progress); err != nil {
		return artifact.Pushed{}, err
	}
	var signature []byte
	if o.Sign != nil {
		if signature, err = o.Sign(statement); err != nil {
			return artifact.Pushed{}, err
		}
	}
	if text, err = artifact.Encode(statement, signature); err != nil {
		return artifact.Pushed{}, err
	}
	if err := d.Store.Write(ctx, n, text, nil); sluice.CodeOf(err) == sluice.Conflict { // another one was faster
		if p, text, err = d.record(ctx, n); err != nil {
			return artifact.Pushed{}, err
		}
		return d.again(ctx, f, p, text, c, m, o)
	} else if err != nil {
		return artifact.Pushed{}, err
	}
	if p, err = artifact.Parse(text, n); err != nil {
		return artifact.Pushed{}, err
	}
	if err := d.stillThere(ctx, f, r, m); err != nil {
		return artifact.Pushed{}, err
	}
	return d.pushed(ctx, p, false)
}

// look reads the archive: its digest, its size, its manifest.
func (d *Depot) look(ctx context.Context, f *os.File, progress artifact.Progress) (c sluice.Content, m manifest.Manifest, err error) {
	info, err := f.Stat()
	if err != nil {
		return c, nil, err
	}
	if !info.Mode().IsRegular() {
		return c, nil, sluice.Errorf(sluice.Usage, "it is no regular file: it is read twice, so it cannot be a pipe")
	}
	sum := sha256.New()
	read := &meter{step: "reading", total: info.Size(), progress: progress}
	m, err = tarball.Read(ctx, io.TeeReader(f, io.MultiWriter(sum, read)), d.Limits, nil)
	return sluice.Content{Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Bytes: read.n}, m, err
}

func (d *Depot) send(ctx context.Context, f io.ReadSeeker, r artifact.Record, m manifest.Manifest, progress artifact.Progress) error {
	text := m.Encode()
	if err := d.Store.Send(ctx, sluice.Content{Digest: r.Manifest, Bytes: int64(len(text))}, bytes.NewReader(text), nil); err != nil {
		return fmt.Errorf("sending the manifest: %w", err)
	}
	sent := func(done int64) {
		if progress != nil {
			progress("sending", done, r.Bytes)
		}
	}
	if err := d.Store.Send(ctx, r.Content, f, sent); err != nil {
		return fmt.Errorf("sending the content: %w", err)
	}
	return nil
}

// stillThere sends content again that a collection took away, which looked before the record was there.
func (d *Depot) stillThere(ctx context.Context, f io.ReadSeeker, r artifact.Record, m manifest.Manifest) error {
	for _, digest := range []string{r.Digest, r.Manifest} {
		in, err := d.Store.Open(ctx, digest)
		if errors.Is(err, fs.ErrNotExist) {
			return d.send(ctx, f, r, m, nil)
		}
		if err != nil {
			return err
		}
		if err := in.Close(); err != nil {
			return err
		}
	}
	return nil
}

// again is a push of a version that is there. It mends content that was damaged, and adds a signature where there is none.
func (d *Depot) again(ctx context.Context, f io.ReadSeeker, p artifact.Parsed, text []byte, c sluice.Content, m manifest.Manifest, o artifact.PushOptions) (artifact.Pushed, error) {
	if p.Content != c {
		return artifact.Pushed{}, sluice.Errorf(sluice.Conflict, "%s is there with another content, pushed by %s at %s; versions never change", p.ArtifactName, p.By, p.Pushed.Format("2006-01-02 15:04:05 MST")).
			WithHint("push it as another version")
	}
	if err := d.send(ctx, f, p.Record, m, o.Progress); err != nil {
		return artifact.Pushed{}, err
	}
	if o.Sign != nil && p.Signature == nil {
		signature, err := o.Sign(p.Statement)
		if err != nil {
			return artifact.Pushed{}, err
		}
		signed, err := artifact.Encode(p.Statement, signature)
		if err == nil {
			err = d.Store.Write(ctx, p.ArtifactName, signed, text)
		}
		if err != nil {
			return artifact.Pushed{}, err
		}
		p.Signature = signature
	}
	return d.pushed(ctx, p, true)
}

// pushed has the file say that the version is its latest, unless one that was pushed later is.
func (d *Depot) pushed(ctx context.Context, p artifact.Parsed, already bool) (artifact.Pushed, error) {
	out := artifact.Pushed{Record: p.Record, Already: already, Signed: p.Signature != nil}
	file := p.ArtifactName
	file.Version = sluice.LatestVersion
	for try := 0; ; try++ {
		is, text, err := d.latest(ctx, p.ArtifactName)
		if err != nil && sluice.CodeOf(err) != sluice.Conflict { // one that is damaged is written over
			return out, err
		}
		next, ok := artifact.Next(is, p)
		if !ok {
			out.Latest = is.Version == p.Version
			return out, nil
		}
		err = d.Store.Write(ctx, file, next.Encode(), text)
		if err == nil {
			out.Latest = true
			return out, nil
		}
		if sluice.CodeOf(err) != sluice.Conflict || try >= tries {
			return out, fmt.Errorf("%s is pushed, but not the latest of its file: %w", p.ArtifactName, err)
		}
	}
}

// meter tells how far reading has come.
type meter struct {
	step     string
	n, total int64
	progress artifact.Progress
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	if m.progress != nil {
		m.progress(m.step, m.n, m.total)
	}
	return len(p), nil
}
