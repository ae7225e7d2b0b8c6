package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// record makes a command that only records something about a job.
func (a *app) record(use, shortText, long string, check cobra.PositionalArgs, flags func(*cobra.Command),
	do func(context.Context, control.Desk, []string) ([]sluice.Event, string, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: shortText, Long: long, Args: check,
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, args []string) error {
			events, said, err := do(c.Context(), svc, args)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printEvents(events)
			}
			fmt.Fprintln(a.Stdout, said)
			return nil
		})}
	if flags != nil {
		flags(c)
	}
	return c
}

func (a *app) skipCommand() *cobra.Command {
	var reason string
	return a.record("skip JOB HOST... --reason TEXT", "Say that hosts need not run, so that the stages behind them open",
		"Say that hosts need not run. The stages behind them open. A host that failed\nstays out of service and keeps its place until it succeeds or is released.",
		args(2, -1, "a job and hosts"), func(c *cobra.Command) { needReason(c, &reason) },
		func(ctx context.Context, svc control.Desk, args []string) ([]sluice.Event, string, error) {
			hosts, err := namedHosts(nil, args[1:])
			if err != nil {
				return nil, "", err
			}
			events, err := svc.Skip(ctx, sluice.JobID(args[0]), hosts, reason)
			return events, fmt.Sprintf("Skipped %s.\nNext: sluice resume %s, if the job is halted", fleet.Fold(hosts), args[0]), err
		})
}

func needReason(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "reason", "", "why, for the journal")
	c.PreRunE = func(*cobra.Command, []string) error {
		if *to == "" {
			return sluice.Errorf(sluice.Usage, "the reason is missing").WithHint("--reason TEXT, for the journal")
		}
		return nil
	}
}

func (a *app) approveCommand() *cobra.Command {
	var stage, plan string
	var sign bool
	return a.record("approve JOB", "Let a job pass the gates that wait for approval",
		"Let a job pass the gates that wait for approval: all of them, or that behind\none stage. With --plan it is refused if the job is not what\n\"sluice status\" showed.\n\nWorkers of a server that carry out signed jobs alone want the approval signed,\ntoo, by somebody else than who signed the job: --sign.",
		args(1, 1, "a job"), func(c *cobra.Command) {
			c.Flags().StringVar(&stage, "stage", "", "only the gate behind this `stage`")
			c.Flags().StringVar(&plan, "plan", "", "only if the job's plan has this `digest`, as sluice status shows it")
			c.Flags().BoolVar(&sign, "sign", false, "sign the approval, for workers that carry out signed jobs alone")
		},
		func(ctx context.Context, svc control.Desk, args []string) ([]sluice.Event, string, error) {
			if sign {
				events, err := svc.ApproveSigned(ctx, sluice.JobID(args[0]), stage, plan, nil)
				return events, "Approved, and signed.", err
			}
			events, err := svc.Approve(ctx, sluice.JobID(args[0]), stage, plan)
			return events, "Approved.", err
		})
}

// driveFlags are those of commands that carry a job on.
type driveFlags struct {
	secretFlags
	maxFailures    string
	outputDir      string
	quiet, verbose bool
}

func (f *driveFlags) add(c *cobra.Command) {
	f.secretFlags.add(c)
	c.Flags().StringVar(&f.outputDir, "output-dir", "", "write each host's output to files in this `directory`")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print failures and the end only")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "print output as it comes")
}

func (f *driveFlags) addBudget(c *cobra.Command) {
	c.Flags().StringVar(&f.maxFailures, "max-failures", "", "raise the job's budget to `N|P%`")
}

func (f *driveFlags) budget() (*sluice.Amount, error) {
	if f.maxFailures == "" {
		return nil, nil
	}
	m, err := sluice.ParseAmount(f.maxFailures)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "--max-failures: %v", err)
	}
	return &m, nil
}

// drive records a change of a job and then carries the job on, unless a live process does so already: then it
// follows what that one does. Only what is new is shown; now says what becomes of the job.
func (a *app) drive(ctx context.Context, f *driveFlags, id, now string, change func(control.Desk, sluice.JobID) error) error {
	return a.onJournal(ctx, func(svc control.Desk) error {
		_, found, err := svc.Find(ctx, id)
		if err != nil {
			return err
		}
		past, err := svc.Events(ctx, found)
		if err != nil {
			return err
		}
		job := view.Fold(past)
		secrets, err := a.needed(svc, job, f.secretFlags)
		if err == nil && (secrets.Any() || job.Spec.Options.Signed && svc.Elsewhere() && (f.sign || !hasSecrets(job))) {
			err = a.give(ctx, svc, job, secrets)
		}
		if err != nil {
			return err
		}
		if err := change(svc, found); err != nil {
			return err
		}
		s := showing{quiet: f.quiet, verbose: f.verbose, outputDir: f.outputDir, past: past, now: now}
		err = a.carry(ctx, svc, s, string(found), func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
			o.Secrets, o.FetchDir = secrets, f.outputDir
			return goOn(ctx, svc, found, past[len(past)-1].Seq, o)
		})
		return a.carryOn(ctx, svc, s, job.Spec.Action, found, secrets, err)
	})
}

