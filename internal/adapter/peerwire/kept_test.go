package peerwire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/peerwire"
)

// chain is a chain of n records, each of which has a payload of some size.
func chain(n int, size func(i int) int) (out []sluice.Record) {
	var prev sluice.ChainHash
	seq := uint64(0)
	for i := range n {
		r := sluice.Record{Namespace: "prod", First: seq + 1, Last: seq + 1 + uint64(i%3), Prev: prev, Payload: bytes.Repeat([]byte{byte(i), '\n'}, size(i)/2)}
		r.Hash = r.Sum()
		prev, seq = r.Hash, r.Last
		out = append(out, r)
	}
	return out
}

func recordsOf(all []sluice.Record, failed error) peerwire.Kept {
	return peerwire.Kept{Records: func(_ context.Context, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) error {
		for _, r := range all {
			if ns != "prod" || r.Last <= after {
				continue
			}
			if err := visit([]sluice.Record{r}); err != nil {
				return err
			}
		}
		return failed
	}}
}

// TestRecords: they come as they are, in order, whatever their sizes, and from where they were asked for.
func TestRecords(t *testing.T) {
	all := chain(500, func(i int) int {
		if i%100 == 7 {
			return 3 << 20
		}
		return i
	})
	c := newCluster(t)
	p := c.dial(c.serve(peerwire.ServerConfig{Kept: recordsOf(all, nil)}))
	for _, from := range []int{0, 250, 500} {
		after := uint64(0)
		if from > 0 {
			after = all[from-1].Last
		}
		var got []sluice.Record
		calls := 0
		if err := p.Records(t.Context(), "prod", after, func(some []sluice.Record) error {
			calls++
			got = append(got, some...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, all[from:], func(a, b sluice.Record) bool {
			return a.Namespace == b.Namespace && a.First == b.First && a.Last == b.Last && a.Prev == b.Prev && a.Hash == b.Hash && bytes.Equal(a.Payload, b.Payload)
		}) {
			t.Errorf("behind %d: %d records came, and they are not those %d", after, len(got), len(all)-from)
		}
		if calls > 25 {
			t.Errorf("%d calls for %d records", calls, len(got))
		}
	}
	stop := errors.New("enough")
	if err := p.Records(t.Context(), "prod", 0, func([]sluice.Record) error { return stop }); err != stop { //nolint:errorlint // the same one
		t.Errorf("it ended with %v", err)
	}
}

// TestRecordsEnd: what was read is handed on, and an end that is none is an error: of the other side, or of the way.
func TestRecordsEnd(t *testing.T) {
	all := chain(10, func(int) int { return 100 })
	c := newCluster(t)
	count := func(p *peerwire.Client) (n int, err error) {
		err = p.Records(t.Context(), "prod", 0, func(some []sluice.Record) error { n += len(some); return nil })
		return n, err
	}
	gone := sluice.Errorf(sluice.NotFound, "not kept any more").WithHint("ask another one")
	for want, kept := range map[int]peerwire.Kept{0: recordsOf(nil, gone), 10: recordsOf(all, gone)} {
		n, err := count(c.dial(c.serve(peerwire.ServerConfig{Kept: kept})))
		var e *sluice.Error
		if n != want || !errors.As(err, &e) || e.Code != sluice.NotFound || e.Hint != "ask another one" {
			t.Errorf("%d came, want %d: %v", n, want, err)
		}
	}
	for what, change := range map[string]func([]sluice.Record) []sluice.Record{
		"changed":        func(r []sluice.Record) []sluice.Record { r[5].Payload = []byte("other\n"); return r },
		"one is missing": func(r []sluice.Record) []sluice.Record { return slices.Delete(r, 5, 6) },
		"in wrong order": func(r []sluice.Record) []sluice.Record { r[5], r[6] = r[6], r[5]; return r },
		"another chain":  func(r []sluice.Record) []sluice.Record { r[5].Prev[0]++; r[5].Hash = r[5].Sum(); return r },
		"numbers of none": func(r []sluice.Record) []sluice.Record {
			r[5].First, r[5].Last = 9, 8
			r[5].Hash = r[5].Sum()
			return r
		},
	} {
		n, err := count(c.dial(c.serve(peerwire.ServerConfig{Kept: recordsOf(change(slices.Clone(all)), nil)})))
		if n > 5 || sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %d came, %v", what, n, err)
		}
	}
	endless := make(chan struct{})
	address := c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Records: func(ctx context.Context, _ sluice.Namespace, _ uint64, visit func([]sluice.Record) error) error {
		if err := visit(chain(200, func(int) int { return 1 << 10 })); err != nil {
			return err
		}
		close(endless)
		<-ctx.Done()
		return ctx.Err()
	}}})
	between := newBetween(t, address)
	ended := make(chan error, 1)
	p := c.dial(between.address)
	go func() {
		_, err := count(p)
		ended <- err
	}()
	<-endless
	between.cut()
	if err := <-ended; sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("it was cut off: %v", err)
	}
}

