package depot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/dirartifacts"
	"sluice/internal/core/artifact"
	"sluice/internal/lab/fake"
	"sluice/internal/lab/hostile"
	"sluice/internal/run/depot"
	"sluice/internal/run/tarball"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func version(v string) sluice.ArtifactName {
	return sluice.ArtifactName{App: "shop", Target: "master", File: "shop.tar.gz", Version: v}
}

func latest() sluice.ArtifactName { return version(sluice.LatestVersion) }

// depotOf is one whose clock goes on by a second each time.
func depotOf(store sluice.Artifacts) *depot.Depot {
	var n atomic.Int64
	return &depot.Depot{Store: store, Limits: tarball.DefaultLimits(), Clock: func() time.Time { return at.Add(time.Duration(n.Add(1)) * time.Second) }}
}

// archive is a local file; each number is another content.
func archive(t testing.TB, n int) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "a.tar.gz")
	text := hostile.Gzip(hostile.Tar(hostile.Raw{Name: "n", Kind: '0', Mode: 0o644, Data: fmt.Append(nil, n)}))
	if err := os.WriteFile(p, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func push(t testing.TB, d *depot.Depot, n sluice.ArtifactName, content int) artifact.Pushed {
	t.Helper()
	p, err := d.Push(t.Context(), n, archive(t, content), artifact.PushOptions{By: "ann@laptop", Meta: map[string]string{"commit": fmt.Sprint("c", content)}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func isLatest(t testing.TB, d *depot.Depot, want string) {
	t.Helper()
	v, err := d.Find(t.Context(), latest())
	if err != nil || v.Version != want || !v.Latest {
		t.Errorf("the latest is %q, %v; want %s", v.Version, err, want)
	}
}

func TestPushAndPull(t *testing.T) {
	d := depotOf(fake.NewArtifacts())
	p := push(t, d, version("17"), 17)
	if p.Already || !p.Latest || p.Signed || p.Entries != 1 || p.Unpacked != 2 || p.Commit() != "c17" {
		t.Errorf("%+v", p)
	}
	if p := push(t, d, version("17"), 17); !p.Already || !p.Latest {
		t.Errorf("again: %+v", p)
	}
	_, err := d.Push(t.Context(), version("17"), archive(t, 18), artifact.PushOptions{})
	if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "is there with another content, pushed by ann@laptop") {
		t.Errorf("another content: %v", err)
	}
	push(t, d, version("18"), 18)
	isLatest(t, d, "18")

	to := filepath.Join(t.TempDir(), "got")
	for range 2 {
		if v, err := d.Pull(t.Context(), latest(), to, false, nil); err != nil || v.Version != "18" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	if a, _ := os.ReadFile(to); !bytes.Equal(a, must(os.ReadFile(archive(t, 18)))) {
		t.Error("what was pulled is not what was pushed")
	}
	if _, err := d.Pull(t.Context(), version("17"), to, false, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("over another file: %v", err)
	}
	if _, err := d.Pull(t.Context(), version("17"), to, true, nil); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 1 {
		t.Errorf("%v", left)
	}
	m, err := d.Manifest(t.Context(), p.Record)
	if err != nil || len(m) != 1 || m[0].Path != "n" {
		t.Errorf("%v, %v", m, err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestWhatIsNotThere(t *testing.T) {
	d := depotOf(fake.NewArtifacts())
	if _, err := d.Find(t.Context(), latest()); sluice.CodeOf(err) != sluice.NotFound {
		t.Error(err)
	}
	push(t, d, version("9"), 1)
	push(t, d, version("10"), 2)
	for n, hint := range map[sluice.ArtifactName]string{version("11"): `below "shop/master/shop.tar.gz" there is: 9, 10`, {App: "ship", Target: "master", File: "x", Version: "1"}: `there is: shop`,
		{App: "shop", Target: "next", File: "x", Version: "1"}: `there is: master`} {
		_, err := d.Find(t.Context(), n)
		var e *sluice.Error
		if !errors.As(err, &e) || e.Code != sluice.NotFound || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: %v", n, e)
		}
	}
}

// TestHostileArchives: nothing of them gets into the repository.
func TestHostileArchives(t *testing.T) {
	for _, a := range hostile.Archives() {
		store := fake.NewArtifacts()
		d := depotOf(store)
		d.Limits = tarball.Limits{Bytes: hostile.Bytes, Entries: hostile.Entries, Links: hostile.Links, Names: hostile.Names, Depth: hostile.Depth, Ratio: 200, Small: 64 << 20}
		p := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(p, a.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Push(t.Context(), version("1"), p, artifact.PushOptions{}); err == nil || !strings.Contains(err.Error(), a.Why) {
			t.Errorf("%s: %v", a.Name, err)
		}
		kept, err := store.Kept(t.Context())
		apps, err2 := store.Names(t.Context(), sluice.ArtifactName{})
		if err != nil || err2 != nil || len(kept)+len(apps) > 0 {
			t.Errorf("%s: there is %v, %v", a.Name, kept, apps)
		}
	}
}

// TestTwoPushers: of two that push other contents as the same version one is refused, and of many versions the one that was
// pushed last is the latest.
func TestTwoPushers(t *testing.T) {
	store := fake.NewArtifacts()
	d := depotOf(store)
	for round := range 10 {
		var refused, done atomic.Int32
		var wg sync.WaitGroup
		for k := range 4 {
			file := archive(t, 100*round+k%2)
			wg.Go(func() {
				switch _, err := d.Push(t.Context(), version(fmt.Sprint(round)), file, artifact.PushOptions{}); {
				case err == nil:
					done.Add(1)
				case sluice.CodeOf(err) == sluice.Conflict:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if done.Load() != 2 || refused.Load() != 2 {
			t.Errorf("%d pushed, %d were refused", done.Load(), refused.Load())
		}
		isLatest(t, d, fmt.Sprint(round))
	}
	var wg sync.WaitGroup
	for k := range 12 {
		file := archive(t, 1000+k)
		wg.Go(func() {
			if _, err := d.Push(t.Context(), version(fmt.Sprint("many", k)), file, artifact.PushOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := d.Versions(t.Context(), latest())
	if err != nil || len(all) != 22 {
		t.Fatalf("%v, %v", all, err)
	}
	isLatest(t, d, all[21].Version)
}

// TestASlowPushTakesNothingBack: what was pushed before another one is not the latest when it is done later.
func TestASlowPushTakesNothingBack(t *testing.T) {
	store := fake.NewArtifacts()
	push(t, depotOf(store), version("2"), 2)
	early := depotOf(store)
	early.Clock = func() time.Time { return at.Add(-time.Hour) }
	if p := push(t, early, version("1"), 1); p.Latest {
		t.Errorf("%+v", p)
	}
	isLatest(t, early, "2")
}

// TestAPushThatWasKilled: between the record and the word that it is the latest. The newest record stands in, and the same push
// again says it.
func TestAPushThatWasKilled(t *testing.T) {
	store := fake.NewArtifacts()
	d := depotOf(store)
	push(t, d, version("1"), 1)
	push(t, d, version("2"), 2)
	if err := store.Remove(t.Context(), latest()); err != nil {
		t.Fatal(err)
	}
	isLatest(t, d, "2")
	if p := push(t, d, version("2"), 2); !p.Latest || !p.Already {
		t.Errorf("%+v", p)
	}
	if text, err := store.Read(t.Context(), latest()); err != nil || !strings.HasPrefix(string(text), "2 sha256:") {
		t.Errorf("%q, %v", text, err)
	}
}

// TestContentThatWasCollected: a collection that looked before the record was there takes nothing from a version.
func TestContentThatWasCollected(t *testing.T) {
	store := &collecting{Artifacts: fake.NewArtifacts()}
	d := depotOf(store)
	v := push(t, d, version("1"), 1)
	if _, err := d.Pull(t.Context(), version("1"), filepath.Join(t.TempDir(), "x"), false, nil); err != nil {
		t.Error(err)
	}
	if _, err := d.Manifest(t.Context(), v.Record); err != nil {
		t.Error(err)
	}
}

// collecting takes all content away as soon as a record is written, once.
type collecting struct {
	*fake.Artifacts
	once sync.Once
}

func (c *collecting) Write(ctx context.Context, n sluice.ArtifactName, text, was []byte) (err error) {
	err = c.Artifacts.Write(ctx, n, text, was)
	c.once.Do(func() {
		kept, _ := c.Kept(ctx)
		for _, k := range kept {
			err = errors.Join(err, c.Discard(ctx, k.Name, time.Now().Add(time.Hour)))
		}
	})
	return err
}

// TestEveryHop flips a bit of each file of a repository: whoever needs it is told, and a push of the same version mends content.
func TestEveryHop(t *testing.T) {
	dir := t.TempDir()
	store, err := dirartifacts.New(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	d := depotOf(store)
	v := push(t, d, version("1"), 1)
	files := 0
	err = filepath.WalkDir(filepath.Join(dir, "store"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == ".lock" {
			return err
		}
		files++
		good := must(os.ReadFile(p))
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(p, bad, 0o600); err != nil {
				return err
			}
			to := filepath.Join(dir, "got")
			_, err := d.Pull(t.Context(), latest(), to, true, nil)
			if err == nil {
				_, err = d.Manifest(t.Context(), v.Record)
			}
			if sluice.CodeOf(err) == "" {
				t.Fatalf("bit %d of %s: %v", i, e.Name(), err)
			}
			_ = os.Remove(to)
			if left, _ := filepath.Glob(filepath.Join(dir, ".got*")); len(left) > 0 {
				t.Fatalf("it leaves %v", left)
			}
		}
		if strings.HasPrefix(e.Name(), "sha256-") || e.Name() == sluice.LatestVersion {
			push(t, d, version("1"), 1)
			if now := must(os.ReadFile(p)); !bytes.Equal(now, good) {
				t.Errorf("%s is not mended", e.Name())
			}
			return nil
		}
		return os.WriteFile(p, good, 0o600)
	})
	if err != nil || files != 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestPullGoesOn: what a killed pull has brought is not fetched again, and is no use where it is wrong.
func TestPullGoesOn(t *testing.T) {
	store := &slow{Artifacts: fake.NewArtifacts()}
	d := depotOf(store)
	v := push(t, d, version("1"), 1)
	good := must(os.ReadFile(archive(t, 1)))
	for name, left := range map[string][]byte{"half": good[:len(good)/2], "whole": good, "wrong": make([]byte, len(good)/2), "long": append(bytes.Clone(good), "more"...)} {
		to := filepath.Join(t.TempDir(), "x")
		part := filepath.Join(filepath.Dir(to), ".x.part-"+strings.TrimPrefix(v.Digest, "sha256:")[:16])
		if err := os.WriteFile(part, left, 0o600); err != nil {
			t.Fatal(err)
		}
		store.read = 0
		if _, err := d.Pull(t.Context(), version("1"), to, false, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := must(os.ReadFile(to)); !bytes.Equal(got, good) {
			t.Errorf("%s: %q", name, got)
		}
		if name == "half" && store.read > len(good)-len(good)/2 {
			t.Errorf("%d bytes were fetched", store.read)
		}
	}
}

type slow struct {
	*fake.Artifacts
	read int
}

func (s *slow) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	r, err := s.Artifacts.Open(ctx, digest)
	if err != nil {
		return nil, err
	}
	return &counted{r, s}, nil
}

type counted struct {
	io.ReadCloser
	s *slow
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.s.read += n
	return n, err
}

func (c *counted) Seek(offset int64, whence int) (int64, error) {
	return c.ReadCloser.(io.Seeker).Seek(offset, whence)
}

// TestSignatures: where keys are asked for, only what one of them signed is given out; a signature can be added later.
func TestSignatures(t *testing.T) {
	d := depotOf(fake.NewArtifacts())
	push(t, d, version("1"), 1)
	sign := func(statement []byte) ([]byte, error) { return append([]byte("signed "), statement...), nil }
	d.Verify = func(statement, signature []byte) (string, error) {
		if !bytes.Equal(signature, append([]byte("signed "), statement...)) {
			return "", errors.New("it is by nobody")
		}
		return "ann", nil
	}
	if _, err := d.Find(t.Context(), latest()); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("not signed: %v", err)
	}
	if _, err := d.Pull(t.Context(), version("1"), filepath.Join(t.TempDir(), "x"), false, nil); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("not signed: %v", err)
	}
	if p, err := d.Push(t.Context(), version("1"), archive(t, 1), artifact.PushOptions{Sign: sign}); err != nil || !p.Signed || !p.Already {
		t.Errorf("%+v, %v", p, err)
	}
	if v, err := d.Find(t.Context(), latest()); err != nil || v.SignedBy != "ann" || v.By != "ann@laptop" {
		t.Errorf("%+v, %v", v, err)
	}
	other := func([]byte) ([]byte, error) { return []byte("signed something else\n"), nil }
	if _, err := d.Push(t.Context(), version("2"), archive(t, 2), artifact.PushOptions{Sign: other}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Find(t.Context(), latest()); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "by nobody") {
		t.Errorf("by another: %v", err)
	}
}

func TestCollect(t *testing.T) {
	store := fake.NewArtifacts()
	d := depotOf(store)
	sent := at
	store.Clock = func() time.Time { return sent }
	var all []artifact.Pushed
	for i := range 6 {
		all = append(all, push(t, d, version(fmt.Sprint(i)), i))
	}
	k := artifact.Keep{Newest: 2, Used: map[string]bool{all[1].Digest: true}, SentSince: at.Add(time.Hour)}
	g, err := d.Survey(t.Context(), k)
	if err != nil || len(g.Versions) != 3 || g.Kept != 3 || len(g.Contents) != 6 {
		t.Fatalf("%+v, %v", g, err)
	}
	names := func() []string {
		n, err := d.Names(t.Context(), sluice.ArtifactName{App: "shop", Target: "master", File: "shop.tar.gz"})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if len(names()) != 6 {
		t.Error("a survey removes")
	}
	// Meanwhile somebody pushes what is about to go, under another name: its content stays.
	sent = at.Add(2 * time.Hour)
	push(t, d, version("again"), 2)
	// And a version goes live, whose file and manifest stay with it.
	k.Live = map[artifact.AppVersion]bool{{App: "shop", Version: "0"}: true}
	gone, err := d.Collect(t.Context(), g, k)
	if err != nil || len(gone.Versions) != 2 || len(gone.Contents) != 2 {
		t.Errorf("%+v, %v", gone, err)
	}
	if got := names(); !slices.Equal(got, []string{"0", "1", "4", "5", "again"}) {
		t.Errorf("%v", got)
	}
	for _, v := range names() {
		if _, err := d.Pull(t.Context(), version(v), filepath.Join(t.TempDir(), "x"), false, nil); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
	if err := store.Write(t.Context(), version("odd"), []byte("no record\n"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Survey(t.Context(), k); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a record that cannot be read: %v", err)
	}
	if err := d.Remove(t.Context(), version("odd")); err != nil {
		t.Error(err)
	}
	if err := d.Remove(t.Context(), version("again")); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("the latest: %v", err)
	}
}
