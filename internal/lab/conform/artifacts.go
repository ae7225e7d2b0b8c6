package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"sluice"
)

// Artifacts is the suite of [sluice.Artifacts]. open opens the same repository each time that it is called in one test.
func Artifacts(t *testing.T, repository func(t *testing.T) (open func(t *testing.T) sluice.Artifacts)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, open func(t *testing.T) sluice.Artifacts)
	}{
		{"Empty", artifactsEmpty},
		{"SendAndOpen", artifactsSendAndOpen},
		{"Seek", artifactsSeek},
		{"NotWhatItSays", artifactsNotWhatItSays},
		{"BadDigests", artifactsBadDigests},
		{"BadNames", artifactsBadNames},
		{"GoesOn", artifactsGoesOn},
		{"Cancelled", artifactsCancelled},
		{"SendTogether", artifactsSendTogether},
		{"Write", artifactsWrite},
		{"WriteTogether", artifactsWriteTogether},
		{"CountTogether", artifactsCountTogether},
		{"Names", artifactsNames},
		{"Discard", artifactsDiscard},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, repository(t)) })
	}
}

// Content is content with its digest, for [sluice.Artifacts].
func Content(b []byte) sluice.Content {
	return sluice.Content{Digest: digestOf(b), Bytes: int64(len(b))}
}

var theVersion = sluice.ArtifactName{App: "shop", Target: "master", File: "shop.tar.gz", Version: "17"}

