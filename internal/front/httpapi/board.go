package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/run/control"
)

// Boards are jobs as pages show them.
type Boards interface {
	Standing(ctx context.Context, id sluice.JobID) (control.Standing, error)
	// Board calls f with both at the same number of the log. f must not keep or change the board.
	Board(ctx context.Context, id sluice.JobID, f func(control.Standing, *view.Board) error) error
	// Past is Board without tasks and what they wait for.
	Past(ctx context.Context, id sluice.JobID, f func(control.Standing, *view.Board) error) error
}

const (
	timelinePoints = 240
	// mostTags is how many tags a board has.
	mostTags = 500
)

// boardStates are what hosts can be, in the order in which people read them. The first two have no outcome.
var boardStates = func() []string {
	out := []string{"waiting", "running"}
	for _, o := range sluice.Outcomes {
		out = append(out, string(o))
	}
	return out
}()

type timelineQuery struct {
	ByID
	Group string `query:"group" maxLength:"1000" doc:"of the hosts in this group alone: one of constraints or, for those who may see the fleet, a tag"`
}

type (
	oneBoard    struct{ Body api.Board }
	oneStanding struct{ Body api.JobStanding }
	oneTimeline struct{ Body api.Timeline }
)

func (a *API) addBoards() {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api/v1/jobs/{id}" + path, Tags: []string{jobTag}, Summary: summary,
			Description: description, Errors: []int{http.StatusNotFound}}
	}
	route(a, sluice.SeeJobs, op("get-job-board", "/board", "A job as a page shows it",
		"All that a page needs that is opened in the middle of a job, at one number of the log: the events after seq follow without a gap."), getBoard)
	route(a, sluice.SeeJobs, op("get-job-standing", "/standing", "Where a job stands",
		"The job, the room that there is under its constraints, and what its hosts wait for: what changes with other jobs, too, and is in no event of this one."), getStanding)
	route(a, sluice.SeeJobs, op("get-job-timeline", "/timeline", "How many hosts of a job were in flight, out and done", ""), getTimeline)
}

func getStanding(ctx context.Context, c caller, in *ByID) (*oneStanding, error) {
	_, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	st, err := c.api.cfg.Boards.Standing(ctx, id)
	if err != nil {
		return nil, err
	}
	return &oneStanding{c.standingOf(st)}, nil
}

func (c caller) standingOf(st control.Standing) api.JobStanding {
	out := api.JobStanding{Seq: st.Seq, Time: c.api.cfg.Clock(), Job: jobOf(st.Info, st.Driven), Constraints: []api.Room{}, Waits: []api.Wait{}}
	out.Job.PlanDigest = c.api.digests.of(st.Info.Spec)
	for _, g := range st.Groups {
		r := api.Room{Constraint: g.Constraint, Group: g.Name, Limit: g.Limit.String(), Frozen: g.Frozen, Capacity: g.Capacity, Members: g.Members,
			Running: g.Running, Out: g.Out, Holders: []api.Holder{}}
		for _, h := range g.Holders {
			r.Holders = append(r.Holders, holderOf(h))
		}
		out.Constraints = append(out.Constraints, r)
	}
	for _, w := range st.Waits {
		w.Reason.Holders = w.Holders[:min(len(w.Holders), schedule.MostHolders)]
		out.Waits = append(out.Waits, api.Wait{Reason: reasonOf(w.Reason), Hosts: w.Hosts})
	}
	return out
}

