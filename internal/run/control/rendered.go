package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/core/template"
	"sluice/internal/run/tarball"
)

// Bounds of a comparison.
const (
	comparedAtOnce = 2        // comparisons that are made at the same time: each reads archives
	mostRendered   = 64 << 20 // bytes of a manifest, or of the configurations of a release
	mostOrigins    = 20       // releases that are live on the hosts
	mostPairs      = 1000     // different configurations of hosts
)

// FileChanges says what a deploy changes in the files that are made for its hosts, against what is live there. Nothing is opened
// that is sealed. What cannot be compared is named with the reason.
func (s *Service) FileChanges(ctx context.Context, d *Draft) (release.Changes, error) {
	rel := d.Job.Action.Release
	if d.Job.Action.Kind != sluice.DeployTo || rel == nil {
		return release.Changes{}, sluice.Errorf(sluice.Usage, "only a deploy makes files for hosts")
	}
	first := s.begun()
	select {
	case first.compares <- struct{}{}:
		defer func() { <-first.compares }()
	case <-ctx.Done():
		return release.Changes{}, ctx.Err()
	}
	c := &comparing{s: s, ctx: ctx, Comparison: release.NewComparison(d.Job.Targets)}
	there, err := c.live(d)
	if err != nil {
		return release.Changes{}, err
	}
	if c.now, err = s.rendering(ctx, rel); err != nil {
		return release.Changes{}, err
	}
	for i, from := range there {
		if i >= mostOrigins {
			c.Unknown(from.hosts, fmt.Sprintf("more than %d releases are live on the hosts, and this one was not compared", mostOrigins))
			continue
		}
		if err := c.compare(from); err != nil {
			return release.Changes{}, err
		}
	}
	return c.Changes(), nil
}

// comparing is one comparison.
type comparing struct {
	*release.Comparison
	s     *Service
	ctx   context.Context // of the one call that it is of
	now   *rendering
	pairs int
}

// origin is what is live on some hosts: what a job deployed, or nothing at all.
type origin struct {
	job   sluice.JobID
	rel   *sluice.Release
	hosts []sluice.Host
}

// live says of all hosts whose work is live there, those with most hosts first. Where that is not known, the hosts are told as such.
func (c *comparing) live(d *Draft) ([]*origin, error) {
	rel := d.Job.Action.Release
	list, err := c.s.Live(c.ctx, LiveQuery{Namespace: d.Job.Namespace, App: rel.App, Env: rel.Env})
	if err != nil {
		return nil, err
	}
	is := make(map[sluice.Host]*Live, len(list))
	for i := range list {
		is[list[i].Host] = &list[i]
	}
	by := map[sluice.JobID]*origin{}
	jobs := map[sluice.JobID]*sluice.Release{}
	var out []*origin
	for _, h := range d.Job.Targets {
		id, from, reason, err := c.origin(is[h], jobs)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			c.Unknown([]sluice.Host{h}, reason)
			continue
		}
		if by[id] == nil {
			by[id] = &origin{job: id, rel: from}
			out = append(out, by[id])
		}
		by[id].hosts = append(by[id].hosts, h)
	}
	slices.SortStableFunc(out, func(a, b *origin) int { return cmp.Compare(len(b.hosts), len(a.hosts)) })
	return out, nil
}

// origin is the job that deployed what is live on a host, and what it deployed; "" and nil where nothing is. A reason says why that
// is not known.
func (c *comparing) origin(l *Live, jobs map[sluice.JobID]*sluice.Release) (id sluice.JobID, rel *sluice.Release, reason string, err error) {
	switch {
	case l == nil:
		return "", nil, "no deploy of the app there is on record", nil
	case !l.Known:
		return "", nil, fmt.Sprintf("it is not known what is live: %s (job %s)", l.Why, l.Last), nil
	case l.Changed:
		_, reason := l.Told()
		return "", nil, reason, nil
	case l.Live.Version == "":
		return "", nil, "", nil
	}
	for _, id := range []sluice.JobID{l.Job, l.Origin} { // who brought it back may have deployed something else
		if id == "" {
			continue
		}
		rel, known := jobs[id]
		if !known {
			i, _, err := c.s.Info(c.ctx, string(id))
			if err != nil && sluice.CodeOf(err) != sluice.NotFound {
				return "", nil, "", err
			}
			if err == nil && i.Spec.Action.Kind == sluice.DeployTo {
				rel = i.Spec.Action.Release
			}
			jobs[id] = rel
		}
		if rel != nil && rel.Version == l.Live.Version && rel.Config == l.Config {
			return id, rel, "", nil
		}
	}
	return "", nil, fmt.Sprintf("no deploy of %s, which is live, is on record", l.Live.Version), nil
}

