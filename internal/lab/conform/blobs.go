package conform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"sluice"
)

// Blobs is the suite of [sluice.Blobs].
func Blobs(t *testing.T, open func(t *testing.T) sluice.Blobs) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b sluice.Blobs)
	}{
		{"PutAndOpen", blobsPutAndOpen},
		{"NotThere", blobsNotThere},
		{"BadDigest", blobsBadDigest},
		{"BrokenSource", blobsBrokenSource},
		{"Cancelled", blobsCancelled},
		{"Together", blobsTogether},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func blobsPutAndOpen(t *testing.T, b sluice.Blobs) {
	for _, content := range [][]byte{nil, []byte("#!/bin/sh\n"), bytes.Repeat([]byte("0123456789"), 100_000)} {
		for range 2 { // the second time it is there already
			digest, size, err := b.Put(t.Context(), bytes.NewReader(content))
			if err != nil || digest != digestOf(content) || size != int64(len(content)) {
				t.Fatalf("Put: %s, %d, %v; want %s, %d", digest, size, err, digestOf(content), len(content))
			}
			if size, err := b.Renew(t.Context(), digest); err != nil || size != int64(len(content)) {
				t.Fatalf("Renew: %d, %v; want %d", size, err, len(content))
			}
			if size, err := b.Size(t.Context(), digest); err != nil || size != int64(len(content)) {
				t.Fatalf("Size: %d, %v; want %d", size, err, len(content))
			}
			r, err := b.Open(t.Context(), digest)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, content); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func blobsNotThere(t *testing.T, b sluice.Blobs) {
	if _, err := b.Open(t.Context(), digestOf([]byte("nobody put this"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, err := b.Renew(t.Context(), digestOf([]byte("nobody put this"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that is not there is renewed: %v", err)
	}
	if _, err := b.Size(t.Context(), digestOf([]byte("nobody put this"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that is not there has a size: %v", err)
	}
}

func blobsBadDigest(t *testing.T, b sluice.Blobs) {
	good := digestOf([]byte("x"))
	for _, digest := range []string{"", "sha256:", "sha256:../../x", good[len("sha256:"):], strings.ToUpper(good), good + "0", good[:70],
		"sha512:" + good[len("sha256:"):]} {
		if r, err := b.Open(t.Context(), digest); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q is no digest, but the error is %v", digest, err)
			if r != nil {
				_ = r.Close()
			}
		}
	}
}

func blobsBrokenSource(t *testing.T, b sluice.Blobs) {
	broken := errors.New("broken")
	_, _, err := b.Put(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("the source's error came back as %v", err)
	}
	if _, err := b.Open(t.Context(), digestOf([]byte("half"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of a blob was kept: %v", err)
	}
}

func blobsCancelled(t *testing.T, b sluice.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := readFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if _, _, err := b.Put(ctx, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if _, err := b.Open(ctx, digestOf(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func blobsTogether(t *testing.T, b sluice.Blobs) {
	content := bytes.Repeat([]byte("same"), 50_000)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			digest, _, err := b.Put(t.Context(), bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			r, err := b.Open(t.Context(), digest)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}