func getBoard(ctx context.Context, c caller, in *ByID) (*oneBoard, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &oneBoard{}
	err = c.api.cfg.Boards.Board(ctx, id, func(st control.Standing, b *view.Board) error {
		out.Body = c.boardOf(st, b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	tags := c.tags(ctx, desk, out.Body.Job.Namespace, out.Body.Hosts.Names)
	out.Body.TagsLeft = max(0, len(tags)-mostTags)
	out.Body.Tags = tags[:min(len(tags), mostTags)]
	return out, nil
}

func (c caller) boardOf(st control.Standing, b *view.Board) api.Board {
	spec := st.Info.Spec
	out := api.Board{JobStanding: c.standingOf(st), Expression: spec.Expression, Action: string(spec.Action.Kind), ReadOnly: spec.Options.ReadOnly,
		Started: moment(b.Started), Ended: moment(b.Ended), States: boardStates, Stages: []api.BoardStage{}, Hosts: hostColumns(st, b)}
	for i, g := range st.Groups {
		out.Constraints[i].Targets = view.Runs(g.Targets)
	}
	at := 0
	for _, t := range spec.Tracks {
		for _, s := range t.Stages {
			stage := api.BoardStage{Track: t.Name, Stage: s.Name, Index: b.Stages[at].Index, Hosts: b.Stages[at].Hosts, Opened: moment(b.Stages[at].Opened),
				MaxFailures: s.MaxFailures, Approve: s.Gate.Approve}
			if s.Gate.Pause > 0 {
				stage.Pause = s.Gate.Pause.String()
			}
			out.Stages = append(out.Stages, stage)
			at++
		}
	}
	out.Timeline = timelineOf(b, nil, out.Time)
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// hostColumns take how a host stands from the schedule, and what it went through from the events.
func hostColumns(st control.Standing, b *view.Board) api.BoardHosts {
	n := len(b.Tasks)
	h := api.BoardHosts{Names: make([]sluice.Host, n), Stage: make([]int, n), State: make([]int, n), Attempt: make([]int, n), Since: make([]int64, n),
		Took: make([]int64, n), Odd: api.OddHosts{Host: []int{}, Exit: []int{}, Step: []string{}}}
	for i := range b.Tasks {
		t, task := &b.Tasks[i], st.Tasks[i]
		h.Names[i], h.Stage[i], h.Attempt[i], h.Since[i] = t.Host, t.Stage, task.Try, -1
		switch {
		case task.Running:
			h.State[i], h.Since[i] = 1, t.Since.Sub(b.Submitted).Milliseconds()
		case !task.Pending:
			h.State[i] = slices.Index(boardStates, string(task.Outcome))
			if !t.At.IsZero() {
				h.Since[i], h.Took[i] = t.At.Sub(b.Submitted).Milliseconds(), t.Took.Milliseconds()
			}
		}
		if task.Running && len(t.Steps) > 0 || !task.Running && !task.Pending && !task.Outcome.Passed() {
			exit, step := -1, ""
			if t.ExitCode != nil && !task.Running {
				exit = *t.ExitCode
			}
			if k := len(t.Steps); k > 0 {
				step = t.Steps[k-1].Step
			}
			h.Odd.Host, h.Odd.Exit, h.Odd.Step = append(h.Odd.Host, i), append(h.Odd.Exit, exit), append(h.Odd.Step, step)
		}
	}
	return h
}

// tags are those of the current fleet that targets carry, in the order of the fleet. Who may not see the fleet, or where none
// was applied, has none.
func (c caller) tags(ctx context.Context, desk control.Desk, ns sluice.Namespace, targets []sluice.Host) []api.BoardTag {
	out := []api.BoardTag{}
	if c.api.cfg.Rights.Allow(ctx, c.Bearer, access.Ask{Right: sluice.SeeFleet, Namespace: ns, Anywhere: true}) != nil {
		return out
	}
	loaded, _, err := desk.Fleet(ctx, ns)
	if err != nil {
		return out
	}
	number := make(map[sluice.Host]int, len(targets))
	for i, h := range targets {
		number[h] = i
	}
	f := loaded.Fleet()
	for _, tag := range f.TagOrder {
		if members := numbersOf(f.Tags[tag], number); len(members) > 0 {
			out = append(out, api.BoardTag{Tag: tag, Hosts: view.Runs(members)})
		}
	}
	return out
}

// numbersOf are the numbers of those hosts that have one, ascending.
func numbersOf(hosts []sluice.Host, number map[sluice.Host]int) (out []int) {
	for _, h := range hosts {
		if i, is := number[h]; is {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

func getTimeline(ctx context.Context, c caller, in *timelineQuery) (*oneTimeline, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &oneTimeline{}
	err = c.api.cfg.Boards.Past(ctx, id, func(st control.Standing, b *view.Board) error {
		of, err := c.group(ctx, desk, st, in.Group)
		if err == nil {
			out.Body = timelineOf(b, of, c.api.cfg.Clock())
		}
		return err
	})
	return out, err
}

// group says which targets are in a group; nil is all of them.
func (c caller) group(ctx context.Context, desk control.Desk, st control.Standing, name string) (func(int) bool, error) {
	if name == "" {
		return nil, nil
	}
	in := make([]bool, len(st.Info.Spec.Targets))
	is := func(i int) bool { return in[i] }
	for _, g := range st.Groups {
		if g.Name == name {
			for _, i := range g.Targets {
				in[i] = true
			}
			return is, nil
		}
	}
	for _, t := range c.tags(ctx, desk, st.Info.Spec.Namespace, st.Info.Spec.Targets) {
		if string(t.Tag) == strings.TrimPrefix(name, "$") {
			for k := 0; k < len(t.Hosts); k += 2 {
				for i := range t.Hosts[k+1] {
					in[t.Hosts[k]+i] = true
				}
			}
			return is, nil
		}
	}
	return nil, sluice.Errorf(sluice.NotFound, "job %s has no target in %q", st.Info.Spec.ID, name).WithHint("the board of the job has the groups and tags that there are")
}

// timelineOf draws up to the end of a job, or up to now.
func timelineOf(b *view.Board, of func(int) bool, now time.Time) api.Timeline {
	if !b.Ended.IsZero() {
		now = b.Ended
	}
	t := b.Timeline(of, now, timelinePoints)
	return api.Timeline{Step: t.Step.Milliseconds(), InFlight: t.InFlight, Out: t.Out, Done: t.Done}
}