// TestBlobs: what is put is kept there under its digest, and what is read is what the digest says; what is not there is told apart.
func TestBlobs(t *testing.T) {
	c := newCluster(t)
	there, err := dirblobs.New(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := c.dial(c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: there}})).Blobs()
	for _, text := range []string{"", "hello", strings.Repeat("abc", 1<<20)} {
		digest, size, err := b.Put(t.Context(), strings.NewReader(text))
		sum := sha256.Sum256([]byte(text))
		if err != nil || digest != "sha256:"+hex.EncodeToString(sum[:]) || size != int64(len(text)) {
			t.Fatalf("%s, %d, %v", digest, size, err)
		}
		for what, do := range map[string]func(context.Context, string) (int64, error){"size": b.Size, "renew": b.Renew, "there": there.Size} {
			if n, err := do(t.Context(), digest); n != size || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		r, err := b.Open(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%d bytes came, %v", len(got), err)
		}
		_ = r.Close()
	}
	none := "sha256:" + strings.Repeat("0", 64)
	_, err1 := b.Open(t.Context(), none)
	_, err2 := b.Size(t.Context(), none)
	_, err3 := b.Renew(t.Context(), none)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), none) || strings.Count(err.Error(), fs.ErrNotExist.Error()) != 1 {
			t.Errorf("what is not there: %v", err)
		}
	}
	if _, err := b.Open(t.Context(), "x"); sluice.CodeOf(err) != sluice.Usage || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no digest: %v", err)
	}
}

// odd keeps nothing, and reads what it is told to.
type odd struct {
	put  func(r io.Reader) (string, int64, error)
	open io.Reader
}

func (o odd) Put(_ context.Context, r io.Reader) (string, int64, error) { return o.put(r) }
func (o odd) Open(context.Context, string) (io.ReadCloser, error)       { return io.NopCloser(o.open), nil }
func (odd) Renew(context.Context, string) (int64, error)                { return 0, nil }
func (odd) Size(context.Context, string) (int64, error)                 { return 0, nil }

// TestBlobsAreWhole: nothing that was cut off or changed counts as kept, or as read.
func TestBlobsAreWhole(t *testing.T) {
	c := newCluster(t)
	whole := make(chan error, 1)
	b := c.dial(c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: odd{put: func(r io.Reader) (string, int64, error) {
		n, err := io.Copy(io.Discard, r)
		whole <- err
		return "sha256:" + strings.Repeat("0", 64), n, err
	}, open: strings.NewReader("hello")}}})).Blobs()
	bad := errors.New("the disk is broken")
	if _, _, err := b.Put(t.Context(), io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), failing{bad})); !errors.Is(err, bad) {
		t.Errorf("a reader that fails: %v", err)
	}
	if err := <-whole; err == nil {
		t.Error("the beginning of something was taken for the whole")
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("hello")); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("something else was kept: %v", err)
	}
	if err := <-whole; err != nil {
		t.Error(err)
	}
	r, err := b.Open(t.Context(), "sha256:"+strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("something else was read: %q, %v", got, err)
	}
	_ = r.Close()

	begun := make(chan struct{})
	between := newBetween(t, c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: odd{open: io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<16)), blocking{begun})}}}))
	r, err = c.dial(between.address).Blobs().Open(t.Context(), "sha256:"+strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(r)
		ended <- err
	}()
	<-begun
	between.cut()
	if err := <-ended; sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("it was cut off: %v", err)
	}
	_ = r.Close()
	broken := c.dial(c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: odd{open: io.MultiReader(strings.NewReader("hello"), failing{bad})}}})).Blobs()
	if r, err = broken.Open(t.Context(), "sha256:"+strings.Repeat("0", 64)); err == nil {
		_, err = io.ReadAll(r)
		_ = r.Close()
	}
	if sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a disk that breaks there: %v", err)
	}
}

