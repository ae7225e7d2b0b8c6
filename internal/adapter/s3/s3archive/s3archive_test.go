package s3archive_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"iter"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
	"sluice/internal/adapter/s3/s3archive"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/s3store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	prefix                = "prod/sluice"
	job      sluice.JobID = "0123456789ab"
	segment1              = "00000001-0123456789ab.tar.gz"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// alone has nothing of this machine's settings for S3, and the keys of the test's store.
func alone(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	for name, v := range map[string]string{"HOME": t.TempDir(), "AWS_ACCESS_KEY_ID": s3store.Key, "AWS_SECRET_ACCESS_KEY": s3store.Secret,
		"AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, v)
	}
}

func open(t *testing.T, store *s3store.Store) *s3archive.Archive {
	t.Helper()
	place, err := s3archive.Parse("s3://" + s3store.Bucket + "/" + prefix + "?endpoint=" + store.URL)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s3archive.New(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	a.Small()
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func start(t *testing.T) *s3store.Store {
	store := s3store.Start(t) // before HOME is another one: its program is kept there
	alone(t)
	return store
}

// segments are those that the store has, whole or not.
func segments(t *testing.T, store *s3store.Store) (names []string) {
	for _, key := range store.Objects(t, prefix+"/") {
		if name := strings.TrimPrefix(key, prefix+"/"); !strings.HasPrefix(name, "index/") {
			names = append(names, name)
		}
	}
	return names
}

func TestConform(t *testing.T) {
	conform.Archive(t, func(t *testing.T) conform.Shed {
		store := start(t)
		file := func(name string) string { return filepath.Join(store.Dir, s3store.Bucket, prefix, name) }
		return conform.Shed{
			Open:     func(t *testing.T) conform.VerifiedArchive { return open(t, store) },
			Segments: func(t *testing.T) []string { return segments(t, store) },
			Read: func(t *testing.T, name string) []byte {
				b, err := os.ReadFile(file(name))
				if err != nil {
					t.Fatal(err)
				}
				return b
			},
			Change: func(t *testing.T, name string) {
				if err := os.WriteFile(file(name), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func parts(content ...string) iter.Seq2[sluice.Part, error] {
	return func(yield func(sluice.Part, error) bool) {
		for _, text := range content {
			if !yield(sluice.Part{Name: "x", Bytes: int64(len(text)), From: strings.NewReader(text)}, nil) {
				return
			}
		}
	}
}

// noise is text that cannot be made smaller.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(b)
	return string(b)
}

// rare has a fault happen to the first n requests that are meant.
func rare(n int32, meant func(*http.Request) bool, f s3store.Fault) s3store.Fault {
	var left atomic.Int32
	left.Store(n)
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if meant(r) && left.Add(-1) >= 0 {
			f(w, r, pass)
			return
		}
		pass.ServeHTTP(w, r)
	}
}

func all(*http.Request) bool       { return true }
func writing(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }
func ofIndex(r *http.Request) bool { return writing(r) && strings.Contains(r.URL.Path, "/index/") }
func segment(r *http.Request) bool { return writing(r) && strings.HasSuffix(r.URL.Path, ".tar.gz") }
func complete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func busy(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// unheard does what it was asked, and nobody hears of it.
func unheard(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// nowhere says that there is no such upload.
func nowhere(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `<Error><Code>NoSuchUpload</Code><Message>there is none</Message></Error>`)
}

// gone does what it was asked, and then knows nothing of it.
func gone(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	nowhere(w, r, pass)
}

// sums has the store's word for what it has changed.
func sums(to string) s3store.Fault {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		is := httptest.NewRecorder()
		pass.ServeHTTP(is, r)
		for name, v := range is.Header() {
			if strings.EqualFold(name, "x-amz-checksum-sha256") {
				if v = []string{to}; to == "" {
					continue
				}
			}
			w.Header()[name] = v
		}
		w.WriteHeader(is.Code)
		_, _ = w.Write(is.Body.Bytes())
	}
}

// What goes wrong on the way is tried again, and once is enough.
func TestTriedAgain(t *testing.T) {
	store := start(t)
	for name, c := range map[string]struct {
		fault s3store.Fault
		size  int
	}{
		"busy":                              {rare(2, all, busy), 10},
		"busy, in pieces":                   {rare(2, segment, busy), s3archive.SmallPieces},
		"a segment nobody hears of":         {rare(1, segment, unheard), 10},
		"a line nobody hears of":            {rare(1, ofIndex, unheard), 10},
		"the end of pieces is unheard":      {rare(1, complete, unheard), s3archive.SmallPieces},
		"the end of pieces was another try": {rare(1, complete, gone), s3archive.SmallPieces},
		"a store that says no sum":          {rare(100, writing, sums("")), 10},
		"no sum of pieces":                  {rare(100, writing, sums("")), s3archive.SmallPieces},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, store)
			before, err := a.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			store.Break(c.fault)
			defer store.Break(nil)
			if _, _, err := a.Put(t.Context(), job, at, parts(noise(c.size))); err != nil {
				t.Fatal(err)
			}
			store.Break(nil)
			if n, err := a.Verify(t.Context()); err != nil || n != before+1 {
				t.Errorf("%d segments after %d, %v", n, before, err)
			}
		})
	}
}

// What the store does not prove to have does not count.
func TestNotAcknowledged(t *testing.T) {
	store := start(t)
	damaged := func(w http.ResponseWriter, r *http.Request, pass http.Handler) { // and nobody says a sum
		sums("")(w, r, pass)
		if r.Method == http.MethodPut {
			file := filepath.Join(store.Dir, filepath.FromSlash(r.URL.Path))
			if b, err := os.ReadFile(file); err == nil {
				b[len(b)/2] ^= 1
				_ = os.WriteFile(file, b, 0o600)
			}
		}
	}
	for name, c := range map[string]struct {
		fault s3store.Fault
		size  int
		want  string
	}{
		"busy for good":          {rare(1000, segment, busy), 10, "503"},
		"another sum":            {rare(1000, segment, sums("bm90IHdoYXQgd2FzIHNlbnQuLi4uLi4uLi4uLi4uLi4=")), 10, "other bytes"},
		"another sum of a piece": {rare(1000, segment, sums("bm90IHdoYXQgd2FzIHNlbnQuLi4uLi4uLi4uLi4uLi4=")), s3archive.SmallPieces, "other bytes"},
		"other bytes, no sum":    {damaged, 10, "other bytes"},
		"no line":                {rare(1000, ofIndex, busy), 10, "503"},
		"pieces that are gone":   {rare(1000, complete, nowhere), s3archive.SmallPieces, "cannot be proved"},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, store)
			store.Break(c.fault)
			defer store.Break(nil)
			name, _, err := a.Put(t.Context(), job, at, parts(noise(c.size)))
			if err == nil || name != "" || sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v", name, err)
			}
			store.Break(nil)
			if n, err := a.Verify(t.Context()); err != nil || n != 0 {
				t.Errorf("%d segments count, %v", n, err)
			}
		})
	}
	// And none of it is in the way.
	if name, _, err := open(t, store).Put(t.Context(), job, at, parts("x")); err != nil || name != segment1 {
		t.Errorf("%s, %v", name, err)
	}
}

