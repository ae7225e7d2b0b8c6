package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
)

// Releases is where the files of releases come from.
type Releases interface {
	// Version is what the job's release is on a host: the files of its artifact, and what is rendered for this host. It is
	// asked once for each attempt that may start something, and may have to fetch first.
	Version(ctx context.Context, job *sluice.Job, host sluice.Host) (Version, error)
	// Secrets are what is sealed in the configurations that the host has or gets by the job, opened; whoever asks wipes them.
	Secrets(ctx context.Context, job *sluice.Job, host sluice.Host) ([]sluice.Secret, error)
}

// Version is all that a release is on one host.
type Version struct {
	Files manifest.Manifest
	// Links stand outside of the app's root and lead to files of the version.
	Links []release.Link
	// Open gives the content with this digest, in hexadecimal; whoever reads it checks it.
	Open func(ctx context.Context, sha256 string) (io.ReadCloser, error)
	// Close is called when nothing more is opened; nil: nobody needs to know.
	Close func()
}

// deploy is what an attempt has more that deploys or rolls back.
type deploy struct {
	wish    release.Wish
	version Version
	report  *release.Report // of the last look
	plan    *release.Plan
	parcel  *release.Parcel // nil where nothing is sent
	refusal string          // why the host cannot take it
	why     string          // what the host said of a step that failed
	out     bool            // the host may be out of its balancer because of us
	duty    duty
}

// deploys reports whether the job puts a version on hosts, or brings them back to one.
func (t *attempt) deploys() bool {
	k := t.job.Action.Kind
	return k == sluice.DeployTo || k == sluice.RollBack
}

// prepareDeploy gets together what is needed whatever the host says.
func (t *attempt) prepareDeploy(ctx context.Context) error {
	d := &deploy{}
	t.deploy = d
	t.atEnd = append(t.atEnd, func() {
		if d.version.Close != nil {
			d.version.Close()
		}
	})
	t.learnSecrets(ctx)
	if t.a.Mode == Settle {
		return nil
	}
	d.wish = release.Wish{Kind: t.job.Action.Kind, Namespace: t.job.Namespace, Job: t.job.ID, Attempt: t.a.Attempt, By: t.job.By,
		Since: t.w.cfg.Clock().UTC().Format(time.RFC3339), Release: t.job.Action.Release, Once: t.job.Action.Once() == t.a.Host,
		After: t.job.Action.After() == t.a.Host, Wait: t.waits()}
	if back, ok := t.job.Action.Back[t.a.Host]; ok {
		d.wish.Back = &back
	}
	if t.job.Action.Kind == sluice.DeployTo {
		if t.w.cfg.Releases == nil {
			return errors.New("this worker has no artifacts")
		}
		v, err := t.w.cfg.Releases.Version(ctx, t.job, t.a.Host)
		if err != nil {
			return fmt.Errorf("the release is not there: %w", err)
		}
		d.version, d.wish.Tree, d.wish.Outside = v, v.Files, v.Links
	}
	return d.wish.Check()
}

// shortSecret is the length below which what was sealed is not masked: such as a 1 is everywhere.
const shortSecret = 4

// secretsWait is how long it may take to learn what is to be masked: a way back must not wait for what is away.
const secretsWait = 30 * time.Second

// learnSecrets has the secrets of configurations masked in what hooks and services print. Where they cannot be known, nothing that is
// printed is kept: what should have been done on the host goes on, as a way back must not depend on what is only masked.
func (t *attempt) learnSecrets(ctx context.Context) {
	if t.w.cfg.Releases == nil || t.job.Action.Release == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, secretsWait)
	defer cancel()
	list, err := t.w.cfg.Releases.Secrets(ctx, t.job, t.a.Host)
	if err != nil {
		t.stdout.hidden, t.stderr.hidden, t.blind = true, true, true
	}
	for _, s := range list {
		if value := s.Reveal(); len(value) >= shortSecret {
			t.secrets.Add(value)
		}
		s.Wipe()
	}
}

// shown is what a step said, for everybody to read. It is masked before it is cut: half a secret is none that is known.
func (t *attempt) shown(text string) string {
	if t.blind {
		return "what it says is not shown: there may be secrets in it that cannot be opened here"
	}
	return printable(t.secrets.Text(text))
}

// waits reports whether the steps wait for the worker.
func (t *attempt) waits() bool {
	return t.w.cfg.Service != nil && (t.w.cfg.Serves == nil || t.w.cfg.Serves(t.job))
}