// TestSentOtherwise: what was not sent as its sender says is not kept, and an output that breaks off there has no end here.
func TestSentOtherwise(t *testing.T) {
	c := newCluster(t)
	there, err := dirblobs.New(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	address := c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: there,
		OpenOutput: func(context.Context, sluice.JobID, sluice.AttemptID, string, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("hello"), failing{errors.New("the disk is broken")})), nil
		}}})
	pair, err := member(t, c.ca, "one").Certificate()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: c.ca.Roots(), ServerName: authority.MemberHost("two"), Certificates: []tls.Certificate{*pair}}}}
	sum := sha256.Sum256([]byte("hello"))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	for _, said := range []string{"", "sha256:" + strings.Repeat("0", 64), digest} {
		want := http.StatusServiceUnavailable
		if said == digest {
			want = http.StatusOK
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/peer/1/blobs", io.MultiReader(strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		r.Trailer = http.Header{"Sluice-Digest": {said}}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if _, err := there.Size(t.Context(), digest); res.StatusCode != want || (err == nil) != (want == http.StatusOK) {
			t.Errorf("said to be %q: %s, and it is there: %v", said, res.Status, err == nil)
		}
	}
	var got []byte
	in, err := c.dial(address).OpenOutput(t.Context(), "0123456789ab", "a", "stdout", 0)
	if err == nil {
		got, err = io.ReadAll(in)
		_ = in.Close()
	}
	if sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("it ended after %q, %v", got, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// blocking tells that it is read, and then has nothing for a moment and ends.
type blocking struct{ begun chan struct{} }

func (b blocking) Read([]byte) (int, error) {
	close(b.begun)
	return 0, errors.New("nothing more")
}

// endless is so many bytes, of which nobody has more than a piece.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	clear(p[:n])
	e.left -= n
	return int(n), nil
}

// peak takes content, and remembers how much memory there was meanwhile.
type peak struct {
	mu   sync.Mutex
	most uint64
	sum  hash.Hash
}

func (p *peak) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sum != nil {
		p.sum.Write(b)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.most = max(p.most, m.HeapInuse)
	return len(b), nil
}

// TestLargeBlobs: neither side holds more of a large blob than a piece.
func TestLargeBlobs(t *testing.T) {
	const size, room = 96 << 20, 24 << 20
	c := newCluster(t)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p := &peak{}
	b := c.dial(c.serve(peerwire.ServerConfig{Kept: peerwire.Kept{Blobs: odd{put: func(r io.Reader) (string, int64, error) {
		p.sum = sha256.New()
		n, err := io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, 1<<20))
		return "sha256:" + hex.EncodeToString(p.sum.Sum(nil)), n, err
	}, open: &endless{size}}}})).Blobs()
	digest, n, err := b.Put(t.Context(), &endless{size})
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if p.most > m.HeapInuse+room {
		t.Errorf("putting took %d MB", (p.most-m.HeapInuse)>>20)
	}
	r, err := b.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	p = &peak{}
	if n, err := io.CopyBuffer(struct{ io.Writer }{p}, r, make([]byte, 1<<20)); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = r.Close()
	if p.most > m.HeapInuse+room {
		t.Errorf("reading took %d MB", (p.most-m.HeapInuse)>>20)
	}
}

// printed keeps outputs in memory, as a server does: pieces that overlap are cut, a gap is refused.
type printed struct {
	mu    sync.Mutex
	all   map[string][]byte
	calls int
	most  int // bytes of one call
}

