package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/target"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
	"sluice/internal/run/control"
)

// jobFlags say how a job is carried out; run, copy, fetch and rehearse share them.
type jobFlags struct {
	targetFlags
	secretFlags
	maxFailures, maxParallel string
	o                        sluice.Options
	user                     string
	env                      []string
	hooksDir                 string
	outputDir                string
	quiet, yes, verbose      bool
	detach                   bool
	plan                     bool
	key                      string
	record                   string
}

// addRules adds what the scheduler heeds.
func (f *jobFlags) addRules(c *cobra.Command) {
	f.targetFlags.add(c)
	f.none()
	fs := c.Flags()
	fs.StringVar(&f.maxFailures, "max-failures", "", "halt when more than `N|P%` of the hosts failed (default: no budget)")
	fs.StringVar(&f.maxParallel, "max-parallel", "", "at most `N|P%` of these hosts out of service at once")
	fs.IntVar(&f.o.Concurrency, "concurrency", sluice.DefaultConcurrency, "at most `N` attempts at once")
	fs.StringVar((*string)(&f.o.Lock), "lock", "", "only one job of the namespace has the lock of this `name` at a time; others wait until it ends")
	fs.BoolVar(&f.o.Supersede, "supersede", false, "cancel the jobs that have the lock, or wait for it")
	fs.DurationVar(&f.o.Timeout, "timeout", 0, "end a host's run after this `time`, such as 5m (default: never)")
	fs.DurationVar(&f.o.JobTimeout, "job-timeout", 0, "halt the job and end what runs after this `time`")
	fs.DurationVar(&f.o.Reconnect, "reconnect", sluice.DefaultReconnect, "try a lost link again for this `time`")
}

func (f *jobFlags) add(a *app, c *cobra.Command) {
	f.addCarrying(a, c)
	c.Flags().StringArrayVar(&f.env, "env", nil, "set `NAME=VALUE` for the command and its hooks; may be repeated")
}

// addCarrying adds what says how any job is carried out.
func (f *jobFlags) addCarrying(a *app, c *cobra.Command) {
	f.addRules(c)
	f.secretFlags.add(c)
	fs := c.Flags()
	fs.StringVar(&f.user, "user", "", "log in as this `user`")
	fs.StringVar(&f.o.Sudo, "sudo", "", "become this `user` by sudo (root if none is named)")
	fs.Lookup("sudo").NoOptDefVal = "root"
	fs.StringVar(&f.hooksDir, "hooks", "", "`directory` on the target with pre.d and post.d (default /etc/sluice)")
	fs.BoolVar(&f.o.NoHooks, "no-hooks", false, "run no hooks")
	fs.StringVar(&f.outputDir, "output-dir", "", "write each host's output to files in this `directory`")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print failures and the end only")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "print output as it comes")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&f.detach, "detach", false, "print the job's id and do not wait; needs a server")
	fs.StringVar(&f.key, "key", a.Env("SLUICE_KEY"), "the same `KEY` makes the same job, however often this is run; needs a server (default $SLUICE_KEY)")
	fs.Lookup("key").DefValue = ""
}

// options checks the flags and makes the job's options of them.
func (f *jobFlags) options() (sluice.Options, error) {
	o := f.o
	o.OutputLimit = sluice.DefaultOutputLimit
	for _, m := range []struct {
		flag, text string
		to         **sluice.Amount
	}{{"--max-failures", f.maxFailures, &o.MaxFailures}, {"--max-parallel", f.maxParallel, &o.MaxParallel}} {
		if m.text == "" {
			continue
		}
		amount, err := sluice.ParseAmount(m.text)
		if err != nil {
			return o, sluice.Errorf(sluice.Usage, "%s: %v", m.flag, err)
		}
		*m.to = &amount
	}
	if o.Concurrency < 1 {
		return o, sluice.Errorf(sluice.Usage, "--concurrency must be at least 1")
	}
	if o.Timeout < 0 || o.JobTimeout < 0 || o.Reconnect < 0 {
		return o, sluice.Errorf(sluice.Usage, "a time limit cannot be negative")
	}
	if err := o.CheckLock(); err != nil {
		return o, sluice.Errorf(sluice.Usage, "--%v", err)
	}
	if o.Sudo != "" && !target.ValidUser(o.Sudo) {
		return o, sluice.Errorf(sluice.Usage, "--sudo: %q is no name of a user", o.Sudo)
	}
	if f.user != "" && !target.ValidUser(f.user) {
		return o, sluice.Errorf(sluice.Usage, "--user: %q is no name of a user", f.user)
	}
	for _, p := range o.Prompts {
		if _, err := regexp.Compile(p); err != nil {
			return o, sluice.Errorf(sluice.Usage, "--prompt: %v", err)
		}
	}
	o.AskPassword, o.AskSudoPassword, o.AskPassphrase = f.wants()
	o.AskPrivateKey = f.identityFile != ""
	o.Signed = f.sign
	return o, f.environment(&o)
}

