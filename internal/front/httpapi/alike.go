package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/linediff"
	"sluice/internal/core/printed"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

const (
	// mostShown is how many bytes of one line are shown in few words.
	mostShown = 400
	// firstLines and firstBytes are what is shown of a text that several hosts printed.
	firstLines = 12
	firstBytes = 8 << 10
	// comparedBytes and comparedLines are how much of two texts is compared; mostDiffLines how much of that is shown.
	comparedBytes = 1 << 20
	comparedLines = 20_000
	mostDiffLines = 2_000
	diffAround    = 3
)

type failuresQuery struct {
	ByID
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"what the last page gave as next"`
	Named  int    `query:"named" minimum:"0" maximum:"100000" default:"50" doc:"at most so many names of hosts for each"`
}

type failuresPage struct {
	Encoding string `header:"Content-Encoding"`
	Body     struct {
		Hosts    int           `json:"hosts" doc:"how many did not succeed"`
		Failures []api.Failure `json:"failures" doc:"hosts that failed alike together, what ended last first"`
		NoOutput string        `json:"no_output,omitempty" doc:"why the last lines are not there, and do not count"`
		Next     string        `json:"next,omitempty" doc:"the cursor of the next page; there is none after the last"`
	}
}

// OfStream is the path of a job, and one of the streams of its hosts.
type OfStream struct {
	ByID
	Stream string `query:"stream" enum:"stdout,stderr" default:"stdout"`
}

type groupsQuery struct {
	OfStream
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"what the last page gave as next"`
	Named  int    `query:"named" minimum:"0" maximum:"100000" default:"50" doc:"at most so many names of hosts for each"`
}

type groupsPage struct {
	Encoding string `header:"Content-Encoding"`
	Body     struct {
		Count   int         `json:"count" doc:"how many texts there are"`
		Running int         `json:"running" doc:"hosts whose attempt runs: they are in no group yet"`
		Waiting int         `json:"waiting" doc:"hosts on which nothing has run"`
		Groups  []api.Alike `json:"groups" doc:"the largest first"`
		Next    string      `json:"next,omitempty" doc:"the cursor of the next page; there is none after the last"`
	}
}

type oneGroupQuery struct {
	OfStream
	Digest string `path:"digest" maxLength:"64"`
	Named  int    `query:"named" minimum:"0" maximum:"100000" default:"1000" doc:"at most so many names of hosts"`
}

type oneGroup struct {
	Encoding string `header:"Content-Encoding"`
	Body     struct {
		api.Alike
		Text    []string `json:"text" doc:"its lines, made safe to show, as far as 200 kB of it go; the whole is the output of any of its hosts"`
		Longer  bool     `json:"longer,omitempty" doc:"there is more of it"`
		Host    string   `json:"host" doc:"one of its hosts"`
		Attempt int      `json:"attempt" doc:"the number of the attempt there"`
	}
}

type groupDiffQuery struct {
	OfStream
	Digest string `path:"digest" maxLength:"64" doc:"the first text"`
	With   string `query:"with" maxLength:"64" doc:"the digest of the second text"`
}

type groupDiff struct {
	Encoding string `header:"Content-Encoding"`
	Body     struct {
		Runs  []api.Run `json:"runs" doc:"lines that differ, with three around them"`
		Gone  int       `json:"gone" doc:"lines that the first text has alone"`
		New   int       `json:"new" doc:"lines that the second text has alone"`
		Whole bool      `json:"whole" doc:"false: only the first 1 MB, or 20,000 lines, were compared, or there is more that differs than is shown"`
	}
}

func (a *API) addAlike() {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api/v1/jobs/{id}/" + path, Tags: []string{jobTag},
			Summary: summary, Description: description, Errors: []int{http.StatusNotFound}}
	}
	route(a, sluice.SeeJobs, op("list-failures", "failures", "Hosts on which a job did not succeed, those that failed alike together",
		"What hosts printed last is there for those who have the right job.output, too."), listFailures)
	route(a, sluice.SeeOutput, op("list-groups", "groups", "Hosts of a job by what they printed",
		"Those whose last attempt printed the same stand together. Of long texts the first part is compared, and the length."), listGroups)
	route(a, sluice.SeeOutput, op("get-group", "groups/{digest}", "A text that hosts of a job printed", ""), getGroup)
	route(a, sluice.SeeOutput, op("diff-groups", "groups/{digest}/diff", "What differs between two texts that hosts of a job printed", ""), diffGroups)
}

