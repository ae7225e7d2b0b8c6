package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
)

// Artifacts are [sluice.Artifacts] in memory.
type Artifacts struct {
	Clock sluice.Clock

	mu      sync.Mutex
	content map[string][]byte
	sent    map[string]time.Time
	texts   map[sluice.ArtifactName][]byte
}

var _ sluice.Artifacts = (*Artifacts)(nil)

// NewArtifacts returns an empty repository.
func NewArtifacts() *Artifacts {
	return &Artifacts{Clock: time.Now, content: map[string][]byte{}, sent: map[string]time.Time{}, texts: map[sluice.ArtifactName][]byte{}}
}

// Open reads content.
func (a *Artifacts) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !isDigest(digest) {
		return nil, sluice.Errorf(sluice.Usage, "%q is no digest", digest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.content[digest]
	if !ok {
		return nil, fmt.Errorf("there is no content %s: %w", digest, fs.ErrNotExist)
	}
	return &proving{Reader: bytes.NewReader(b), whole: digestIs(b, digest)}, nil
}

// proving ends with an error where the content is not what its digest says.
type proving struct {
	*bytes.Reader
	whole, moved bool
}

func (p *proving) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == io.EOF && !p.whole && !p.moved {
		err = sluice.Errorf(sluice.Conflict, "the content is damaged")
	}
	return n, err
}

func (p *proving) Seek(offset int64, whence int) (int64, error) {
	at, err := p.Reader.Seek(offset, whence)
	p.moved = at != 0
	return at, err
}

func (p *proving) Close() error { return nil }

func isDigest(digest string) bool {
	digits, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

func digestIs(b []byte, digest string) bool {
	sum := sha256.Sum256(b)
	return digest == "sha256:"+hex.EncodeToString(sum[:])
}

// Send brings content.
func (a *Artifacts) Send(ctx context.Context, c sluice.Content, from io.ReadSeeker, sent func(int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isDigest(c.Digest) {
		return sluice.Errorf(sluice.Usage, "%q is no digest", c.Digest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if b, ok := a.content[c.Digest]; !ok || !digestIs(b, c.Digest) {
		if _, err := from.Seek(0, io.SeekStart); err != nil {
			return err
		}
		b, err := io.ReadAll(from)
		if err != nil {
			return err
		}
		if int64(len(b)) != c.Bytes || !digestIs(b, c.Digest) {
			return sluice.Errorf(sluice.Conflict, "what was read is not %s", c.Digest)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		a.content[c.Digest] = b
	}
	a.sent[c.Digest] = a.Clock()
	if sent != nil {
		sent(c.Bytes)
	}
	return nil
}

func whole(n sluice.ArtifactName) error {
	if err := n.Check(); err != nil {
		return err
	}
	if !n.Whole() {
		return sluice.Errorf(sluice.Usage, "%q names no version", n)
	}
	return nil
}

// Read returns what is under a name.
func (a *Artifacts) Read(ctx context.Context, n sluice.ArtifactName) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := whole(n); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	text, ok := a.texts[n]
	if !ok {
		return nil, fmt.Errorf("there is no %s: %w", n, fs.ErrNotExist)
	}
	return bytes.Clone(text), nil
}

// Write puts text under a name, if what is there is was.
func (a *Artifacts) Write(ctx context.Context, n sluice.ArtifactName, text, was []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := whole(n); err != nil {
		return err
	}
	if len(text) == 0 || len(text) > 64<<10 {
		return sluice.Errorf(sluice.Usage, "%d bytes cannot stand under %s", len(text), n)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if is, ok := a.texts[n]; ok != (was != nil) || !bytes.Equal(is, was) {
		return sluice.Errorf(sluice.Conflict, "%s is not what it was", n)
	}
	a.texts[n] = bytes.Clone(text)
	return nil
}

// Names lists what is one part below.
func (a *Artifacts) Names(ctx context.Context, under sluice.ArtifactName) (out []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := under.Check(); err != nil {
		return nil, err
	}
	if under.Whole() {
		return nil, sluice.Errorf(sluice.Usage, "there is nothing below a version")
	}
	depth := len(under.Parts())
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.texts {
		parts := n.Parts()
		if slices.Equal(parts[:depth], under.Parts()) && (depth < 3 || n.Version != sluice.LatestVersion) {
			out = append(out, parts[depth])
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Remove takes away what is under a name.
func (a *Artifacts) Remove(ctx context.Context, n sluice.ArtifactName) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := whole(n); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.texts, n)
	return nil
}

// Kept lists the content.
func (a *Artifacts) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for digest, b := range a.content {
		out = append(out, sluice.Kept{Name: digest, Bytes: int64(len(b)), Changed: a.sent[digest]})
	}
	return out, ctx.Err()
}

// Discard takes content away.
func (a *Artifacts) Discard(ctx context.Context, digest string, before time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isDigest(digest) {
		return sluice.Errorf(sluice.Usage, "%q is no digest", digest)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent[digest].Before(before) {
		delete(a.content, digest)
		delete(a.sent, digest)
	}
	return nil
}

// Harm changes a byte of what is kept.
func (a *Artifacts) Harm(digest string, at int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := bytes.Clone(a.content[digest])
	b[at] ^= 1
	a.content[digest] = b
}