// give gives a job secrets, and says what they are for where a server has the job: it could say another one than was meant.
func (a *app) give(ctx context.Context, svc control.Desk, j *view.Job, secrets control.Secrets) error {
	shown := *j.Spec
	shown.ID = j.ID
	if svc.Elsewhere() {
		what := "secrets are sealed for"
		if !secrets.Any() {
			what = "signed is"
		}
		fmt.Fprintf(a.Stderr, "sluice: %s job %s of %s: %s\n", what, j.ID, clean.Line(string(shown.By)), clean.Line(shown.Command))
	}
	return svc.Give(ctx, &shown, secrets)
}

// goOn carries a job on and observes what is newer than the event with the number seen, to the very last event.
func goOn(ctx context.Context, svc control.Desk, id sluice.JobID, seen uint64, o control.DriveOptions) (sluice.Event, error) {
	if svc.Elsewhere() {
		o.Seen = seen
		return svc.Carry(ctx, id, o)
	}
	events, err := svc.Events(ctx, id)
	if err != nil {
		return sluice.Event{}, err
	}
	show := o.Observe
	o.Observe = func(e sluice.Event) {
		if _, output := e.Body.(sluice.TaskOutput); !output {
			seen = e.Seq
		}
		show(e)
	}
	for _, e := range events {
		if e.Seq > seen {
			o.Observe(e)
		}
	}
	last, err := svc.Carry(ctx, id, o)
	switch {
	case sluice.CodeOf(err) == sluice.Conflict:
		o.Notice("another process carries the job out; following it")
	case err != nil || last.Seq <= seen:
		return last, err
	}
	return svc.Follow(ctx, string(id), seen, show) // or it had just been carried to its end
}

// needed sees to it that a job gets the secrets that it was submitted with.
func (a *app) needed(svc control.Desk, j *view.Job, flags secretFlags) (control.Secrets, error) {
	job, o := j.Spec, j.Spec.Options
	if svc.Elsewhere() && hasSecrets(j) {
		return a.secrets(flags)
	}
	password, sudo, passphrase := flags.wants()
	if a.Ask != nil {
		flags.askPassword = flags.askPassword || o.AskPassword && !password
		flags.askSudo = flags.askSudo || o.AskSudoPassword && !sudo
		flags.askPassphrase = flags.askPassphrase || o.AskPassphrase && !passphrase
	} else if o.AskPassword && !password || o.AskSudoPassword && !sudo || o.AskPassphrase && !passphrase {
		return control.Secrets{}, sluice.Errorf(sluice.Usage, "job %s was started with secrets and needs them again", job.ID).
			WithHint("--password-fd, --sudo-password-fd and --passphrase-fd read them from descriptors")
	}
	if o.AskPrivateKey && flags.identityFile == "" {
		return control.Secrets{}, sluice.Errorf(sluice.Usage, "job %s was started with a private key and needs it again", job.ID).
			WithHint("--identity-file FILE")
	}
	return a.secrets(flags)
}

// hasSecrets reports whether a server should still have the secrets of a job. It may have lost them, and then says so.
func hasSecrets(j *view.Job) bool {
	return j.Finished == nil && (j.Halted == nil || j.Halted.Rule != sluice.RuleSecrets && j.Halted.Rule != sluice.RuleAuth)
}

func (a *app) resumeCommand() *cobra.Command {
	var f driveFlags
	c := &cobra.Command{
		Use:   "resume JOB",
		Short: "Carry a job on that was halted, or whose process is gone",
		Long: `Carry a job on that was halted, or whose process is gone. What was left running
on the hosts is joined, never started a second time; hosts of which it is not
known how the command ended are asked.`,
		Args: args(1, 1, "a job"),
		RunE: func(c *cobra.Command, args []string) error {
			budget, err := f.budget()
			if err != nil {
				return err
			}
			return a.drive(c.Context(), &f, args[0], "goes on", func(svc control.Desk, id sluice.JobID) error {
				_, err := svc.Resume(c.Context(), id, budget)
				return err
			})
		},
	}
	f.add(c)
	f.addBudget(c)
	return c
}

func (a *app) retryCommand() *cobra.Command {
	var f driveFlags
	c := &cobra.Command{
		Use:   "retry JOB [HOST...]",
		Short: "Try hosts again that ended badly, and carry the job on",
		Long: `Try hosts again that ended badly: those that are named, or all of the job. Hosts
of which it is not known how the command ended are not tried again; "sluice
resume" asks them first.`,
		Args: args(1, -1, "a job, and hosts if not all"),
		RunE: func(c *cobra.Command, args []string) error {
			budget, err := f.budget()
			if err != nil {
				return err
			}
			hosts, err := namedHosts(nil, args[1:])
			if err != nil {
				return err
			}
			return a.drive(c.Context(), &f, args[0], "goes on", func(svc control.Desk, id sluice.JobID) error {
				_, err := svc.Retry(c.Context(), id, hosts, budget)
				return err
			})
		},
	}
	f.add(c)
	f.addBudget(c)
	return c
}

func (a *app) cancelCommand() *cobra.Command {
	var f driveFlags
	var reason string
	c := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Start nothing more of a job and kill what runs",
		Long: `Start nothing more of a job and kill what runs, with everything that it started
on the hosts. A job whose process is gone is taken up for that.`,
		Args: args(1, 1, "a job"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.drive(c.Context(), &f, args[0], "is cancelled", func(svc control.Desk, id sluice.JobID) error {
				_, err := svc.Cancel(c.Context(), id, reason)
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	return c
}
