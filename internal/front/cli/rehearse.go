package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/rehearse"
	"sluice/internal/front/live"
)

// rehearseFlags say how the simulated hosts behave.
type rehearseFlags struct {
	jobFlags
	seed             uint64
	duration         time.Duration
	jitter           string
	fail, hang, lose string
	crash, crashFor  time.Duration
}

func (a *app) rehearseCommand() *cobra.Command {
	var f rehearseFlags
	c := &cobra.Command{
		Use:   "rehearse -f FLEET -t EXPR",
		Short: "Carry a job out against simulated hosts, with failures as you like",
		Long: `Carry a job out against simulated hosts: how it is planned and what may start
when is decided as in a run. The same seed gives the same rehearsal, byte for
byte. The exit status is the one that the run would have.`,
		Example: `  sluice rehearse -f fleet.yaml -t all --duration 2m --jitter 20%
  sluice rehearse -f fleet.yaml -t all --fail 10% --max-failures 3
  sluice rehearse -f fleet.yaml -t all --fail web03,web07 -o json`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.rehearse(c, &f) },
	}
	f.addRules(c)
	fs := c.Flags()
	fs.BoolVar(&f.o.ReadOnly, "read-only", false, "the command changes nothing")
	fs.Uint64Var(&f.seed, "seed", 1, "`number` from which all chance is drawn")
	fs.DurationVar(&f.duration, "duration", rehearse.DefaultDuration, "`time` that a host takes")
	fs.StringVar(&f.jitter, "jitter", "0%", "each host takes up to this `share` more or less")
	fs.StringVar(&f.fail, "fail", "", "hosts that fail: a share such as 10%, or `hosts`")
	fs.StringVar(&f.hang, "hang", "", "hosts that hang: a share such as 2%, or `hosts`")
	fs.StringVar(&f.lose, "lose", "", "hosts whose link is lost for good: a share such as 1%, or `hosts`")
	fs.DurationVar(&f.crash, "crash", 0, "sluice itself crashes this `time` after the start")
	fs.DurationVar(&f.crashFor, "crash-for", 10*time.Second, "and is back after this `time`")
	return c
}

func (f *rehearseFlags) simulation(resolve func(string) ([]sluice.Host, error)) (rehearse.Options, error) {
	o := rehearse.Options{Seed: f.seed, Start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), Duration: f.duration,
		CrashAt: f.crash, CrashFor: f.crashFor, PatienceFor: rehearse.DefaultPatience}
	if f.duration <= 0 || f.crash < 0 || f.crashFor <= 0 {
		return o, sluice.Errorf(sluice.Usage, "times of a rehearsal must be positive")
	}
	var err error
	if o.Jitter, err = rehearse.ParseShare(f.jitter); err != nil {
		return o, fmt.Errorf("--jitter: %w", err)
	}
	for _, c := range []struct {
		flag, text string
		to         *rehearse.Chance
	}{{"--fail", f.fail, &o.Fail}, {"--hang", f.hang, &o.Hang}, {"--lose", f.lose, &o.Lose}} {
		if *c.to, err = rehearse.ParseChance(c.text, resolve); err != nil {
			return o, fmt.Errorf("%s: %w", c.flag, err)
		}
	}
	return o, nil
}

func (a *app) rehearse(c *cobra.Command, f *rehearseFlags) error {
	l, err := a.load(c.Context(), f.targetFlags)
	if err != nil {
		return err
	}
	o, err := f.simulation(l.resolve)
	if err != nil {
		return err
	}
	fl, _, job, err := a.draft(c.Context(), &f.jobFlags)
	if err != nil {
		return err
	}
	rules, err := sluice.NewRules(fl.Hosts, fl.Constraints)
	if err != nil {
		return err
	}
	show := &jsonDisplay{a: a}
	r, err := rehearse.Run(fl, rules, rehearse.Pretend(job, rules, f.seed), o, func(e sluice.Event) {
		if a.json() && e.Job != "" {
			show.Event(e)
		}
	})
	if err != nil {
		return err
	}
	if !a.json() {
		if err := live.Rehearsal(a.Stdout, r, a.screen()); err != nil {
			return err
		}
	}
	return exitOf(r.Last)
}