// lookAt is job for a page that asks for output where one may see it: it says why not, and does not note that as an attempt.
func (c caller) outputOf(ctx context.Context, desk control.Desk, id sluice.JobID) (why string, err error) {
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return "", err
	}
	m, err := c.would(ctx, "output", access.Ask{Right: sluice.SeeOutput, Namespace: i.Spec.Namespace, Hosts: i.Spec.Targets})
	if err != nil || m.May {
		return "", err
	}
	return m.Why, nil
}

func listFailures(ctx context.Context, c caller, in *failuresQuery) (*failuresPage, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	why, err := c.outputOf(ctx, desk, id)
	if err != nil {
		return nil, err
	}
	j, list, err := c.api.cfg.Lists.Failures(ctx, id, why == "")
	if err != nil {
		return nil, err
	}
	if why == "" && len(list) > 0 && j.Removed == nil {
		reading := c
		reading.right = sluice.SeeOutput
		if err := reading.reads(ctx, ""); err != nil {
			return nil, err
		}
	}
	out := &failuresPage{Encoding: unpacked}
	out.Body.NoOutput, out.Body.Failures = why, []api.Failure{}
	if j.Removed != nil && why == "" {
		out.Body.NoOutput = control.Removed(id, *j.Removed).Error()
	}
	for _, f := range list {
		out.Body.Hosts += len(f.Tasks)
	}
	rest, err := behind(list, in.Cursor, func(f *view.Failure) string { return f.ID })
	if err != nil {
		return nil, err
	}
	if len(rest) > in.Limit {
		out.Body.Next, rest = rest[in.Limit-1].ID, rest[:in.Limit]
	}
	for _, f := range rest {
		out.Body.Failures = append(out.Body.Failures, failureOf(f, in.Named))
	}
	return out, nil
}

// behind is what comes after the item of a list that a cursor names.
func behind[T any](list []T, cursor string, name func(T) string) ([]T, error) {
	if cursor == "" {
		return list, nil
	}
	i := slices.IndexFunc(list, func(v T) bool { return name(v) == cursor })
	if i < 0 {
		return nil, sluice.Errorf(sluice.Usage, "cursor: there is no page that begins there any more").WithHint("begin anew, without it")
	}
	return list[i+1:], nil
}

func failureOf(f *view.Failure, named int) api.Failure {
	newest := f.Tasks[0]
	a := view.Attempt{ID: newest.Attempt}
	return api.Failure{ID: f.ID, Outcome: f.Outcome, Step: clean.Line(f.Step), Exit: f.Exit, Signal: clean.Line(f.Signal), Reason: clean.Line(f.Reason), Stderr: shown(f.Stderr),
		Stdout: shown(f.Stdout), Hosts: len(f.Tasks), Named: names(f.Tasks, named), First: f.Tasks[len(f.Tasks)-1].At, Last: newest.At, Attempt: a.Number()}
}

// shown are lines made safe to show, each in few words.
func shown(lines []string) []string {
	out := []string{}
	for _, l := range lines {
		out = append(out, clean.Cut(l, mostShown))
	}
	return out
}

func names(tasks []*view.Task, most int) []sluice.Host {
	out := []sluice.Host{}
	for _, t := range tasks[:min(len(tasks), most)] {
		out = append(out, t.Host)
	}
	return out
}

// groups are those of a job that the caller may read.
func (c caller) groups(ctx context.Context, in *OfStream) (*view.Job, []*control.Alike, error) {
	_, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, nil, err
	}
	j, list, err := c.api.cfg.Lists.Groups(ctx, id, in.Stream)
	if err == nil {
		err = c.reads(ctx, "")
	}
	return j, list, err
}

func listGroups(ctx context.Context, c caller, in *groupsQuery) (*groupsPage, error) {
	j, list, err := c.groups(ctx, &in.OfStream)
	if err != nil {
		return nil, err
	}
	out := &groupsPage{Encoding: unpacked}
	out.Body.Count, out.Body.Running, out.Body.Groups = len(list), j.Running, []api.Alike{}
	for i := range j.Tasks {
		if j.Tasks[i].Attempt == "" {
			out.Body.Waiting++
		}
	}
	rest, err := behind(list, in.Cursor, func(g *control.Alike) string { return g.String() })
	if err != nil {
		return nil, err
	}
	if len(rest) > in.Limit {
		out.Body.Next, rest = rest[in.Limit-1].String(), rest[:in.Limit]
	}
	for _, g := range rest {
		one, err := c.alike(ctx, j, g, in.Stream, in.Named)
		if err != nil {
			return nil, err
		}
		out.Body.Groups = append(out.Body.Groups, one)
	}
	return out, nil
}

