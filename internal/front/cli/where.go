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
	var f askFlags
	c := &cobra.Command{
		Use:   "where APP [--env ENV] [--ask]",
		Short: "Say which version of an app is live on which host",
		Long: `Say which version of an app is live on which host: since when, by whose job, and
of which commit. It is what hosts proved at the end of deploys and rollbacks;
where something came after that which proves nothing, it is said to be unknown,
and so is what a hand has changed, as far as a job has come across it.

With --ask the hosts are asked, too, by a job that changes nothing: whether they
have what is on record, or something else that a hand has made live. The exit
status is 1 unless all say that they have what is on record.`,
		Example: `  sluice where shop
  sluice where shop --env production -o json
  sluice where shop --env production --ask --sudo`,
		Args: args(1, 1, "the name of an app"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, words []string) error {
			q.App = words[0]
			if err := f.check(c); err != nil {
				return err
			}
			return a.printWhere(c, svc, q, &f)
		}),
	}
	c.Flags().StringVar(&q.Env, "env", "", "only in this `environment`")
	addSpace(c, &q)
	f.add(a, c)
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
			return a.printWhere(c, svc, q, &askFlags{})
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
	Asked     *asked           `json:"asked,omitzero"`
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

func (a *app) printWhere(c *cobra.Command, svc control.Desk, q control.LiveQuery, f *askFlags) error {
	list, lacks := svc.Live(c.Context(), q)
	if lacks != nil && len(list) == 0 {
		return lacks
	}
	var said answers
	if f.ask {
		var ended, err error
		if said, ended, err = a.askHosts(c.Context(), svc, f, q, list); err != nil {
			return err
		}
		lacks = cmp.Or(lacks, ended, said.status())
	}
	if a.json() {
		for i, l := range list {
			line := liveForm(l)
			line.Asked = said.of(i)
			if err := a.printJSON(line); err != nil {
				return err
			}
		}
		return lacks
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Stderr, "No deploy of that is on record.")
		return nil
	}
	return cmp.Or(a.printLive(list, said), lacks) // the rest is shown, and then what it lacks
}

// alike is what hosts share that stand in one line.
type alike struct {
	app, env, version, config, word, reason, by string
	said, why                                   string // what they say when they are asked
	job, last                                   sluice.JobID
}

// liveRow are hosts on which the same is live.
type liveRow struct {
	alike
	commit *sluice.Commit
	since  time.Time // on the first of them
	asker  sluice.JobID
	hosts  []sluice.Host
}

// rows puts hosts together that are alike, in the order in which they come.
func rows(list []control.Live, said answers) (out []*liveRow) {
	at := map[alike]*liveRow{}
	for i, l := range list {
		k := alike{app: l.App, env: l.Env, version: l.Live.Version, config: l.Config, by: l.By, job: l.Job}
		if k.word, k.reason = l.Told(); k.reason != "" {
			k.last = l.Last
		}
		if s := said.of(i); s != nil {
			k.said, k.why = s.text(), s.Reason
		}
		r := at[k]
		if r == nil {
			r = &liveRow{alike: k, commit: l.Commit, since: l.Since}
			if s := said.of(i); s != nil {
				r.asker = s.Job
			}
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
func (a *app) printLive(list []control.Live, said answers) error {
	all := rows(list, said)
	ask := func(text string) string {
		if said == nil {
			return ""
		}
		return "\t" + text
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APP\tENV\tVERSION\tCONFIG\tSTATE"+ask("ASKED")+"\tHOSTS\tSINCE\tBY\tJOB\tCOMMIT\tBUILT")
	for _, r := range all {
		since := "-"
		if !r.since.IsZero() {
			since = a.stamp(r.since)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean.Line(r.app), clean.Line(r.env), cmp.Or(clean.Line(r.version), "nothing"), shortDigest(r.config),
			r.word+ask(r.said), fleet.Fold(r.hosts), since, orNone(clean.Line(r.by)), orNone(string(r.job)), commitText(r.commit), a.builtText(r.commit))
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
		if r.why != "" {
			by := ""
			if r.asker != "" {
				by = fmt.Sprintf(" (asked by job %s)", r.asker)
			}
			fmt.Fprintf(a.Stdout, "%s: %s: %s%s\n", fleet.Fold(r.hosts), r.said, clean.Line(r.why), by)
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
