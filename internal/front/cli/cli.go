// Package cli is the command line: arguments in, exit status out. Each command is a file with its flags, its run
// function and its printer. It calls control and shows views; it opens no file of the journal and no connection
// itself: what it needs of the world is handed in as [World].
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/build"
	"sluice/internal/core/document"
	"sluice/internal/core/fleet"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// Exit statuses. They are a contract with scripts; docs/exit-codes.md explains them.
const (
	exitOK        = 0 // all succeeded, or were skipped by choice
	exitFailures  = 1 // finished with failures
	exitUsage     = 2 // usage or configuration error; nothing was done
	exitHalted    = 3 // halted by a rule or an operator
	exitCancelled = 4
	exitContact   = 5 // no contact to the server or the journal
)

// World is what the command line runs in.
type World struct {
	Args           []string
	Env            func(name string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal reports whether stdout, or stderr, is a terminal, and how large it is.
	StdoutTerminal, StderrTerminal bool
	Size                           func() (width, height int)
	// Ask reads a secret from the terminal without showing it; nil without a terminal.
	Ask func(prompt string) (sluice.Secret, error)
	// Confirm reads a line from the terminal; nil without a terminal.
	Confirm func(prompt string) (string, error)
	// ReadFD reads a file descriptor to its end.
	ReadFD func(fd int) ([]byte, error)
	// Interrupts are Ctrl-C and SIGTERM.
	Interrupts <-chan struct{}
	Clock      sluice.Clock
	// Desk opens the journal, or the way to a server. With create == false it returns nil where there is none yet.
	Desk func(ctx context.Context, create bool) (control.Desk, func() error, error)
	// Remote is the way to a server.
	Remote func(Server) (control.Desk, func() error, error)
	// Client is the way to a server for what a desk does not do.
	Client func(Server) (*client.Client, func() error, error)
	// Remember hands a server back what it has shown of its log before, and keeps what it shows now. An error says that the
	// log went backwards. May be nil.
	Remember func(ctx context.Context, s Server) error
	// Greet asks a server whether it takes the token.
	Greet func(ctx context.Context, s Server) error
	// Contexts keeps the servers that the person logged in to.
	Contexts Contexts
	// Artifacts are the way to repositories of artifacts.
	Artifacts Artifacts
	// Builder builds what is in a checkout.
	Builder func(ctx context.Context, o BuildOrder) (build.Report, error)
	// Balancers are the way to balancers, from this machine.
	Balancers func(s control.Secrets) (Balancers, func() error, error)
	// Fleets reads fleet files.
	Fleets fleet.Source
	// Layers opens a directory with layers of configuration.
	Layers func(ctx context.Context, dir string, at LayersAt) (Layers, error)
	// DefaultFleet is the fleet file that is used where none is named; "" if there is none.
	DefaultFleet string
	// Files are the local files of commands.
	Files Files
	// Enrol learns the host key of a host without logging in.
	Enrol func(ctx context.Context, h sluice.Host, s sluice.SSH) (HostKey, error)
	// Journal looks after the files of the journal, or for a directory of those of a server.
	Journal func(ctx context.Context, data, act string) (string, error)
	// Trail opens the records of the log: of a server whose data are in a directory of this machine, or for "" of the
	// journal, or of the server that one is logged in to.
	Trail func(ctx context.Context, data string, at *Server) (Trail, error)
	// Backup keeps all that a server has; Restore makes a server's data of it.
	Backup  func(ctx context.Context, o BackupOptions) (BackedUp, error)
	Restore func(ctx context.Context, o RestoreOptions) (Restored, error)
	// Promote makes the first server of a cluster, Demote takes that back, and Recover goes on with what is left of one.
	Promote func(ctx context.Context, o PromoteOptions) (Promoted, error)
	Demote  func(ctx context.Context, o DemoteOptions) (Demoted, error)
	Recover func(ctx context.Context, o RecoverOptions) (Restored, error)
	// Hostname is the name of this machine.
	Hostname func() (string, error)
	// Serve is a server until ctx ends; nil where that cannot be.
	Serve func(ctx context.Context, o ServeOptions) error
	// LogIn logs a person in to a server with OpenID, and returns the server's token; show is handed where to go.
	LogIn func(ctx context.Context, s Server, show func(address string) error) (api.NewToken, error)
	// Work is a worker of a server elsewhere until ctx ends; nil where that cannot be.
	Work  func(ctx context.Context, o WorkerOptions) error
	Build Build
}

// Files are what commands do with local files.
type Files interface {
	Read(path string) ([]byte, error)
	// Pack makes a blob of a file or tree, and returns its digest and size.
	Pack(ctx context.Context, path string, put func(context.Context, io.Reader) (string, int64, error)) (digest string, size int64, err error)
	// Create makes a file for output, with the directories above it.
	Create(path string) (io.WriteCloser, error)
	Absolute(path string) (string, error)
	// Keep makes a file with a secret, which its owner alone can read, as a whole or not at all, in place of what is there.
	Keep(path string, secret []byte) error
}

// HostKey is a key that a host showed.
type HostKey struct {
	Fingerprint string // SHA256:...
	Type        string // ssh-ed25519 ...
	Address     string // that was asked
	Known       bool   // it is in known_hosts already
	// Keep adds it to known_hosts.
	Keep func() error
}

// Build says what program this is.
type Build struct{ Version, Revision, Time, Go string }

// app is one run of the command line.
type app struct {
	World
	output string // text or json

	server, tokenFile, caFile string // flags
	chosen                    *Server
	stale                     sync.Once     // it is said once that answers are old
	kept                      *api.KeptHalt // a halt that the server said it keeps
}

// Main runs the command line and returns the exit status.
func Main(ctx context.Context, w World) int {
	a := &app{World: w}
	root := a.root()
	root.SetArgs(w.Args)
	root.SetOut(w.Stdout)
	root.SetErr(w.Stderr)
	root.SetIn(w.Stdin)
	err := root.ExecuteContext(ctx)
	var status exitError
	if errors.As(err, &status) {
		return int(status)
	}
	if err != nil {
		a.complain(err)
		return exitFor(err)
	}
	return exitOK
}

// exitError ends the program with a status and nothing more to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitFor maps an error to its exit status. What is not one of ours is a mistake on the command line.
func exitFor(err error) int {
	if sluice.CodeOf(err) == sluice.Contact || errors.Is(err, context.Canceled) {
		return exitContact
	}
	return exitUsage
}

// complain tells the person what is wrong and what to do.
func (a *app) complain(err error) {
	fmt.Fprintf(a.Stderr, "sluice: %s\n", clean.Text(err.Error()))
	var several document.Errors // they bring their hints along
	var e *sluice.Error
	if !errors.As(err, &several) && errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(a.Stderr, "        %s\n", clean.Text(e.Hint))
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Controlled change for fleets of Linux hosts",
		Long: `Sluice runs a command, a script or a copy on many hosts in the order, at the
width and with the stops that the fleet's rules allow. What fails keeps
counting; what is not known is never made up.

  sluice run -w 'web[01-20]' -- uptime              # no set-up needed
  sluice run -f fleet.yaml -t '$app.web' -- 'systemctl restart app'
  sluice plan -f fleet.yaml -t all                  # what would happen
  sluice rehearse -f fleet.yaml -t all --fail 10%   # against simulated hosts`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              noSuchCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetUsageFunc(usage)
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "`format` of the output: text or json")
	root.PersistentFlags().StringVar(&a.server, "server", "", "`URL` of a server, of several of a cluster with commas, or name of a context (default $SLUICE_SERVER)")
	root.PersistentFlags().StringVar(&a.tokenFile, "token-file", "", "`file` with the token for the server (default $SLUICE_TOKEN)")
	root.PersistentFlags().StringVar(&a.caFile, "ca-file", "", "`file` with certificates to trust the server by, beside the system's")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return sluice.Errorf(sluice.Usage, "%v", err).WithHint("%s --help", c.CommandPath())
	})
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if a.output != "text" && a.output != "json" {
			return sluice.Errorf(sluice.Usage, "the output can be text or json, not %q", a.output)
		}
		if !usesServer(c) {
			return nil
		}
		return a.choose()
	}
	root.AddGroup(&cobra.Group{ID: "do", Title: "Do:"}, &cobra.Group{ID: "see", Title: "See before:"},
		&cobra.Group{ID: "job", Title: "While it runs, and after:"}, &cobra.Group{ID: "fleet", Title: "The fleet:"},
		&cobra.Group{ID: "app", Title: "What apps are made of:"}, &cobra.Group{ID: "server", Title: "A server that many share:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("do", a.runCommand(), a.copyCommand(), a.fetchCommand())
	add("see", a.planCommand(), a.rehearseCommand(), a.hostsCommand())
	add("job", a.jobsCommand(), a.statusCommand(), a.watchCommand(), a.whyCommand(), a.logCommand(), a.haltCommand(),
		a.resumeCommand(), a.cancelCommand(), a.retryCommand(), a.skipCommand(), a.approveCommand())
	add("fleet", a.fleetCommand(), a.hostCommand(), a.balancerCommand(), a.schemaCommand())
	add("app", a.buildCommand(), a.deployCommand(), a.rollbackCommand(), a.convergeCommand(), a.whereCommand(), a.releasesCommand(), a.atCommand(), a.artifactCommand(), a.configCommand())
	add("server", a.serverCommand(), a.workerCommand(), a.workersCommand(), a.loginCommand(), a.logoutCommand(), a.contextCommand(),
		a.whoamiCommand(), a.accessCommand(), a.auditCommand(), a.webhookCommand())
	root.AddCommand(a.versionCommand(), a.journalCommand(), a.manCommand(root))
	a.complete(root)
	return root
}

func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := sluice.Errorf(sluice.Usage, "there is no command %q", args[0])
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return e.WithHint("did you mean %q?", near[0])
	}
	return e.WithHint("sluice --help")
}