// survey looks at the host, before anything of the attempt is there, and decides what would be done. Whether it is, and
// whether a refusal counts, is not known yet: the attempt may have been started long ago.
func (t *attempt) survey(ctx context.Context, link sluice.Link) error {
	d := t.deploy
	d.report, d.plan, d.parcel, d.refusal, t.parcel = nil, nil, nil, "", nil
	l, err := t.look(ctx, link)
	var odd *oddReport
	if errors.As(err, &odd) {
		// That keeps the attempt from starting, but not us from joining one that has.
		d.refusal = printable(odd.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer l.c.close()
	d.report = l.report
	if d.plan, err = release.Decide(d.wish, l.report); err != nil {
		d.refusal = printable(err.Error())
		return nil
	}
	if !d.plan.Needs() {
		return nil
	}
	lists, err := l.lists(ctx, t.w, d.plan.Linkable())
	if err != nil {
		return err
	}
	if d.parcel, err = d.plan.Parcel(lists); err == nil {
		err = d.plan.Fits(d.parcel)
	}
	if err != nil {
		d.refusal = printable(err.Error())
		return nil
	}
	t.parcel = &parcel{write: func(ctx context.Context, w io.Writer) error {
		return d.parcel.Write(w, func(sha string) (io.ReadCloser, error) { return d.version.Open(ctx, sha) })
	}}
	return nil
}

// steps is the text of the steps; "" where none was planned, for an attempt that is only joined.
func (d *deploy) steps(w *Worker) string {
	if d.plan == nil {
		return "s_main() {\nreturn 1\n}\n"
	}
	return d.plan.Steps(d.parcel, w.points)
}

// conclude adds to an outcome what the host has live. Where the host was taken out of its balancer and has what it had,
// because it was killed in between, it goes back.
func (t *attempt) concludeDeploy(ctx context.Context, link sluice.Link, e target.Evidence, r *sluice.TaskFinished) {
	d := t.deploy
	rel := t.job.Action.Release
	if rel == nil {
		return
	}
	if link == nil || e.Sight == target.SawNothing || e.Sight == target.SawRefusal || e.Sight == target.SawRevoked {
		if d.report != nil && r.NotStarted {
			r.Release = d.report.Activation(rel.App, rel.Env, t.a.Attempt)
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if d.wish.Release == nil {
		d.wish = release.Wish{Kind: t.job.Action.Kind, Release: rel}
	}
	l, err := t.look(ctx, link)
	if err != nil {
		return
	}
	l.c.close()
	r.Release = l.report.Activation(rel.App, rel.Env, t.a.Attempt)
	swung := l.report.Intent.Attempt == t.a.Attempt && l.report.Live == "versions/"+l.report.Intent.Tree
	if d.out && !swung && r.Outcome != sluice.Succeeded {
		if w := t.serve(ctx, link, "return"); w.why != "" {
			r.Reason += "; the host could not be brought back into its balancer: " + w.why
		}
	}
}

// oddReport is why what a host says of itself is of no use.
type oddReport struct{ text string }

func (o *oddReport) Error() string { return o.text }

// looking is a session in which the host says what it has.
type looking struct {
	c      *conn
	framer *target.Framer
	report *release.Report
	list   []byte // of the tree that is being received
	at     string // its name, "" for none
	got    bool
	wrong  error
}

// look asks the host; the session is open for lists afterwards.
func (t *attempt) look(ctx context.Context, link sluice.Link) (*looking, error) {
	ctx, cancel := context.WithTimeout(ctx, t.w.helloTimeout()+15*time.Second)
	defer cancel()
	c, err := t.open(ctx, link, false)
	if err != nil {
		return nil, err
	}
	n := nonce()
	l := &looking{c: c, framer: target.NewFramer(n), report: &release.Report{}}
	c.say(release.LookText(n, t.job.Target.Dir, t.deploy.wish))
	if err := l.read(ctx, func() bool { return l.report.Whole() }); err != nil {
		c.close()
		return nil, err
	}
	return l, nil
}

// read takes what the host says until that is enough.
func (l *looking) read(ctx context.Context, enough func() bool) error {
	var noise []byte
	for !enough() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p, ok := <-l.c.pieces:
			if !ok {
				status, err := l.c.session.Wait()
				if err == nil {
					err = &oddReport{fmt.Sprintf("the host does not say what it has: its shell ended with %d: %s", status.Code, lastLine(string(noise)))}
				}
				return err
			}
			if p.stderr {
				noise = last(append(noise, p.data...), 4<<10)
			} else {
				l.framer.Feed(p.data, l.item)
			}
			p.release()
			if l.wrong != nil {
				return &oddReport{l.wrong.Error()}
			}
		}
	}
	return nil
}

func (l *looking) item(i target.Item) {
	switch {
	case l.wrong != nil:
	case i.Word == "" && l.at != "":
		if l.list = append(l.list, i.Data...); len(l.list) > longestList {
			l.wrong = errors.New("a list of files on the host is longer than any can be")
		}
	case i.Word == "": // what rc files print
	case i.Word == "list":
		l.at, l.list = i.Rest, nil
	case i.Word == ".":
		l.at, l.got = "", true
	default:
		l.wrong = l.report.Take(i.Word, i.Rest)
	}
}

const (
	longestList = 256 << 20
	fetchLists  = 2  // lists that are fetched from a host, if they are not known
	useLists    = 8  // lists that are used
	keepLists   = 32 // lists that are remembered, if they are not long
	longList    = 50_000
)

// lists are the lists of files of some trees, by name. Those that are known by their digest are not fetched.
func (l *looking) lists(ctx context.Context, w *Worker, trees []release.Tree) (map[string]manifest.Manifest, error) {
	out, fetched := map[string]manifest.Manifest{}, 0
	for _, tree := range trees[:min(len(trees), useLists)] {
		if m, ok := w.list(tree.Manifest); ok {
			out[tree.Name] = m
			continue
		}
		if fetched++; fetched > fetchLists {
			continue
		}
		l.got = false
		l.c.say("m " + tree.Name + "\n")
		if err := l.read(ctx, func() bool { return l.got }); err != nil {
			return nil, err
		}
		// One that is damaged is none: then more is sent.
		if m, err := manifest.Parse(l.list); err == nil && m.Digest() == tree.Manifest {
			out[tree.Name] = m
			w.keepList(tree.Manifest, m)
		}
	}
	return out, nil
}

func (w *Worker) list(digest string) (manifest.Manifest, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.manifests[digest]
	return m, ok
}

func (w *Worker) keepList(digest string, m manifest.Manifest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(m) > longList {
		return
	}
	if len(w.manifests) >= keepLists {
		clear(w.manifests)
	}
	w.manifests[digest] = m
}
