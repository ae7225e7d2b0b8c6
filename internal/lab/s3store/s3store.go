// Package s3store starts a real S3 server for tests, on a directory that goes away with the test: versitygw, built from its
// module at a fixed version. It is a program of its own, so none of what it needs is in our go.mod.
//
// In front of it is a proxy on the loopback, in which a test breaks what it likes.
package s3store

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	module  = "github.com/versity/versitygw/cmd/versitygw"
	version = "v1.8.0"

	// Key and Secret are what the store lets in.
	Key    = "tester"
	Secret = "not-much-of-a-secret"
	// Bucket is there from the beginning.
	Bucket = "archive"
)

// Store is a running server.
type Store struct {
	// URL is where it is reached.
	URL string
	// Dir has the objects, as files.
	Dir string

	fault atomic.Pointer[Fault]
}

// Fault stands before the store: it may answer itself, or pass the request on and look at the answer. Passing on is done at
// most once.
type Fault func(w http.ResponseWriter, r *http.Request, pass http.Handler)

// Break puts a fault before the store; nil mends it.
func (s *Store) Break(f Fault) {
	if f == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&f)
}

// Objects are the keys in the bucket that begin with a prefix.
func (s *Store) Objects(t *testing.T, prefix string) []string {
	return slices.DeleteFunc(s.files(t), func(key string) bool { return !strings.HasPrefix(key, prefix) || strings.HasPrefix(key, unfinished) })
}

// unfinished is where the server keeps pieces of uploads.
const unfinished = ".sgwtmp/"

// Pieces are how many files there are of uploads that are not finished.
func (s *Store) Pieces(t *testing.T) (n int) {
	for _, key := range s.files(t) {
		if strings.HasPrefix(key, unfinished+"multipart/") {
			n++
		}
	}
	return n
}

func (s *Store) files(t *testing.T) (keys []string) {
	t.Helper()
	root := filepath.Join(s.Dir, Bucket)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(root, p)
		keys = append(keys, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Start builds the server, if this machine does not have it yet, and starts it.
func Start(t *testing.T) *Store {
	t.Helper()
	program := build(t)
	dir := t.TempDir()
	s := &Store{Dir: filepath.Join(dir, "buckets")}
	side, socket := filepath.Join(dir, "side"), filepath.Join(dir, "s3")
	for _, d := range []string{filepath.Join(s.Dir, Bucket), side} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(program, "--quiet", "--port", socket, "posix", "--sidecar", side, s.Dir)
	c.Env = []string{"ROOT_ACCESS_KEY_ID=" + Key, "ROOT_SECRET_ACCESS_KEY=" + Secret, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
	})
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("the S3 server ended: %s", said.String())
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	pass := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", "store"
		r.Out.Host = r.In.Host // it is part of what is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.fault.Load(); f != nil {
			(*f)(w, r, pass)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.URL = front.URL
	return s
}

// build returns the program. It is kept where this user's caches are; the first build takes some minutes.
func build(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "sluice-lab", "versitygw-"+version)
	program := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(program); err == nil {
		return program
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("building an S3 server takes some minutes, the first time: go test without -short")
	}
	c := exec.Command("go", "install", module+"@"+version)
	c.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return program
}
