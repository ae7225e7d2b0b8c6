// Package builder carries builds out: it runs the scripts of a checkout, makes an archive of what they leave, the same for the
// same files, and pushes it. Nothing is in the repository before the whole is there and proved; killed at any moment, a build
// leaves nothing that is half.
//
// It knows nothing of git, shells, forges and repositories but what is handed to it.
package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/internal/core/appfile"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
)

// Line is a line of the shell.
type Line struct {
	Text, Dir string
	Env       []string
	Output    io.Writer
	Timeout   time.Duration
}

// Builder is what builds need of the world.
type Builder struct {
	// Look says what a checkout is at, Tracked which files of the commit are at or below a path of it.
	Look    func(ctx context.Context, dir string) (build.Checkout, error)
	Tracked func(ctx context.Context, dir, path string) ([]string, error)
	// Run runs a line to its end, and all that it started. how says how it ended, where that is not well.
	Run func(ctx context.Context, l Line) (how string, err error)
	// Post sends a request once. again says that another try may be of use.
	Post     func(ctx context.Context, r build.Request) (again bool, err error)
	Clock    sluice.Clock
	Environ  []string // that scripts get
	Platform string   // of this machine
	// Pause waits between tries; nil: by the clock of the machine.
	Pause func(ctx context.Context, d time.Duration)
}

// Depot is a repository of artifacts.
type Depot interface {
	Find(ctx context.Context, n sluice.ArtifactName) (artifact.Shown, error)
	Pull(ctx context.Context, n sluice.ArtifactName, path string, over bool, p artifact.Progress) (artifact.Shown, error)
	Push(ctx context.Context, n sluice.ArtifactName, path string, o artifact.PushOptions) (artifact.Pushed, error)
}

// Order is what is to be built.
type Order struct {
	Dir             string
	Version, Target string // "": what the checkout says
	Dirty           bool   // what is not as the commit has it may be built
	NoTest, NoPush  bool
	To              string // a file that gets the archive, too
	Depot           Depot  // nil only with NoPush
	Signed          bool   // what is taken from the repository has to be signed
	By              string
	Sign            artifact.Sign
	// Output is given what scripts print, Tell what goes on.
	Output   io.Writer
	Tell     func(text string)
	Progress artifact.Progress
}

// building is one build.
type building struct {
	*Builder
	Order
	root    *os.Root
	app     *appfile.App
	at      build.Checkout // as it was at the beginning
	temp    string
	report  build.Report
	bundles []held
}

// Build builds what is ordered. A script that fails is a [*build.Failed].
func (b *Builder) Build(ctx context.Context, o Order) (report build.Report, err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return report, err
	}
	w := &building{Builder: b, Order: o}
	if w.root, err = os.OpenRoot(o.Dir); err != nil {
		return report, &sluice.Error{Code: sluice.Usage, Text: "cannot open the checkout", Err: err}
	}
	defer w.root.Close()
	unlock, err := w.lock()
	if err != nil {
		return report, err
	}
	defer unlock()
	if err := w.ready(ctx); err != nil {
		return report, err
	}
	if err := w.makeTemp(); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.temp)) }()
	w.say(ctx, build.Pending, "building "+w.report.Version)
	if err = w.work(ctx); err != nil {
		w.say(ctx, build.Failure, why(ctx, err))
		return w.report, err
	}
	done := "built " + w.report.Version
	if w.NoTest && w.app.Build.Test != "" {
		done += ", not tested"
	}
	w.say(ctx, build.Success, done)
	return w.report, nil
}

// lock keeps a second build out of the checkout: the two would be in each other's files. It ends with the process.
func (w *building) lock() (unlock func(), err error) {
	d, err := os.Open(w.Dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = sluice.Errorf(sluice.Conflict, "another build goes on in %s", w.Dir).WithHint("wait for its end")
	} else if err != nil {
		err = fmt.Errorf("locking %s against other builds: %w", w.Dir, err)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return func() { _ = d.Close() }, nil
}

// ready finds out what is built, and whether it may be, before anything runs.
func (w *building) ready(ctx context.Context) (err error) {
	if w.app, err = w.appFile(); err != nil {
		return err
	}
	if w.at, err = w.look(ctx); err != nil {
		return err
	}
	if !w.Dirty {
		if err := build.Clean(w.at); err != nil {
			return err
		}
	}
	r := &w.report
	r.App, r.File, r.Target, r.Version = w.app.App, w.app.Build.File, w.Target, w.Version
	if r.Target == "" {
		if r.Target, err = build.Target(w.at); err != nil {
			return err
		}
	}
	if r.Target == artifact.BundleTarget {
		return sluice.Errorf(sluice.Usage, "the target %s is that of dependency bundles", r.Target).WithHint("--target NAME")
	}
	if r.Version == "" {
		r.Version = build.Version(w.at, w.Clock())
	}
	if r.Version == sluice.LatestVersion {
		return sluice.Errorf(sluice.Usage, "%q is no version, it says which one is the latest", r.Version)
	}
	if err := w.name().Check(); err != nil {
		return err
	}
	if in, err := w.toIsInside(); err != nil {
		return err
	} else if in {
		return sluice.Errorf(sluice.Usage, "--to %s is inside the checkout, so the next archive would have this one in it", w.To)
	}
	if w.NoPush {
		return nil
	}
	if w.Signed && w.Sign == nil && len(w.app.Build.Bundles) > 0 {
		return sluice.Errorf(sluice.Usage, "there are keys, and no --sign: bundles that nobody has signed would be in the way of all later builds").
			WithHint("--sign FILE, --no-push, or no --key and no $SLUICE_ARTIFACT_KEYS")
	}
	// A repository that cannot be reached is told now, and not after half an hour of tests.
	there, err := w.Depot.Find(ctx, w.name())
	switch {
	case err == nil:
		w.tell("%s is there already; it has to come out the same", there.ArtifactName)
	case sluice.CodeOf(err) != sluice.NotFound:
		return err
	}
	return nil
}

func (w *building) name() sluice.ArtifactName {
	return sluice.ArtifactName{App: w.report.App, Target: w.report.Target, File: w.report.File, Version: w.report.Version}
}

func (w *building) toIsInside() (bool, error) {
	if w.To == "" {
		return false, nil
	}
	to, err := filepath.Abs(w.To)
	if err != nil {
		return false, err
	}
	w.To = to
	dir, err := filepath.EvalSymlinks(filepath.Dir(to))
	if err != nil {
		return false, &sluice.Error{Code: sluice.Usage, Text: "--to", Err: err}
	}
	return w.inside(filepath.Join(dir, filepath.Base(to)))
}

// inside reports whether a path that has no symbolic links in it is in the checkout.
func (w *building) inside(path string) (bool, error) {
	dir, err := filepath.EvalSymlinks(w.Dir)
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel), nil
}

