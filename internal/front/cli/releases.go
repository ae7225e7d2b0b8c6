package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/core/validate"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) releasesCommand() *cobra.Command {
	var q control.LiveQuery
	var most int
	var overTime bool
	c := &cobra.Command{
		Use:   "releases ENV [APP]",
		Short: "List what an environment has live, and its releases",
		Long: `List what is live in an environment, and its deploys and rollbacks, newest
first. LATENCY is how long it took from the commit, or where that is not known
from the build, until a host had the release: the median of the hosts, and the
99th percentile. VALIDATION is what its validation came to, where app.yaml asks
for one. JSON has the deploys and rollbacks alone.

With --over-time it is the latency of all releases of an app together, and all
their hosts, newest first: for each day, where all of them are of 14 days, else
for each week from its Monday (UTC). A release counts once, when it was first
submitted, and if it is known when it was committed or built.`,
		Example: `  sluice releases production
  sluice releases production shop -n 5 -o json
  sluice releases production --over-time`,
		Args: args(1, 2, "an environment and perhaps an app"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, words []string) error {
			if most < 1 {
				return errFewerThanOne
			}
			q.Env, q.App = words[0], first(words[1:])
			if overTime {
				list, err := svc.Latencies(c.Context(), q, most)
				if err != nil {
					return err
				}
				return a.printLatencies(list)
			}
			list, err := svc.Releases(c.Context(), q)
			if err != nil {
				return err
			}
			list = list[:min(len(list), most)]
			if a.json() {
				return printEach(a, list, releaseForm)
			}
			if len(list) == 0 {
				fmt.Fprintln(a.Stderr, "No deploy of that is on record.")
				return nil
			}
			if err := a.printWhere(c, svc, q, &askFlags{}); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout)
			return a.printReleases(list)
		}),
	}
	c.Flags().IntVarP(&most, "last", "n", 20, "show the last `N`; with --over-time days or weeks of each app")
	c.Flags().BoolVar(&overTime, "over-time", false, "say how long it took from commit to live by day or week")
	addSpace(c, &q)
	return c
}

// releaseLine is a deploy or a rollback, as JSON.
type releaseLine struct {
	Namespace    sluice.Namespace  `json:"namespace"`
	Job          sluice.JobID      `json:"job"`
	Kind         sluice.ActionKind `json:"kind"`
	App          string            `json:"app"`
	Env          string            `json:"env"`
	Version      string            `json:"version,omitzero"`
	Config       string            `json:"config,omitzero"`
	Commit       *sluice.Commit    `json:"commit,omitzero"`
	By           string            `json:"by"`
	Submitted    time.Time         `json:"submitted"`
	Ended        time.Time         `json:"ended,omitzero"`
	State        string            `json:"state"`
	Hosts        int               `json:"hosts"`
	Live         int               `json:"live"`
	Failed       int               `json:"failed"`
	Validation   *validationLine   `json:"validation,omitzero"`
	LatencyMS    int64             `json:"latency_ms,omitzero"`
	LatencyP99MS int64             `json:"latency_p99_ms,omitzero"`
}

// validationLine is what the validation of a release came to, as JSON.
type validationLine struct {
	State  validate.State `json:"state"` // validated, failed, running or not run
	Job    sluice.JobID   `json:"job,omitzero"`
	Reason string         `json:"reason,omitzero"`
}

func validationForm(r *validate.Result) *validationLine {
	if r == nil {
		return nil
	}
	return &validationLine{r.State, r.Job, r.Reason}
}

func releaseForm(r control.Released) releaseLine {
	line := releaseLine{Namespace: r.Namespace, Job: r.Job, Kind: r.Kind, App: r.App, Env: r.Env, Version: r.Version, Config: r.Config, Commit: r.Commit,
		By: r.By, Submitted: r.Submitted.UTC(), State: plainState(string(r.State)), Hosts: r.Targets, Live: r.On, Failed: r.Failed,
		Validation: validationForm(r.Validated), LatencyMS: r.P50.Milliseconds(), LatencyP99MS: r.P99.Milliseconds()}
	if !r.Ended.IsZero() {
		line.Ended = r.Ended.UTC()
	}
	return line
}

func (a *app) printReleases(list []control.Released) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBMITTED\tAPP\tVERSION\tCONFIG\tKIND\tSTATE\tLIVE ON\tFAILED\tBY\tJOB\tCOMMIT\tLATENCY\tVALIDATION")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\t%s\t%s\t%s\t%s\n", a.stamp(r.Submitted), clean.Line(r.App), orNone(clean.Line(r.Version)),
			shortDigest(r.Config), r.Kind, r.State, r.On, r.Targets, r.Failed, clean.Line(r.By), r.Job, commitText(r.Commit), latencyText(r.Latency), validationText(r.Validated))
	}
	return w.Flush()
}

// latencyText is how long hosts took, in one line.
func latencyText(l live.Latency) string {
	if l.Hosts == 0 {
		return "-"
	}
	return howLong(l.P50) + ", p99 " + howLong(l.P99)
}

// latencyLine is how long releases took in a day or a week, as JSON.
type latencyLine struct {
	Namespace    sluice.Namespace `json:"namespace"`
	App          string           `json:"app"`
	Env          string           `json:"env"`
	From         time.Time        `json:"from"`
	Days         int              `json:"days"`
	Releases     int              `json:"releases"`
	Hosts        int              `json:"hosts"`
	LatencyMS    int64            `json:"latency_ms"`
	LatencyP99MS int64            `json:"latency_p99_ms"`
}

func latencyForm(l control.Latencies) latencyLine {
	return latencyLine{l.Namespace, l.App, l.Env, l.From, l.Days, l.Releases, l.Hosts, l.P50.Milliseconds(), l.P99.Milliseconds()}
}

func (a *app) printLatencies(list []control.Latencies) error {
	if a.json() {
		return printEach(a, list, latencyForm)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Stderr, "No release of that is on record of which it is known when it was committed or built.")
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tDAYS\tAPP\tRELEASES\tHOSTS\tLATENCY")
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%s\n", l.From.UTC().Format(time.DateOnly), l.Days, clean.Line(l.App), l.Releases, l.Hosts, latencyText(l.Latency))
	}
	return w.Flush()
}

// validationText is what the validation came to, in one line.
func validationText(r *validate.Result) string {
	switch {
	case r == nil:
		return "-"
	case r.Reason != "":
		return string(r.State) + ": " + clean.Line(r.Reason)
	}
	return string(r.State)
}

// howLong is how long something took, as exactly as people want it.
func howLong(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