// compare compares what is live on some hosts with what they shall have.
func (c *comparing) compare(from *origin) error {
	was := &rendering{}
	if from.rel != nil {
		var err error
		if was, err = c.s.rendering(c.ctx, from.rel); err != nil {
			return c.notRendered(from, from.hosts, err)
		}
	}
	type pair struct{ was, now string }
	by := map[pair][]sluice.Host{}
	var order []pair
	for _, h := range from.hosts {
		p := pair{was.config(h), c.now.config(h)}
		if by[p] == nil {
			order = append(order, p)
		}
		by[p] = append(by[p], h)
	}
	slices.SortStableFunc(order, func(a, b pair) int { return cmp.Compare(len(by[b]), len(by[a])) })
	for _, p := range order {
		if c.pairs++; c.pairs > mostPairs {
			c.Unknown(by[p], fmt.Sprintf("there are more than %d different configurations, and this one was not compared", mostPairs))
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		now, err := c.now.closed(p.now)
		if err != nil {
			return err
		}
		before, err := was.closed(p.was)
		if err != nil {
			if err := c.notRendered(from, by[p], err); err != nil {
				return err
			}
			continue
		}
		c.Compared(by[p], before, now)
	}
	return nil
}

// notRendered tells hosts of which what is live cannot be rendered once more.
func (c *comparing) notRendered(from *origin, hosts []sluice.Host, err error) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	c.Unknown(hosts, fmt.Sprintf("what job %s deployed there: %s", from.job, strings.ReplaceAll(err.Error(), "\n", "; ")))
	return nil
}

// rendering is what a release comes to on hosts. The zero value is that of nothing.
type rendering struct {
	renderer *release.Renderer
	configs  *release.Configs

	last string // the configuration that was rendered last, as most hosts have the same
	is   *release.Closed
}

// rendering reads all that the files of a release are made of, where it is kept.
func (s *Service) rendering(ctx context.Context, rel *sluice.Release) (*rendering, error) {
	out := &rendering{}
	if rel.Config != "" {
		text, err := s.piece(ctx, "configuration", rel.Config)
		if err != nil {
			return nil, err
		}
		all, err := release.ParseConfigs(text)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Conflict, Text: "what is named as the configuration", Err: err}
		}
		out.configs = &all
	}
	text, err := s.piece(ctx, "manifest", rel.Manifest)
	if err != nil {
		return nil, err
	}
	files, err := manifest.Parse(text)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Conflict, Text: "what is named as the manifest", Err: err}
	}
	texts, err := s.templates(ctx, rel, files)
	if err != nil {
		return nil, err
	}
	out.renderer, err = release.NewRenderer(files, rel.Deploy.Templates, func(e manifest.Entry) ([]byte, error) { return texts[e.Path], nil })
	return out, err
}

// piece is something of a release that is kept.
func (s *Service) piece(ctx context.Context, what, digest string) ([]byte, error) {
	text, err := s.Content(ctx, digest, mostRendered)
	if sluice.CodeOf(err) == sluice.NotFound {
		return nil, sluice.Errorf(sluice.NotFound, "the %s is not kept any more", what)
	}
	return text, err
}

// templates are the texts of a release's templates, from its archive.
func (s *Service) templates(ctx context.Context, rel *sluice.Release, files manifest.Manifest) (map[string][]byte, error) {
	sums := map[string]string{}
	for _, t := range rel.Deploy.Templates {
		at, there := slices.BinarySearchFunc(files, t.From, func(e manifest.Entry, p string) int { return strings.Compare(e.Path, p) })
		if !there || files[at].Kind != manifest.File || files[at].Size > template.MaxBytes {
			return nil, sluice.Errorf(sluice.Config, "the artifact has no template %s", t.From)
		}
		sums[t.From] = files[at].SHA256
	}
	if len(sums) == 0 {
		return nil, nil
	}
	in, err := s.Blobs.Open(ctx, rel.Artifact)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sluice.Errorf(sluice.NotFound, "the archive is not kept any more")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	return tarball.Texts(ctx, in, tarball.DefaultLimits(), sums, template.MaxBytes)
}

// config is the configuration of a host; "" for none.
func (r *rendering) config(h sluice.Host) string {
	if r.configs == nil {
		return ""
	}
	return string(r.configs.For(h))
}

// closed is what hosts with a configuration have.
func (r *rendering) closed(config string) (release.Closed, error) {
	if r.renderer == nil {
		return release.Closed{}, nil
	}
	if r.is != nil && r.last == config {
		return *r.is, nil
	}
	is, err := r.renderer.Closed(config)
	if err == nil {
		r.last, r.is = config, &is
	}
	return is, err
}
