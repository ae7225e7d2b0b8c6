package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
	"sluice/internal/run/control"
	"sluice/sealed"
)

// jobLine is a job in a list, as JSON.
type jobLine struct {
	Job       sluice.JobID           `json:"job"`
	State     string                 `json:"state"`
	Halting   bool                   `json:"halting,omitzero"`
	Driven    bool                   `json:"driven"` // a live process carries it out
	Submitted time.Time              `json:"submitted"`
	By        string                 `json:"by"`
	Namespace sluice.Namespace       `json:"namespace"`
	Command   string                 `json:"command"`
	Targets   int                    `json:"targets"`
	Running   int                    `json:"running"`
	Counts    map[sluice.Outcome]int `json:"counts"`
}

// plainState is one of the states that programs rely on: a job that is being halted still runs.
func plainState(s string) string {
	if s == string(schedule.Halting) {
		return string(schedule.Running)
	}
	return s
}

func line(i schedule.Info, driven bool) jobLine {
	return jobLine{Job: i.Spec.ID, State: plainState(string(i.State)), Halting: i.State == schedule.Halting, Driven: driven,
		Submitted: i.Submitted.UTC(), By: i.Spec.By, Namespace: i.Spec.Namespace, Command: i.Spec.Command,
		Targets: len(i.Spec.Targets), Running: i.Running, Counts: i.Counts}
}

var errFewerThanOne = sluice.Errorf(sluice.Usage, "-n: at least 1 is shown")

func (a *app) jobsCommand() *cobra.Command {
	var most int
	var all bool
	c := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, newest first",
		Args:  args(0, 0, "no arguments"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, _ []string) error {
			if most < 1 {
				return errFewerThanOne
			}
			jobs, err := svc.Jobs(c.Context())
			if err != nil {
				return err
			}
			if !all && len(jobs) > most {
				jobs = jobs[:most]
			}
			return a.printJobs(svc, jobs)
		}),
	}
	c.Flags().IntVarP(&most, "last", "n", 20, "show the last `N` jobs")
	c.Flags().BoolVar(&all, "all", false, "show all jobs")
	return c
}

func (a *app) printJobs(svc control.Desk, jobs []schedule.Info) error {
	if a.json() {
		return printEach(a, jobs, func(i schedule.Info) jobLine { return line(i, svc.Driven(i.Spec.ID)) })
	}
	if len(jobs) == 0 {
		fmt.Fprintln(a.Stderr, "There are no jobs yet. Start one with: sluice run -w HOSTS -- COMMAND")
		return nil
	}
	fmt.Fprintf(a.Stdout, "%-12s  %-19s  %-9s  %-15s  %s\n", "JOB", "SUBMITTED", "STATE", "HOSTS", "COMMAND")
	for _, i := range jobs {
		done := 0
		for _, n := range i.Counts {
			done += n
		}
		state := string(i.State)
		fmt.Fprintf(a.Stdout, "%-12s  %-19s  %-9s  %-15s  %s\n", i.Spec.ID, i.Submitted.Local().Format("2006-01-02 15:04:05"), state,
			fmt.Sprintf("%d/%d %s", done, len(i.Spec.Targets), orphan(i, svc.Driven(i.Spec.ID))), cut(clean.Line(i.Spec.Command), a.width()-64))
	}
	return nil
}

// orphan marks a job that goes on, but that no process carries out.
func orphan(i schedule.Info, driven bool) string {
	switch i.State {
	case schedule.Succeeded, schedule.Failed, schedule.Cancelled, schedule.Halted:
		return ""
	}
	if driven {
		return ""
	}
	return "left"
}

// width is that of the terminal, or of none.
func (a *app) width() int {
	if a.Size != nil && a.StdoutTerminal {
		if w, _ := a.Size(); w > 0 {
			return w
		}
	}
	return 200
}