func (f *jobFlags) environment(o *sluice.Options) error {
	for _, e := range f.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok || !target.ValidEnv(name) || !target.Sendable(value) {
			return sluice.Errorf(sluice.Usage, "--env: %q is not NAME=VALUE with a name of letters, digits and _", e)
		}
		if o.Env == nil {
			o.Env = map[string]string{}
		}
		o.Env[name] = value
	}
	return nil
}

// request is what the flags say of any kind of job.
func (a *app) request(ctx context.Context, f *jobFlags) (control.Request, error) {
	o, err := f.options()
	if err != nil {
		return control.Request{}, err
	}
	l, err := a.load(ctx, f.targetFlags)
	if err != nil {
		return control.Request{}, err
	}
	fl := *l.fleet
	if f.hooksDir != "" {
		fl = control.WithHooks(fl, f.hooksDir)
	}
	if f.user != "" {
		fl = control.LoginAs(fl, f.user)
	}
	sent := l.sent
	sent.User, sent.Hooks, sent.Key = f.user, f.hooksDir, f.key
	return control.Request{Fleet: &fl, Expression: l.expression, Targets: l.targets, Options: o, Resolve: l.resolve, Sent: sent}, nil
}

func (a *app) runCommand() *cobra.Command {
	var f jobFlags
	var script string
	c := &cobra.Command{
		Use:   "run {-f FLEET -t EXPR | -w HOSTS} [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run a command on hosts, under the fleet's rules",
		Long: `Run a command on hosts, in the order and at the width that the fleet's rules
allow.

One word after -- is shell text; several words arrive on the targets as exactly
those arguments. A host that fails keeps counting against its constraints until
it succeeds or is released.

Ctrl-C halts the job: what runs ends by itself. Twice cancels it: what runs is
killed.`,
		Example: `  sluice run -w 'web[01-20]' -- uptime
  sluice run -f fleet.yaml -t '$web & !$canary' --sudo -- systemctl restart app
  sluice run -f fleet.yaml -t all --max-failures 2 --script fix.sh -- --dry-run`,
		RunE: func(c *cobra.Command, words []string) error {
			r, err := a.request(c.Context(), &f)
			if err != nil {
				return err
			}
			return a.submit(c.Context(), &f, r, func(svc control.Desk, r *control.Request) error {
				return a.command(c.Context(), svc, r, script, words)
			})
		},
	}
	f.add(a, c)
	f.addRecord(c)
	fs := c.Flags()
	fs.BoolVar(&f.o.ReadOnly, "read-only", false, "the command changes nothing: the job takes no lock and no capacity, and makes and clears no holder")
	fs.BoolVar(&f.o.TTY, "tty", false, "run the command on a terminal; a lost link may then kill it")
	fs.StringArrayVar(&f.o.Prompts, "prompt", nil, "answer a prompt of the command that matches this `pattern` with the password, once; may be repeated")
	fs.StringVar(&script, "script", "", "run this local `file` on the targets; what follows -- are its arguments")
	return c
}

