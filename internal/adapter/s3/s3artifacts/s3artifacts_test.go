package s3artifacts_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/s3/s3artifacts"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/s3store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prefix = "prod/artifacts"

func start(t *testing.T) *s3store.Store {
	store := s3store.Start(t) // before HOME is another one: its program is kept there
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	for name, v := range map[string]string{"HOME": t.TempDir(), "AWS_ACCESS_KEY_ID": s3store.Key, "AWS_SECRET_ACCESS_KEY": s3store.Secret,
		"AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, v)
	}
	return store
}

func open(t *testing.T, store *s3store.Store) *s3artifacts.Store {
	t.Helper()
	place, err := s3artifacts.Parse("s3://" + s3store.Bucket + "/" + prefix + "?endpoint=" + store.URL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3artifacts.New(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	s.Small()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestConform has the store do one request after the other: this one looks at the condition of a write and then writes, and two
// that come at once both pass. S3 itself does it as one step.
func TestConform(t *testing.T) {
	store := start(t)
	var one sync.Mutex
	store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		one.Lock()
		defer one.Unlock()
		pass.ServeHTTP(w, r)
	})
	conform.Artifacts(t, func(t *testing.T) func(*testing.T) sluice.Artifacts {
		place, err := s3artifacts.Parse("s3://" + s3store.Bucket + "/" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "?endpoint=" + store.URL)
		if err != nil {
			t.Fatal(err)
		}
		return func(t *testing.T) sluice.Artifacts {
			s, err := s3artifacts.New(t.Context(), place)
			if err != nil {
				t.Fatal(err)
			}
			s.Small()
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	})
}

// noise is content that differs from piece to piece.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(b)
	return b
}

func is(t *testing.T, s *s3artifacts.Store, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), conform.Content(want).Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

func piece(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func complete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// TestGoesOn: the store has what a pusher sent that was killed, and only what is missing is sent.
func TestGoesOn(t *testing.T) {
	store, content := start(t), noise(3*s3artifacts.SmallPieces+100)
	ctx, kill := context.WithCancel(t.Context())
	store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		pass.ServeHTTP(w, r)
		if piece(r) && r.URL.Query().Get("partNumber") == "2" {
			kill()
		}
	})
	if err := open(t, store).Send(ctx, conform.Content(content), bytes.NewReader(content), nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var numbers []string
	store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if piece(r) {
			numbers = append(numbers, r.URL.Query().Get("partNumber"))
		}
		pass.ServeHTTP(w, r)
	})
	s := open(t, store)
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(numbers, []string{"3", "4"}) {
		t.Errorf("the pieces %v were sent", numbers)
	}
	is(t, s, content)
	if n := store.Pieces(t); n != 0 {
		t.Errorf("%d pieces are left", n)
	}
}

// TestAnotherPusherWasFaster: both go on with the same upload, and one finds it complete.
func TestAnotherPusherWasFaster(t *testing.T) {
	store, content := start(t), noise(2*s3artifacts.SmallPieces)
	var once atomic.Bool
	store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if complete(r) && once.CompareAndSwap(false, true) {
			pass.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `<Error><Code>NoSuchUpload</Code><Message>there is none</Message></Error>`)
			return
		}
		pass.ServeHTTP(w, r)
	})
	s := open(t, store)
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	is(t, s, content)
}

// TestTriedAgain: a store that is busy, or whose answers are lost, is asked again, and once is enough.
func TestTriedAgain(t *testing.T) {
	store, content := start(t), noise(s3artifacts.SmallPieces+1)
	n := sluice.ArtifactName{App: "a", Target: "b", File: "c", Version: "1"}
	for i, fault := range []s3store.Fault{
		func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		func(_ http.ResponseWriter, r *http.Request, pass http.Handler) {
			pass.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		},
	} {
		content[0]++
		seen := map[string]bool{}
		store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if key := r.Method + r.URL.Path + r.URL.Query().Get("partNumber"); (r.Method == http.MethodPut || r.Method == http.MethodPost) && !seen[key] {
				seen[key] = true
				fault(w, r, pass)
				return
			}
			pass.ServeHTTP(w, r)
		})
		s := open(t, store)
		if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
			t.Errorf("fault %d: %v", i, err)
		}
		n.Version = strconv.Itoa(i)
		if err := s.Write(t.Context(), n, []byte("one"), nil); err != nil {
			t.Errorf("fault %d: %v", i, err)
		}
		is(t, s, content)
	}
}

// TestReadingGoesOn: where the connection breaks in the middle, and damage is told from it.
func TestReadingGoesOn(t *testing.T) {
	store, content := start(t), noise(3<<20)
	s := open(t, store)
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	var cut atomic.Int32
	store.Break(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodGet && cut.Add(1) <= 3 {
			pass.ServeHTTP(&cutting{ResponseWriter: w, left: 700_000}, r)
			return
		}
		pass.ServeHTTP(w, r)
	})
	is(t, s, content)
	if cut.Load() != 4 {
		t.Errorf("it was asked for %d times", cut.Load())
	}
	store.Break(nil)
	file := filepath.Join(store.Dir, s3store.Bucket, prefix, ".content", "sha256-"+strings.TrimPrefix(conform.Content(content).Digest, "sha256:"))
	bad := bytes.Clone(content)
	bad[2_000_000] ^= 1
	if err := os.WriteFile(file, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), conform.Content(content).Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
	_ = r.Close()
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	is(t, s, content)
}

// cutting breaks a connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// TestSentAgainIsYoung: what was there long ago counts as sent now, so that no collection takes it from the push that needs it.
func TestSentAgainIsYoung(t *testing.T) {
	store, content := start(t), []byte("content")
	s := open(t, store)
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(store.Dir, s3store.Bucket, prefix, ".content", "sha256-"+strings.TrimPrefix(conform.Content(content).Digest, "sha256:"))
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), conform.Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(t.Context(), conform.Content(content).Digest, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	is(t, s, content)
}

func TestNoBucket(t *testing.T) {
	store := start(t)
	place, err := s3artifacts.Parse("s3://nobody-made-it/x?endpoint=" + store.URL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3artifacts.New(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var e *sluice.Error
	if _, err := s.Names(t.Context(), sluice.ArtifactName{}); !errors.As(err, &e) || e.Code != sluice.Contact || !strings.Contains(e.Hint, "make the bucket first") {
		t.Errorf("%v", err)
	}
	if err := s.Send(t.Context(), conform.Content(nil), bytes.NewReader(nil), nil); !errors.As(err, &e) || !strings.Contains(e.Hint, "make the bucket first") {
		t.Errorf("%v", err)
	}
	if _, err := s3artifacts.Parse("s3://key:secret@x/y"); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), "--store: ") || strings.Contains(err.Error(), "secret@") {
		t.Errorf("%v", err)
	}
}