// args checks the number of positional arguments and names what is missing.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return sluice.Errorf(sluice.Usage, "%s takes %s", c.CommandPath(), what).WithHint("%s --help", c.CommandPath())
		}
		return nil
	}
}

func (a *app) json() bool { return a.output == "json" }

// printJSON writes one object a line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", b)
	return err
}

// printEach writes one object for each item, in the form that programs get.
func printEach[T, F any](a *app, items []T, form func(T) F) error {
	for _, i := range items {
		if err := a.printJSON(form(i)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printEvents(events []sluice.Event) error {
	return printEach(a, events, func(e sluice.Event) sluice.Event { return e })
}

// onJournal opens the journal for as long as do takes.
func (a *app) onJournal(ctx context.Context, do func(control.Desk) error) error {
	svc, closing, err := a.desk(ctx, true)
	if err != nil {
		return err
	}
	defer func() {
		if err := closing(); err != nil {
			a.complain(err)
		}
	}()
	if a.chosen == nil || a.Remember == nil {
		return do(svc)
	}
	if err := a.Remember(ctx, *a.chosen); err != nil {
		return err
	}
	err = do(svc)
	_ = a.Remember(context.WithoutCancel(ctx), *a.chosen) // what was just asked for is in what others remember; else the next one sees it
	return err
}

// withJournal makes a command's run function of one that needs the journal from its beginning to its end.
func (a *app) withJournal(do func(*cobra.Command, control.Desk, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.onJournal(c.Context(), func(svc control.Desk) error { return do(c, svc, args) })
	}
}

// agreed asks a question that can be answered with y or yes.
func (a *app) agreed(question string) (bool, error) {
	answer, err := a.Confirm(question + " [y/N] ")
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// exitOf is the status with which the last event of a job ends the program.
func exitOf(last sluice.Event) error {
	switch b := last.Body.(type) {
	case sluice.JobHalted:
		return exitError(exitHalted)
	case sluice.JobFinished:
		switch b.Outcome {
		case sluice.Succeeded:
			return nil
		case sluice.Cancelled:
			return exitError(exitCancelled)
		}
	}
	return exitError(exitFailures)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String()
}