func artifactsEmpty(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a := open(t)
	if names, err := a.Names(t.Context(), sluice.ArtifactName{}); err != nil || len(names) > 0 {
		t.Errorf("Names: %v, %v", names, err)
	}
	if kept, err := a.Kept(t.Context()); err != nil || len(kept) > 0 {
		t.Errorf("Kept: %v, %v", kept, err)
	}
	if _, err := a.Read(t.Context(), theVersion); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read: %v", err)
	}
	if _, err := a.Open(t.Context(), digestOf(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if err := errors.Join(a.Remove(t.Context(), theVersion), a.Discard(t.Context(), digestOf(nil), time.Now())); err != nil {
		t.Error(err)
	}
}

func artifactsSendAndOpen(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	for _, content := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("0123456789"), 100_000)} {
		for range 2 { // the second time it is there already
			var last int64
			from := bytes.NewReader(content)
			_, _ = from.Seek(0, io.SeekEnd)
			if err := open(t).Send(t.Context(), Content(content), from, func(n int64) { last = n }); err != nil {
				t.Fatal(err)
			}
			if last != int64(len(content)) {
				t.Errorf("%d of %d bytes are there, as it says", last, len(content))
			}
			r, err := open(t).Open(t.Context(), digestOf(content))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func artifactsSeek(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	a := open(t)
	if err := a.Send(t.Context(), Content(content), bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	r, err := a.Open(t.Context(), digestOf(content))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, at := range []int64{99_995, 7, 0, 100_000} {
		if n, err := r.(io.Seeker).Seek(at, io.SeekStart); n != at || err != nil {
			t.Fatalf("Seek: %d, %v", n, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[at:]) {
			t.Errorf("from %d: %d bytes, %v", at, len(got), err)
		}
	}
}

func artifactsNotWhatItSays(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	content := bytes.Repeat([]byte("content"), 10_000)
	for name, c := range map[string]sluice.Content{
		"other content": {Digest: digestOf([]byte("other")), Bytes: int64(len(content))},
		"longer":        {Digest: digestOf(content[:100]), Bytes: 100},
		"shorter":       {Digest: digestOf(content), Bytes: int64(len(content)) + 1},
	} {
		a := open(t)
		for range 2 {
			if err := a.Send(t.Context(), c, bytes.NewReader(content), nil); sluice.CodeOf(err) != sluice.Conflict {
				t.Errorf("%s: %v", name, err)
			}
		}
		if kept, err := a.Kept(t.Context()); err != nil || len(kept) > 0 {
			t.Errorf("%s: %v, %v", name, kept, err)
		}
		if _, err := a.Open(t.Context(), c.Digest); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func artifactsBadDigests(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a, good := open(t), digestOf([]byte("x"))
	for _, digest := range []string{"", "sha256:", "sha256:../../x", good[len("sha256:"):], strings.ToUpper(good), good + "0", good[:70]} {
		_, err := a.Open(t.Context(), digest)
		for _, err := range []error{err, a.Send(t.Context(), sluice.Content{Digest: digest, Bytes: 1}, strings.NewReader("x"), nil), a.Discard(t.Context(), digest, time.Now())} {
			if sluice.CodeOf(err) != sluice.Usage {
				t.Errorf("%q: %v", digest, err)
			}
		}
	}
}

func artifactsBadNames(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a := open(t)
	for _, n := range []sluice.ArtifactName{{}, {App: "a", Target: "b", File: "c"}, {App: "..", Target: "b", File: "c", Version: "d"},
		{App: "a", Target: "b/c", File: "c", Version: "d"}, {App: "a", Target: "b", File: "c", Version: "../../../x"}, {App: ".content", Target: "b", File: "c", Version: "d"}} {
		_, err := a.Read(t.Context(), n)
		for _, err := range []error{err, a.Write(t.Context(), n, []byte("x"), nil), a.Remove(t.Context(), n)} {
			if sluice.CodeOf(err) != sluice.Usage {
				t.Errorf("%q: %v", n, err)
			}
		}
	}
	for _, n := range []sluice.ArtifactName{{App: ".."}, {App: "a", Target: "b/c"}, theVersion} {
		if _, err := a.Names(t.Context(), n); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("Names of %q: %v", n, err)
		}
	}
}

// GoesOnBytes is the size of what is sent in two goes: above what an implementation sends at once.
const GoesOnBytes = 12 << 20

// artifactsGoesOn: what was sent before it failed is not read again, or only to be compared, and the end is right even where
// it had been something else.
func artifactsGoesOn(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	content := make([]byte, GoesOnBytes)
	for i := range content {
		content[i] = byte(i>>12) ^ byte(i)
	}
	broken := errors.New("broken")
	for _, cut := range []int{1, GoesOnBytes / 2, GoesOnBytes - 1} {
		content[0]++ // each time something that is not there yet
		half := &seeking{bytes.NewReader(content), io.MultiReader(bytes.NewReader(content[:cut]), iotest.ErrReader(broken))}
		if err := open(t).Send(t.Context(), Content(content), half, nil); !errors.Is(err, broken) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, err := open(t).Open(t.Context(), digestOf(content)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half of it is there: %v", err)
		}
		if err := open(t).Send(t.Context(), Content(content), bytes.NewReader(content), nil); err != nil {
			t.Fatalf("cut at %d, and again: %v", cut, err)
		}
		r, err := open(t).Open(t.Context(), digestOf(content))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("cut at %d: %d bytes, %v", cut, len(got), err)
		}
		_ = r.Close()
	}
}

// seeking reads something else than it would after a seek.
type seeking struct {
	io.Seeker
	io.Reader
}

func artifactsCancelled(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Open(ctx, digestOf(nil))
	errs := []error{err, a.Send(ctx, Content([]byte("x")), strings.NewReader("x"), nil), a.Write(ctx, theVersion, []byte("x"), nil)}
	_, err = a.Read(ctx, theVersion)
	for i, err := range append(errs, err) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func artifactsSendTogether(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	content := bytes.Repeat([]byte("same"), 50_000)
	var wg sync.WaitGroup
	for range 6 {
		a := open(t)
		wg.Go(func() {
			if err := a.Send(t.Context(), Content(content), bytes.NewReader(content), nil); err != nil {
				t.Error(err)
				return
			}
			r, err := a.Open(t.Context(), digestOf(content))
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

func artifactsWrite(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	latest := theVersion
	latest.Version = sluice.LatestVersion
	for _, n := range []sluice.ArtifactName{theVersion, latest} {
		a := open(t)
		conflict := func(text, was string, wasThere bool) {
			t.Helper()
			w := []byte(was)
			if !wasThere {
				w = nil
			}
			if err := a.Write(t.Context(), n, []byte(text), w); sluice.CodeOf(err) != sluice.Conflict {
				t.Errorf("%s over %q: %v", n, was, err)
			}
		}
		conflict("one", "none", true)
		if err := a.Write(t.Context(), n, []byte("one"), nil); err != nil {
			t.Fatal(err)
		}
		conflict("two", "", false)
		conflict("two", "", true)
		conflict("two", "On", true)
		if text, err := open(t).Read(t.Context(), n); err != nil || string(text) != "one" {
			t.Errorf("%q, %v", text, err)
		}
		if err := a.Write(t.Context(), n, []byte("two"), []byte("one")); err != nil {
			t.Fatal(err)
		}
		conflict("three", "one", true)
		if text, err := open(t).Read(t.Context(), n); err != nil || string(text) != "two" {
			t.Errorf("%q, %v", text, err)
		}
		for range 2 {
			if err := a.Remove(t.Context(), n); err != nil {
				t.Error(err)
			}
		}
		if _, err := open(t).Read(t.Context(), n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removed: %v", err)
		}
		if err := a.Write(t.Context(), n, []byte("again"), nil); err != nil {
			t.Error(err)
		}
		for _, size := range []int{0, 64<<10 + 1} {
			if err := a.Write(t.Context(), n, make([]byte, size), []byte("again")); sluice.CodeOf(err) != sluice.Usage {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

// artifactsWriteTogether: of many that write where nothing is, one does.
func artifactsWriteTogether(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	for round := range 5 {
		n := theVersion
		n.Version = fmt.Sprint(round)
		var wrote atomic.Pointer[string]
		var wg sync.WaitGroup
		for i := range 6 {
			a := open(t)
			wg.Go(func() {
				text := fmt.Sprint("writer ", i)
				switch err := a.Write(t.Context(), n, []byte(text), nil); {
				case err == nil && !wrote.CompareAndSwap(nil, &text):
					t.Errorf("%s and %s both wrote", *wrote.Load(), text)
				case err != nil && sluice.CodeOf(err) != sluice.Conflict:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if is, err := open(t).Read(t.Context(), n); err != nil || wrote.Load() == nil || string(is) != *wrote.Load() {
			t.Errorf("%q, %v; it is not what the one wrote that did", is, err)
		}
	}
}

// artifactsCountTogether: many change the same text, each in a way of its own, and no change is lost.
func artifactsCountTogether(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	latest := theVersion
	latest.Version = sluice.LatestVersion
	if err := open(t).Write(t.Context(), latest, []byte("."), nil); err != nil {
		t.Fatal(err)
	}
	const each, many = 4, 4
	var wg sync.WaitGroup
	for i := range many {
		a := open(t)
		wg.Go(func() {
			for done := 0; done < each; {
				is, err := a.Read(t.Context(), latest)
				if err == nil {
					err = a.Write(t.Context(), latest, append(bytes.Clone(is), byte('a'+i)), is)
				}
				if err == nil {
					done++
				} else if sluice.CodeOf(err) != sluice.Conflict {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if is, err := open(t).Read(t.Context(), latest); err != nil || len(is) != each*many+1 {
		t.Errorf("%d changes are there of %d, %v", len(is)-1, each*many, err)
	}
}

func artifactsNames(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a := open(t)
	for _, text := range []string{"shop/master/shop.tar.gz/1", "shop/master/shop.tar.gz/10", "shop/master/shop.tar.gz/latest", "shop/master/docs.tar/1",
		"shop/next/shop.tar.gz/1", "shop-2/master/x/1", "Shop/master/x/latest"} {
		p := strings.Split(text, "/")
		if err := a.Write(t.Context(), sluice.ArtifactName{App: p[0], Target: p[1], File: p[2], Version: p[3]}, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	for under, want := range map[sluice.ArtifactName][]string{
		{}:                              {"Shop", "shop", "shop-2"},
		{App: "shop"}:                   {"master", "next"},
		{App: "shop", Target: "master"}: {"docs.tar", "shop.tar.gz"},
		{App: "shop", Target: "master", File: "shop.tar.gz"}: {"1", "10"},
		{App: "Shop", Target: "master", File: "x"}:           nil,
		{App: "sho"}:                         nil,
		{App: "shop", Target: "no"}:          nil,
		{App: "no", Target: "no", File: "x"}: nil,
	} {
		if got, err := open(t).Names(t.Context(), under); err != nil || !slices.Equal(got, want) {
			t.Errorf("below %q: %v, %v; want %v", under, got, err, want)
		}
	}
	gone := sluice.ArtifactName{App: "shop-2", Target: "master", File: "x", Version: "1"}
	if err := a.Remove(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Names(t.Context(), sluice.ArtifactName{}); err != nil || !slices.Equal(got, []string{"Shop", "shop"}) {
		t.Errorf("%v, %v: an app without anything is none", got, err)
	}
	if err := a.Write(t.Context(), gone, []byte("x"), nil); err != nil {
		t.Error(err)
	}
}

func artifactsDiscard(t *testing.T, open func(*testing.T) sluice.Artifacts) {
	a, one, two := open(t), []byte("one"), []byte("two")
	began := time.Now().Add(-time.Minute)
	for _, b := range [][]byte{one, two} {
		if err := a.Send(t.Context(), Content(b), bytes.NewReader(b), nil); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := open(t).Kept(t.Context())
	if err != nil || len(kept) != 2 {
		t.Fatalf("%v, %v", kept, err)
	}
	for _, k := range kept {
		if k.Name != digestOf(one) && k.Name != digestOf(two) || k.Bytes != 3 || k.Changed.Before(began) || k.Changed.After(time.Now().Add(time.Minute)) {
			t.Errorf("%+v", k)
		}
	}
	for range 2 {
		if err := a.Discard(t.Context(), digestOf(one), began); err != nil {
			t.Error(err)
		}
	}
	if kept, err = open(t).Kept(t.Context()); err != nil || len(kept) != 2 {
		t.Errorf("%v, %v: what was sent of late stays", kept, err)
	}
	for range 2 {
		if err := a.Discard(t.Context(), digestOf(one), time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
	}
	if kept, err = open(t).Kept(t.Context()); err != nil || len(kept) != 1 || kept[0].Name != digestOf(two) {
		t.Errorf("%v, %v", kept, err)
	}
	if _, err := a.Open(t.Context(), digestOf(one)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there yet: %v", err)
	}
}