// makeTemp makes the directory for what is only needed while it is built, where no archive can have it in it.
func (w *building) makeTemp() error {
	at, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return fmt.Errorf("the directory for temporary files: %w", err)
	}
	if in, err := w.inside(at); err != nil {
		return err
	} else if in {
		return sluice.Errorf(sluice.Usage, "the directory for temporary files, %s, is inside the checkout, so what is built would be in itself", os.TempDir()).
			WithHint("set TMPDIR to a directory outside")
	}
	w.temp, err = os.MkdirTemp(at, "sluice-build-")
	return err
}

func (w *building) tell(format string, args ...any) { w.Tell(fmt.Sprintf(format, args...)) }

// appFile is what the app says of itself.
func (w *building) appFile() (*appfile.App, error) {
	for _, name := range appfile.Places() {
		text, err := w.root.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, &sluice.Error{Code: sluice.Config, Text: "what the app says of itself", Err: err}
		}
		if len(text) > appfile.MaxBytes {
			return nil, sluice.Errorf(sluice.Config, "%s has more than %d bytes", name, appfile.MaxBytes)
		}
		return appfile.Parse(name, text)
	}
	return nil, sluice.Errorf(sluice.Usage, "%s has no %s, which says what is built", w.Dir, appfile.Name).WithHint("app: NAME is the least that it says")
}

// look asks what the checkout is at. What dependency bundles have put there is ours.
func (w *building) look(ctx context.Context) (build.Checkout, error) {
	c, err := w.Look(ctx, w.Dir)
	for _, d := range w.app.Build.Bundles {
		c = c.Without(d.Dir)
	}
	return c, err
}

// work does it all.
func (w *building) work(ctx context.Context) error {
	for _, d := range w.app.Build.Bundles {
		if err := w.dependency(ctx, d); err != nil {
			return err
		}
	}
	b, times := w.app.Build, w.app.Build.Timeouts
	if err := w.script(ctx, "build", b.Build, times.Build); err != nil {
		return err
	}
	if !w.NoTest {
		if err := w.script(ctx, "test", b.Test, times.Test); err != nil {
			return err
		}
	}
	if err := w.script(ctx, "bundle", b.Bundle.Run, times.Bundle); err != nil {
		return err
	}
	archive := filepath.Join(w.temp, "archive")
	if err := w.timed("pack", func() (string, error) { return "", w.pack(ctx, archive) }); err != nil {
		return err
	}
	after, err := w.look(ctx)
	if err != nil {
		return err
	}
	if err := build.Same(w.at, after, w.Dirty); err != nil {
		return err
	}
	w.report.Meta = build.Meta(w.at, w.By, w.Clock(), w.report.Took, w.digests(), w.link())
	if w.To != "" {
		if err := keep(archive, w.To); err != nil {
			return err
		}
	}
	if w.NoPush {
		return nil
	}
	return w.timed("push", func() (string, error) { return "", w.push(ctx, archive) })
}

func (w *building) push(ctx context.Context, archive string) error {
	p, err := w.Depot.Push(ctx, w.name(), archive, artifact.PushOptions{Meta: w.report.Meta, By: w.By, Sign: w.Sign, Progress: w.Progress})
	if sluice.CodeOf(err) == sluice.Conflict && w.Version == "" {
		return &sluice.Error{Code: sluice.Conflict, Text: "this commit was built before, with another result", Err: err,
			Hint: "--version VERSION for this one; the digests of their files tell what differs: sluice artifact show --files"}
	}
	if err != nil {
		return err
	}
	w.report.Pushed = &p
	return nil
}

// keep gives the archive a name of its own, at once or not at all.
func keep(archive, to string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".sluice-build-")
	if err != nil {
		return &sluice.Error{Code: sluice.Usage, Text: "--to", Err: err}
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(0o644), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return nil
}

// variable is one of those that the scripts would get.
func (w *building) variable(name string) string {
	for _, v := range w.Environ {
		if k, value, _ := strings.Cut(v, "="); k == name && name != "" {
			return value
		}
	}
	return ""
}