func (c caller) alike(ctx context.Context, j *view.Job, g *control.Alike, stream string, named int) (api.Alike, error) {
	out := api.Alike{Digest: g.String(), Hosts: len(g.Tasks), Named: names(g.Tasks, named), Outcomes: map[sluice.Outcome]int{}, Size: g.Size, Cut: g.Cut, Part: !g.Whole()}
	for _, t := range g.Tasks {
		if t.Outcome != "" {
			out.Outcomes[t.Outcome]++
		}
	}
	text, err := c.api.cfg.Lists.Begins(ctx, j.ID, g.Tasks[0].Attempt, stream, firstBytes)
	lines, more := printed.Head(text, firstLines)
	out.Begins, out.More = shown(lines), more || int64(len(text)) < g.Size
	return out, err
}

// group is the one of a digest.
func group(list []*control.Alike, digest string) (*control.Alike, error) {
	i := slices.IndexFunc(list, func(g *control.Alike) bool { return g.String() == digest })
	if i < 0 {
		return nil, sluice.Errorf(sluice.NotFound, "no host of the job printed a text of that digest").WithHint("GET groups lists them; a host that was tried again may have printed another one")
	}
	return list[i], nil
}

func getGroup(ctx context.Context, c caller, in *oneGroupQuery) (*oneGroup, error) {
	j, list, err := c.groups(ctx, &in.OfStream)
	if err != nil {
		return nil, err
	}
	g, err := group(list, in.Digest)
	if err != nil {
		return nil, err
	}
	out := &oneGroup{Encoding: unpacked}
	if out.Body.Alike, err = c.alike(ctx, j, g, in.Stream, in.Named); err != nil {
		return nil, err
	}
	const most = 200_000
	text, err := c.api.cfg.Lists.Begins(ctx, j.ID, g.Tasks[0].Attempt, in.Stream, most)
	if err != nil {
		return nil, err
	}
	a := view.Attempt{ID: g.Tasks[0].Attempt}
	out.Body.Text, out.Body.Longer = []string{}, int64(len(text)) < g.Size
	for _, l := range printed.Lines(text) {
		out.Body.Text = append(out.Body.Text, clean.Cut(l, 10*mostShown))
	}
	out.Body.Host, out.Body.Attempt = string(g.Tasks[0].Host), a.Number()
	return out, nil
}

func diffGroups(ctx context.Context, c caller, in *groupDiffQuery) (*groupDiff, error) {
	j, list, err := c.groups(ctx, &in.OfStream)
	if err != nil {
		return nil, err
	}
	out := &groupDiff{Encoding: unpacked}
	out.Body.Runs, out.Body.Whole = []api.Run{}, true
	var texts [2][]string
	for i, digest := range []string{in.Digest, in.With} {
		g, err := group(list, digest)
		if err != nil {
			return nil, err
		}
		text, err := c.api.cfg.Lists.Begins(ctx, j.ID, g.Tasks[0].Attempt, in.Stream, comparedBytes)
		if err != nil {
			return nil, err
		}
		var cut bool
		texts[i], cut = printed.Head(text, comparedLines)
		out.Body.Whole = out.Body.Whole && !cut && int64(len(text)) == g.Size
	}
	lines := linediff.Diff(texts[0], texts[1])
	for _, l := range lines {
		switch l.Kind {
		case linediff.Gone:
			out.Body.Gone++
		case linediff.New:
			out.Body.New++
		}
	}
	left := mostDiffLines
	for _, run := range linediff.Runs(lines, diffAround) {
		if len(run) > left {
			run, out.Body.Whole = run[:left], false
		}
		left -= len(run)
		r := api.Run{Lines: []api.RunLine{}}
		for _, l := range run {
			r.Lines = append(r.Lines, api.RunLine{Kind: string(l.Kind), Text: clean.Cut(l.Text, 10*mostShown), Was: l.Was, Now: l.Now})
		}
		if len(run) > 0 {
			out.Body.Runs = append(out.Body.Runs, r)
		}
	}
	return out, nil
}