func (k *printed) kept() peerwire.Kept {
	return peerwire.Kept{
		KeepOutput: func(_ context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.calls++
			n := 0
			for _, p := range pieces {
				n += len(p.Data)
				key := fmt.Sprintf("%s/%s/%s", job, p.Attempt, p.Stream)
				have := int64(len(k.all[key]))
				if p.Offset > have {
					return sluice.Errorf(sluice.Conflict, "a gap at %d", p.Offset).WithHint("send from %d", have)
				}
				if fresh := have - p.Offset; fresh < int64(len(p.Data)) {
					k.all[key] = append(k.all[key], p.Data[fresh:]...)
				}
			}
			k.most = max(k.most, n)
			return nil
		},
		OutputSize: func(_ context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (int64, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return int64(len(k.all[fmt.Sprintf("%s/%s/%s", job, a, stream)])), nil
		},
		OpenOutput: func(_ context.Context, job sluice.JobID, a sluice.AttemptID, stream string, from int64) (io.ReadCloser, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return io.NopCloser(bytes.NewReader(k.all[fmt.Sprintf("%s/%s/%s", job, a, stream)][from:])), nil
		},
	}
}

// TestOutputs: pieces are kept there as they are, large ones and many, and read back from any place.
func TestOutputs(t *testing.T) {
	c := newCluster(t)
	k := &printed{all: map[string][]byte{}}
	p := c.dial(c.serve(peerwire.ServerConfig{Kept: k.kept()}))
	const job, a = sluice.JobID("0123456789ab"), sluice.AttemptID("0123456789ab-0-1")
	large := bytes.Repeat([]byte("0123456789abcde\n"), 12<<20/16+7)
	if err := p.KeepOutput(t.Context(), job, []sluice.OutputPiece{
		{Attempt: a, Stream: "stdout", Data: []byte("he\x00llo\n\xff")}, {Attempt: a, Stream: "stderr", Data: large}, {Attempt: a, Stream: "stdout", Offset: 2, Data: []byte("\x00llo\n\xffxyz")}, {Attempt: "b", Stream: "stdout"},
	}); err != nil {
		t.Fatal(err)
	}
	if k.calls < 3 || k.most > 6<<20 {
		t.Errorf("%d calls, of up to %d bytes", k.calls, k.most)
	}
	for stream, want := range map[string]string{"stdout": "he\x00llo\n\xffxyz", "stderr": string(large)} {
		if n, err := p.OutputSize(t.Context(), job, a, stream); n != int64(len(want)) || err != nil {
			t.Errorf("%s has %d bytes, %v", stream, n, err)
		}
		for _, from := range []int{0, 3, len(want)} {
			r, err := p.OpenOutput(t.Context(), job, a, stream, int64(from))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != want[from:] {
				t.Errorf("%s from %d: %d bytes, %v", stream, from, len(got), err)
			}
			_ = r.Close()
		}
	}
	var e *sluice.Error
	if err := p.KeepOutput(t.Context(), job, []sluice.OutputPiece{{Attempt: a, Stream: "stdout", Offset: 99, Data: []byte("x")}}); !errors.As(err, &e) || e.Code != sluice.Conflict || e.Hint != "send from 11" {
		t.Errorf("a gap: %v", err)
	}
	if err := p.KeepOutput(t.Context(), "x", nil); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("no job: %v", err)
	}
	if _, err := p.OpenOutput(t.Context(), job, a, "stdout", -1); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("before the beginning: %v", err)
	}
}

// TestNothingIsKept: a server that keeps nothing says so.
func TestNothingIsKept(t *testing.T) {
	c := newCluster(t)
	p := c.dial(c.serve(peerwire.ServerConfig{}))
	const job = sluice.JobID("0123456789ab")
	_, _, err1 := p.Blobs().Put(t.Context(), strings.NewReader("x"))
	_, err2 := p.Blobs().Open(t.Context(), "x")
	_, err3 := p.OutputSize(t.Context(), job, "a", "stdout")
	_, err4 := p.OpenOutput(t.Context(), job, "a", "stdout", 0)
	for i, err := range []error{err1, err2, err3, err4, p.KeepOutput(t.Context(), job, nil), p.Records(t.Context(), "prod", 0, nil),
		func() error { _, err := peerwire.JoinAt(t.Context(), "x", "x", nil, peerwire.Joining{}); return err }()} {
		if sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%d: %v", i, err)
		}
	}
}