// command fills in what the words after -- mean.
func (a *app) command(ctx context.Context, svc control.Desk, r *control.Request, script string, words []string) error {
	for _, w := range words {
		if !target.Sendable(w) {
			return sluice.Errorf(sluice.Usage, "a command cannot have a NUL in it")
		}
	}
	if script != "" {
		content, err := a.Files.Read(script)
		if err != nil {
			return &sluice.Error{Code: sluice.Usage, Text: "--script", Err: err}
		}
		digest, size, err := svc.Keep(ctx, strings.NewReader(string(content)))
		if err != nil {
			return err
		}
		r.Action = sluice.Action{Kind: sluice.RunScript, Script: digest, Size: size, Args: words}
		r.Command = target.Quote(append([]string{script}, words...)...)
		r.Sent.Name = script
		return nil
	}
	switch len(words) {
	case 0:
		return sluice.Errorf(sluice.Usage, "there is no command").WithHint("what is to run stands after --, such as: -- uptime")
	case 1:
		r.Action = sluice.Action{Kind: sluice.RunCommand, Shell: words[0]}
	default:
		r.Action = sluice.Action{Kind: sluice.RunCommand, Shell: target.Quote(words...)}
	}
	if strings.TrimSpace(words[0]) == "" {
		return sluice.Errorf(sluice.Usage, "the command is empty")
	}
	r.Command = r.Action.Shell
	return nil
}

// submit plans the request, asks where it must, and carries the job out.
func (a *app) submit(ctx context.Context, f *jobFlags, r control.Request, fill func(control.Desk, *control.Request) error) error {
	return a.onJournal(ctx, func(svc control.Desk) error {
		if err := fill(svc, &r); err != nil {
			return err
		}
		return a.submitTo(ctx, svc, f, r)
	})
}

func (a *app) submitTo(ctx context.Context, svc control.Desk, f *jobFlags, r control.Request) error {
	_, err := a.submitted(ctx, svc, f, r)
	return err
}

// submitted is submitTo, for who needs the job's id; "" where none was made.
func (a *app) submitted(ctx context.Context, svc control.Desk, f *jobFlags, r control.Request) (sluice.JobID, error) {
	if f.plan {
		return "", a.planned(ctx, svc, r)
	}
	if !svc.Elsewhere() && (f.detach || f.key != "") {
		return "", sluice.Errorf(sluice.Usage, "--detach and --key need a server, which carries the job out whoever is there").
			WithHint("sluice login URL, or --server URL")
	}
	d, err := svc.Prepare(ctx, r)
	if err != nil {
		return "", err
	}
	if f.sign && !svc.Elsewhere() {
		return "", sluice.Errorf(sluice.Usage, "--sign needs a server, whose workers look at the signature").WithHint("sluice login URL, or --server URL")
	}
	if len(d.Retired) > 0 {
		fmt.Fprintf(a.Stderr, "sluice: left out, because retired: %s\n", fleet.Fold(d.Retired))
	}
	if err := a.confirm(ctx, svc, f, d); err != nil {
		return "", err
	}
	secrets, err := a.secrets(f.secretFlags)
	if err != nil {
		return "", err
	}
	s := f.showing()
	if r.Action.Kind == sluice.FetchFrom {
		s.outputDir = "" // there go the files, not what was printed
	}
	drive := func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) { return svc.Run(ctx, d, o) }
	if svc.Elsewhere() {
		d.Secrets = secrets
		if err := a.handIn(ctx, svc, d); err != nil {
			return "", err
		}
		if f.detach {
			return d.Job.ID, a.printID(d.Job.ID)
		}
		drive = func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
			return svc.Carry(ctx, d.Job.ID, o)
		}
	}
	err = a.carry(ctx, svc, s, string(d.Job.ID), func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
		o.Secrets, o.FetchDir = secrets, f.outputDir
		return drive(ctx, o)
	})
	return d.Job.ID, a.carryOn(ctx, svc, s, d.Job.Action, d.Job.ID, secrets, err)
}

// handIn submits a job to a server, which carries it out from then on.
func (a *app) handIn(ctx context.Context, svc control.Desk, d *control.Draft) error {
	err := a.interruptible(ctx, func(ctx context.Context) error {
		_, err := svc.Submit(ctx, d)
		return err
	})
	if errors.Is(err, context.Canceled) {
		return sluice.Errorf(sluice.Contact, "interrupted while the job was submitted; the server may have it").WithHint("sluice jobs")
	}
	return err
}

