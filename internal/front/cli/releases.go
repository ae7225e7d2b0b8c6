package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/validate"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) releasesCommand() *cobra.Command {
	var q control.LiveQuery
	var most int
	c := &cobra.Command{
		Use:   "releases ENV [APP]",
		Short: "List what an environment has live, and its releases",
		Long: `List what is live in an environment, and its deploys and rollbacks, newest
first. LATENCY is how long it took from the commit, or where that is not known
from the build, until a host had the release: the median of the hosts, and the
99th percentile. VALIDATION is what its validation came to, where app.yaml asks
for one. JSON has the deploys and rollbacks alone.`,
		Example: `  sluice releases production
  sluice releases production shop -n 5 -o json`,
		Args: args(1, 2, "an environment and perhaps an app"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, words []string) error {
			if most < 1 {
				return errFewerThanOne
			}
			q.Env, q.App = words[0], first(words[1:])
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
			if err := a.printWhere(c, svc, q); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout)
			return a.printReleases(list)
		}),
	}
	c.Flags().IntVarP(&most, "last", "n", 20, "show the last `N`")
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
		latency := "-"
		if r.Hosts > 0 {
			latency = howLong(r.P50) + ", p99 " + howLong(r.P99)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\t%s\t%s\t%s\t%s\n", a.stamp(r.Submitted), clean.Line(r.App), orNone(clean.Line(r.Version)),
			shortDigest(r.Config), r.Kind, r.State, r.On, r.Targets, r.Failed, clean.Line(r.By), r.Job, commitText(r.Commit), latency, validationText(r.Validated))
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