// Pieces of what does not come to be are taken away again.
func TestNothingLeft(t *testing.T) {
	store := start(t)
	broken := errors.New("broken")
	_, _, err := open(t, store).Put(t.Context(), job, at, func(yield func(sluice.Part, error) bool) {
		text := noise(s3archive.SmallPieces + 1<<20)
		if yield(sluice.Part{Name: "x", Bytes: int64(len(text)), From: strings.NewReader(text)}, nil) {
			if store.Pieces(t) == 0 {
				t.Error("nothing was sent yet")
			}
			yield(sluice.Part{}, broken)
		}
	})
	if n := store.Pieces(t); !errors.Is(err, broken) || n != 0 {
		t.Errorf("%d files are left, %v", n, err)
	}
}

// Two servers that were given one prefix are told so; neither writes over the other's.
func TestTwoWriters(t *testing.T) {
	store := start(t)
	first, second := open(t, store), open(t, store)
	_, _, err := second.Put(t.Context(), "bbbbbbbbbbbb", at, func(yield func(sluice.Part, error) bool) {
		if _, _, err := first.Put(t.Context(), job, at, parts("first")); err != nil {
			t.Fatal(err)
		}
		yield(sluice.Part{Name: "x", Bytes: 1, From: strings.NewReader("x")}, nil)
	})
	if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("the second one: %v", err)
	}
	if n, err := first.Verify(t.Context()); err != nil || n != 1 {
		t.Errorf("%d segments, %v", n, err)
	}
	if name, _, err := second.Put(t.Context(), "bbbbbbbbbbbb", at, parts("x")); err != nil || !strings.HasPrefix(name, "00000002-") {
		t.Errorf("the next time: %s, %v", name, err)
	}
}