func (a *app) printID(id sluice.JobID) error {
	if a.json() {
		return a.printJSON(map[string]sluice.JobID{"job": id})
	}
	_, err := fmt.Fprintln(a.Stdout, id)
	return err
}

// confirm asks before a job on many hosts, or one whose success would clear holders.
func (a *app) confirm(ctx context.Context, svc control.Desk, f *jobFlags, d *control.Draft) error {
	why := d.Asks()
	if f.yes || len(why) == 0 {
		return nil
	}
	if a.Confirm == nil {
		return sluice.Errorf(sluice.Usage, "%s", strings.Join(why, "; ")).WithHint("--yes does it without being asked")
	}
	if err := a.showPlan(a.Stderr, d.Fleet, d.Plan); err != nil {
		return err
	}
	if d.Job.Action.Kind == sluice.DeployTo {
		changes, err := fileChanges(ctx, svc, d)
		if err != nil && ctx.Err() == nil { // the job may go on without
			changes, err = notCompared(d, "it could not be found out: "+err.Error()), nil
		}
		if err != nil {
			return err
		}
		if err := live.Changes(a.Stderr, changes, a.screen()); err != nil {
			return err
		}
	}
	for _, w := range why {
		fmt.Fprintf(a.Stderr, "%s.\n", w)
	}
	yes, err := a.agreed(fmt.Sprintf("Run %s on %s?", clean.Line(d.Job.Command), count(len(d.Job.Targets), "host")))
	if err == nil && !yes {
		err = sluice.Errorf(sluice.Usage, "not confirmed; nothing was done")
	}
	return err
}

// carry runs a job in the foreground: it shows what happens, and turns interrupts into halt and cancel.
func (a *app) carry(ctx context.Context, svc control.Desk, s showing, id string, drive func(context.Context, control.DriveOptions) (sluice.Event, error)) error {
	show := a.show(ctx, svc, s)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	interrupts := make(chan struct{})
	go func() {
		defer close(interrupts)
		a.interrupts(ctx, svc, sluice.JobID(id), done, show, stop)
	}()
	last, err := drive(ctx, control.DriveOptions{Observe: show.Event, Waits: show.Waits, Notice: show.Notice, NoOutput: !a.showsOutput(s), KeepOutput: !a.json() && !s.verbose && !s.quiet})
	close(done)
	<-interrupts
	show.Close()
	if cause := context.Cause(ctx); errors.Is(cause, errLetGo) {
		if svc.Elsewhere() {
			fmt.Fprintf(a.Stderr, "sluice: let go of job %s; the server carries it on\n        sluice watch %s\n", id, id)
			return exitError(exitCancelled)
		}
		fmt.Fprintf(a.Stderr, "sluice: let go of job %s; what runs on the targets runs on\n        sluice resume %s\n", id, id)
		return exitError(exitCancelled)
	}
	if err != nil {
		return err
	}
	return ended(show, last)
}

// ended says how the job ended, to the person and to whoever started this program.
func ended(show *ending, last sluice.Event) error {
	if err := show.Summary(last); err != nil {
		return err
	}
	return show.exit(last)
}

var errLetGo = errors.New("let go")

// interrupts halts the job at the first interrupt, cancels it at the second, and lets go of it at the third.
func (a *app) interrupts(ctx context.Context, svc control.Desk, id sluice.JobID, done <-chan struct{}, show display, letGo context.CancelCauseFunc) {
	for n := 1; ; n++ {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-a.Interrupts:
		}
		var err error
		switch n {
		case 1:
			show.Notice("halting: nothing new starts, what runs ends by itself; Ctrl-C again kills it")
			_, err = svc.Halt(ctx, id, "interrupted by "+svc.Who())
		case 2:
			show.Notice("cancelling: what runs is being killed; Ctrl-C again lets go of it")
			_, err = svc.Cancel(ctx, id, "interrupted twice by "+svc.Who())
		default:
			letGo(errLetGo)
			return
		}
		if err != nil && sluice.CodeOf(err) != sluice.Conflict {
			show.Notice(err.Error())
		}
	}
}
