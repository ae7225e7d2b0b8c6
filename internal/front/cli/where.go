package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) whereCommand() *cobra.Command {
	var q control.LiveQuery
	c := &cobra.Command{
		Use:   "where APP [--env ENV]",
		Short: "Say which version of an app is live on which host",
		Long: `Say which version of an app is live on which host: since when, by whose job, and
of which commit. It is what hosts proved at the end of deploys and rollbacks;
where something came after that which proves nothing, it is said to be unknown,
and so is what a hand has changed, as far as a job has come across it.`,
		Example: `  sluice where shop
  sluice where shop --env production -o json`,
		Args: args(1, 1, "the name of an app"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, words []string) error {
			q.App = words[0]
			return a.printWhere(c, svc, q)
		}),
	}
	c.Flags().StringVar(&q.Env, "env", "", "only in this `environment`")
	addSpace(c, &q)
	return c
}

func (a *app) atCommand() *cobra.Command {
	var q control.LiveQuery
	c := &cobra.Command{
		Use:   "at TIME ENV [APP]",
		Short: "Say what was live in an environment at a time",
		Long: `Say what was live in an environment at a time, as far as it was known then. A
time is a day, a time of day, or how long ago: 2026-01-02, 2026-01-02T15:04:05Z
or 36h.`,
		Example: `  sluice at 24h production
  sluice at 2026-01-02T15:04:05Z production shop`,
		Args: args(2, 3, "a time, an environment and perhaps an app"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, words []string) (err error) {
			if q.At, err = timeOf("TIME", words[0], a.Clock()); err != nil {
				return err
			}
			q.Env, q.App = words[1], first(words[2:])
			return a.printWhere(c, svc, q)
		}),
	}
	addSpace(c, &q)
	return c
}

func addSpace(c *cobra.Command, q *control.LiveQuery) {
	c.Flags().StringVar((*string)(&q.Namespace), "namespace", "", "only in this `namespace`")
}

// liveLine is what is known of an app on a host, as JSON.
type liveLine struct {
	Namespace sluice.Namespace `json:"namespace"`
	App       string           `json:"app"`
	Env       string           `json:"env"`
	Host      sluice.Host      `json:"host"`
	State     string           `json:"state"`
	Reason    string           `json:"reason,omitzero"`
	Failed    bool             `json:"failed,omitzero"`
	Version   string           `json:"version,omitzero"`
	Config    string           `json:"config,omitzero"`
	Manifest  string           `json:"manifest,omitzero"`
	Commit    *sluice.Commit   `json:"commit,omitzero"`
	Job       sluice.JobID     `json:"job,omitzero"`
	By        string           `json:"by,omitzero"`
	Since     time.Time        `json:"since,omitzero"`
	Before    string           `json:"before,omitzero"`
	Last      sluice.JobID     `json:"last"`
}

func liveForm(l control.Live) liveLine {
	word, reason := l.Told()
	line := liveLine{Namespace: l.Namespace, App: l.App, Env: l.Env, Host: l.Host, State: word, Reason: reason, Failed: l.Failed, Version: l.Live.Version,
		Config: l.Config, Manifest: l.Live.Manifest, Commit: l.Commit, Job: l.Job, By: l.By, Before: l.Before.Version, Last: l.Last}
	if !l.Since.IsZero() {
		line.Since = l.Since.UTC()
	}
	return line
}

func (a *app) printWhere(c *cobra.Command, svc control.Desk, q control.LiveQuery) error {
	list, lacks := svc.Live(c.Context(), q)
	if lacks != nil && len(list) == 0 {
		return lacks
	}
	if a.json() {
		return cmp.Or(printEach(a, list, liveForm), lacks)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Stderr, "No deploy of that is on record.")
		return nil
	}
	return cmp.Or(a.printLive(list), lacks) // the rest is shown, and then what it lacks
}

// alike is what hosts share that stand in one line.
type alike struct {
	app, env, version, config, word, reason, by string
	job, last                                   sluice.JobID
}

// liveRow are hosts on which the same is live.
type liveRow struct {
	alike
	commit *sluice.Commit
	since  time.Time // on the first of them
	hosts  []sluice.Host
}

// rows puts hosts together that are alike, in the order in which they come.
func rows(list []control.Live) (out []*liveRow) {
	at := map[alike]*liveRow{}
	for _, l := range list {
		k := alike{app: l.App, env: l.Env, version: l.Live.Version, config: l.Config, by: l.By, job: l.Job}
		if k.word, k.reason = l.Told(); k.reason != "" {
			k.last = l.Last
		}
		r := at[k]
		if r == nil {
			r = &liveRow{alike: k, commit: l.Commit, since: l.Since}
			at[k], out = r, append(out, r)
		}
		if l.Since.Before(r.since) {
			r.since = l.Since
		}
		r.hosts = append(r.hosts, l.Host)
	}
	return out
}

// printLive prints a line for each release on hosts, and below what is to be known beside that.
func (a *app) printLive(list []control.Live) error {
	all := rows(list)
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APP\tENV\tVERSION\tCONFIG\tSTATE\tHOSTS\tSINCE\tBY\tJOB\tCOMMIT\tBUILT")
	for _, r := range all {
		since := "-"
		if !r.since.IsZero() {
			since = a.stamp(r.since)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean.Line(r.app), clean.Line(r.env), cmp.Or(clean.Line(r.version), "nothing"), shortDigest(r.config),
			r.word, fleet.Fold(r.hosts), since, orNone(clean.Line(r.by)), orNone(string(r.job)), commitText(r.commit), a.builtText(r.commit))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range all {
		if r.reason != "" {
			by := "job"
			if r.word == "changed" {
				by = "found by job"
			}
			fmt.Fprintf(a.Stdout, "%s: %s (%s %s)\n", fleet.Fold(r.hosts), clean.Line(r.reason), by, r.last)
		}
	}
	return nil
}

func orNone(s string) string { return cmp.Or(s, "-") }

// shortDigest is enough of a digest to tell two apart.
func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return orNone(hex[:min(8, len(hex))])
}

func commitText(c *sluice.Commit) string {
	if c == nil {
		return "-"
	}
	return orNone(cut(clean.Line(c.ID), 12))
}

func (a *app) builtText(c *sluice.Commit) string {
	if c == nil || c.Built.IsZero() {
		return "-"
	}
	return a.stamp(c.Built)
}