// Who is not let in is told what to look at.
func TestRefused(t *testing.T) {
	store := start(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	_, _, err := open(t, store).Put(t.Context(), job, at, parts("x"))
	var e *sluice.Error
	if !errors.As(err, &e) || e.Code != sluice.Contact || !strings.Contains(e.Hint, "AWS_SECRET_ACCESS_KEY") || strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
}

// A store with a certificate of one's own is reached with AWS_CA_BUNDLE, and not without.
func TestOwnAuthority(t *testing.T) {
	store := start(t)
	plain, err := url.Parse(store.URL)
	if err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", plain.Host, r.In.Host
	}, Transport: &http.Transport{DisableKeepAlives: true}})
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, &s3store.Store{URL: secure.URL}).Put(t.Context(), job, at, parts("x")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	if _, _, err := open(t, &s3store.Store{URL: secure.URL}).Put(t.Context(), job, at, parts("x")); err != nil {
		t.Error(err)
	}
}

// Whoever stops does not wait for a store that says nothing.
func TestStopped(t *testing.T) {
	alone(t)
	ctx, stop := context.WithCancel(t.Context())
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop()
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	if _, _, err := open(t, &s3store.Store{URL: silent.URL}).Put(ctx, job, at, parts("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]bucket.Place{
		"s3://b":                                     {Bucket: "b"},
		"s3://b/":                                    {Bucket: "b"},
		"s3://b/a/c/?region=eu-central-1":            {Bucket: "b", Prefix: "a/c/", Region: "eu-central-1"},
		"s3://b/?path-style=true":                    {Bucket: "b", PathStyle: true},
		"s3://b?endpoint=https://s3.x:9000":          {Bucket: "b", Endpoint: "https://s3.x:9000", PathStyle: true},
		"s3://b?endpoint=https://x&path-style=false": {Bucket: "b", Endpoint: "https://x"},
		"s3://b?endpoint=http://127.0.0.1:9000":      {Bucket: "b", Endpoint: "http://127.0.0.1:9000", PathStyle: true},
	} {
		if got, err := s3archive.Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"s3://":                         "names no bucket",
		"s3:///x":                       "names no bucket",
		"s3://b:1/x":                    "names no bucket",
		"s3://k:geheim@b/x":             "everybody on the machine",
		"s3://b?endpiont=https://x":     "endpiont",
		"s3://b?region=a&region=b":      "there twice",
		"s3://b?endpoint=x":             "no URL",
		"s3://b?endpoint=http://s3.x":   "without TLS",
		"s3://b?endpoint=https://k:s@x": "alone",
		"s3://b?path-style=maybe":       "maybe",
	} {
		if _, err := s3archive.Parse(text); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