func cut(s string, n int) string {
	n = max(n, 10)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// jobStatus is a whole job, as JSON.
type jobStatus struct {
	jobLine
	Started time.Time    `json:"started,omitzero"`
	Ended   time.Time    `json:"ended,omitzero"`
	Fleet   string       `json:"fleet,omitzero"`
	Halted  *haltedLine  `json:"halted,omitzero"`
	Undone  sluice.JobID `json:"undone,omitzero"` // the job that brings its hosts back
	Undoes  sluice.JobID `json:"undoes,omitzero"` // the job whose hosts it brings back
	Reason  string       `json:"reason,omitzero"` // why it exists, where nobody asked for it
	// Validation is what the validation of a deploy came to; Validates the deploy that this job validates.
	Validation *validationLine `json:"validation,omitzero"`
	Validates  sluice.JobID    `json:"validates,omitzero"`
	// Because is why it ended before it started anything.
	Because string `json:"because,omitzero"`
	// NotUndone is why hosts are not brought back that were to be.
	NotUndone string        `json:"not_undone,omitzero"`
	Gates     []gateLine    `json:"gates,omitzero"`
	Plan      string        `json:"plan,omitzero"` // digest of what is approved at a gate
	Stages    []stageLine   `json:"stages"`
	Hosts     []hostOutcome `json:"hosts"`
}

type haltedLine struct {
	Rule       sluice.Rule   `json:"rule"`
	Reason     string        `json:"reason"`
	Constraint string        `json:"constraint,omitzero"`
	Holders    []sluice.Host `json:"holders,omitzero"`
}

type gateLine struct {
	Track string          `json:"track"`
	Stage string          `json:"stage"`
	Kind  sluice.GateKind `json:"kind"`
	Until time.Time       `json:"until,omitzero"`
}

type stageLine struct {
	Track   string                 `json:"track"`
	Stage   string                 `json:"stage"`
	Hosts   int                    `json:"hosts"`
	Open    bool                   `json:"open"`
	Running int                    `json:"running"`
	Counts  map[sluice.Outcome]int `json:"counts"`
}

type hostOutcome struct {
	Host       sluice.Host      `json:"host"`
	State      string           `json:"state"` // waiting, running, or the outcome
	Outcome    sluice.Outcome   `json:"outcome,omitzero"`
	Attempt    sluice.AttemptID `json:"attempt,omitzero"`
	ExitCode   *int             `json:"exit_code,omitzero"`
	DurationMS int64            `json:"duration_ms,omitzero"`
	Reason     string           `json:"reason,omitzero"`
}

func status(j *view.Job, driven bool, unplaced map[sluice.Host]string) jobStatus {
	s := jobStatus{jobLine: jobLine{Job: j.ID, State: plainState(j.State()), Halting: j.State() == "halting", Driven: driven,
		Submitted: j.Submitted.UTC(), By: j.Spec.By, Namespace: j.Spec.Namespace, Command: j.Spec.Command,
		Targets: len(j.Tasks), Running: j.Running, Counts: j.Counts}, Started: j.Started.UTC(), Ended: j.Ended.UTC(), Fleet: j.Spec.Fleet}
	if h := j.Halted; h != nil {
		s.Halted = &haltedLine{h.Rule, h.Reason, h.Constraint, h.Holders}
	}
	if j.Finished != nil {
		s.Undone, s.Because = j.Finished.Undo, j.Finished.Reason
	}
	s.Undoes, s.Reason = j.Spec.Action.Undoes, j.Spec.Reason
	if v := j.Spec.Action.Validates; v != nil {
		s.Validates = v.Job
	}
	for _, g := range j.Gates {
		s.Gates = append(s.Gates, gateLine{g.Track, g.Stage, g.Kind, g.Until})
	}
	s.Plan, _ = sealed.PlanDigest(j.Spec) // one with text that is no UTF-8 has none
	for _, st := range j.Stages {
		s.Stages = append(s.Stages, stageLine{st.Track, st.Name, st.Hosts, !st.Opened.IsZero(), st.Running, st.Counts})
	}
	for i := range j.Tasks {
		t := &j.Tasks[i]
		h := hostOutcome{t.Host, live.TaskState(t), t.Outcome, t.Attempt, t.ExitCode, t.Took.Milliseconds(), t.Reason}
		if why, waits := unplaced[t.Host]; waits && t.Running {
			h.State, h.Reason = "waiting", why
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

func (a *app) statusCommand() *cobra.Command {
	var refresh bool
	var secrets secretFlags
	c := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Show where a job stands (the newest, if none is named)",
		Args:  args(0, 1, "at most one job"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, args []string) error {
			id := first(args)
			if refresh {
				if err := a.refresh(c, svc, id, secrets); err != nil {
					return err
				}
			}
			j, driven, err := svc.Job(c.Context(), id)
			if err != nil {
				return err
			}
			if h := a.kept; h != nil {
				fmt.Fprintf(a.Stderr, "sluice: the server %s keeps a halt of it that %s asked for at %s; it is appended as soon as there is a majority\n",
					clean.Text(string(h.Server)), clean.Text(string(h.By)), h.At.UTC().Format(time.RFC3339))
			}
			unplaced, err := withoutWorker(c.Context(), svc, j)
			if err != nil {
				return err
			}
			left, err := notUndone(c.Context(), svc, j)
			if err != nil {
				return err
			}
			checked, err := validation(c.Context(), svc, j)
			if err != nil {
				return err
			}
			if a.json() {
				s := status(j, driven, unplaced)
				s.NotUndone, s.Validation = left, validationForm(checked)
				return a.printJSON(s)
			}
			return live.Status(a.Stdout, j, live.StatusOptions{Driven: driven, Now: a.Clock(), Zone: a.Clock().Local().Location(), Unplaced: unplaced, NotUndone: left, Validation: checked})
		}),
	}
	c.Flags().BoolVar(&refresh, "refresh", false, "ask the hosts for outcomes that are not known")
	secrets.add(c)
	return c
}

// withoutWorker says why hosts wait for a worker that run as far as the log goes.
func withoutWorker(ctx context.Context, svc control.Desk, j *view.Job) (map[sluice.Host]string, error) {
	if j.Running == 0 {
		return nil, nil
	}
	reasons, err := svc.Why(ctx, string(j.ID), "")
	out := map[sluice.Host]string{}
	for _, r := range reasons {
		if r.Rule == sluice.RuleWorker {
			out[r.Host] = r.Text
		}
	}
	return out, err
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// refresh asks the hosts for unknown outcomes.
func (a *app) refresh(c *cobra.Command, svc control.Desk, id string, flags secretFlags) error {
	_, found, err := svc.Find(c.Context(), id)
	if err != nil {
		return err
	}
	secrets, err := a.secrets(flags)
	if err != nil {
		return err
	}
	err = a.interruptible(c.Context(), func(ctx context.Context) error {
		return svc.Refresh(ctx, found, control.DriveOptions{Secrets: secrets, Notice: a.notice})
	})
	if errors.Is(err, context.Canceled) {
		return sluice.Errorf(sluice.Contact, "interrupted before all hosts had answered")
	}
	if sluice.CodeOf(err) == sluice.Conflict {
		a.notice("another process carries the job out; it asks the hosts itself")
		return nil
	}
	return err
}

func (a *app) notice(text string) { fmt.Fprintf(a.Stderr, "sluice: %s\n", clean.Line(text)) }

func (a *app) watchCommand() *cobra.Command {
	var s showing
	c := &cobra.Command{
		Use:   "watch [JOB]",
		Short: "Follow a job until it is finished or halted",
		Long: `Follow a job until it is finished or halted; the exit status is the job's.
Ctrl-C ends the watching, not the job.`,
		Args: args(0, 1, "at most one job"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, args []string) error {
			s.log = true
			show := a.show(c.Context(), svc, s)
			last, err := a.watch(c.Context(), svc, first(args), show)
			show.Close()
			if errors.Is(err, context.Canceled) {
				a.notice("not watching any more; the job goes its way")
				return exitError(exitContact)
			}
			if err != nil {
				return err
			}
			return ended(show, last)
		}),
	}
	c.Flags().BoolVarP(&s.quiet, "quiet", "q", false, "print failures and the end only")
	return c
}

func (a *app) logCommand() *cobra.Command {
	var stream string
	c := &cobra.Command{
		Use:   "log JOB HOST",
		Short: "Print what a job's last attempt on a host printed",
		Args:  args(2, 2, "a job and a host"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, args []string) error {
			return a.printLog(c, svc, args[0], sluice.Host(args[1]), stream)
		}),
	}
	c.Flags().StringVar(&stream, "stream", "", "only this `stream`: stdout or stderr")
	return c
}

func (a *app) printLog(c *cobra.Command, svc control.Desk, job string, h sluice.Host, only string) error {
	for _, s := range []struct {
		name string
		to   io.Writer
	}{{"stdout", a.Stdout}, {"stderr", a.Stderr}} {
		if only != "" && only != s.name {
			continue
		}
		in, t, err := svc.Output(c.Context(), job, h, s.name)
		if err != nil {
			return err
		}
		to := s.to
		switch {
		case a.json():
			to = &eventWriter{a: a, host: h, attempt: t.Attempt, stream: s.name}
		case s.name == "stdout" && a.StdoutTerminal || s.name == "stderr" && a.StderrTerminal:
			to = clean.Writer(s.to) // what a host printed does not steer a terminal
		}
		_, err = io.Copy(to, in)
		if closer, ok := to.(io.Closer); ok && to != s.to && err == nil {
			err = closer.Close()
		}
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	if only != "" && only != "stdout" && only != "stderr" {
		return sluice.Errorf(sluice.Usage, "there is no stream %q: stdout or stderr", only)
	}
	return nil
}

// eventWriter prints what is written to it as task.output events.
type eventWriter struct {
	a       *app
	host    sluice.Host
	attempt sluice.AttemptID
	stream  string
	offset  int64
}

func (w *eventWriter) Write(p []byte) (int, error) {
	job, _, _, _ := w.attempt.Parse()
	e := sluice.Event{Time: w.a.Clock(), Job: job, Body: sluice.NewTaskOutput(w.host, w.attempt, w.stream, w.offset, p)}
	w.offset += int64(len(p))
	return len(p), w.a.printJSON(e)
}
