package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// localName stands for this machine's own journal where a server could be named.
const localName = "local"

// Server is a server, or those of a cluster, and what one shows them.
type Server struct {
	URL    string // of several servers with commas between them
	Token  sluice.Secret
	CAFile string // certificates to trust it by, beside the system's; "" for none
	// Stale is told which server has had no contact with a majority of its cluster since when, with each answer that is as old. May be nil.
	Stale func(server string, since time.Time)
	// HaltKept is told of a halt that the server keeps until it can be appended. May be nil.
	HaltKept func(h api.KeptHalt)
}

// URLs are those of all servers.
func (s Server) URLs() []string {
	var out []string
	for _, one := range strings.Split(s.URL, ",") {
		out = append(out, strings.TrimRight(strings.TrimSpace(one), "/"))
	}
	return out
}

// Context is a server that the person logged in to.
type Context struct {
	Name string
	Server
}

// Contexts keeps them.
type Contexts interface {
	// Load returns all, in order, and the name of the one that is meant where none is named; "" for none.
	Load() (list []Context, current string, err error)
	Save(list []Context, current string) error
}

// usesServer reports whether a server could be meant by a command. Where it is none, nothing about servers can be wrong.
func usesServer(c *cobra.Command) bool {
	for ; c.HasParent(); c = c.Parent() {
		switch c.Name() {
		case "members": // below server, but for those that run
			return true
		case "server", "worker", "login", "logout", "context", "artifact", "build", "config", "version", "schema", "man", "help", "completion":
			return false
		}
	}
	return true
}

// choose finds out which server is meant: the one that is named, or that of the environment, or of the current context.
// None of these means the journal of this machine.
func (a *app) choose() error {
	name := a.server
	if name == "" {
		name = a.Env("SLUICE_SERVER")
	}
	var list []Context
	if a.Contexts != nil && name != localName {
		var current string
		var err error
		if list, current, err = a.Contexts.Load(); err != nil {
			return err
		}
		if name == "" {
			name = current
		}
	}
	if name == "" || name == localName {
		if a.tokenFile != "" || a.caFile != "" {
			return sluice.Errorf(sluice.Usage, "--token-file and --ca-file are for a server, and none is named").WithHint("--server URL")
		}
		return nil
	}
	var s Server
	for _, c := range list {
		if c.Name == name {
			s = c.Server
			break
		}
		if among(name, c.URL) {
			s = c.Server
			s.URL = name // those that are named, in their order
			break
		}
	}
	if s.URL == "" {
		for _, one := range (Server{URL: name}).URLs() {
			if strings.Contains(one, "://") {
				continue
			}
			return sluice.Errorf(sluice.Usage, "%q is neither the URL of a server nor a context", one).WithHint("such as https://sluice.example.com:7657; sluice context lists contexts")
		}
		s.URL = name
	}
	if a.tokenFile != "" || a.meant(s.URL, s.Token.Set() && name != s.URL) {
		if err := a.token(&s); err != nil {
			return err
		}
	}
	if a.caFile != "" {
		s.CAFile = a.caFile
	}
	if !s.Token.Set() && !strings.HasPrefix(s.URL, "unix:") && a.Env("SLUICE_CLIENT_CERT") == "" {
		return sluice.Errorf(sluice.Usage, "there is no token for the server %s", s.URL).WithHint("sluice login %s, or --token-file FILE, or SLUICE_TOKEN", s.URL)
	}
	s.Stale = func(server string, since time.Time) {
		a.stale.Do(func() {
			at := Server{URL: server}
			fmt.Fprintf(a.Stderr, "sluice: this is what the server %s had at %s; it has no contact with the others\n", clean.Text(at.called()), since.UTC().Format(time.RFC3339))
		})
	}
	s.HaltKept = func(h api.KeptHalt) { a.kept = &h }
	a.chosen = &s
	return nil
}

// called is what people call the server.
func (s *Server) called() string {
	if u, err := url.Parse(s.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return s.URL
}

// meant reports whether SLUICE_TOKEN is for the server: a token goes to no server that it was not given for. It is for the
// one of SLUICE_SERVER; where that is not set, for one that was named here and that has no token of its own.
func (a *app) meant(server string, own bool) bool {
	named := a.Env("SLUICE_SERVER")
	switch {
	case a.server == "" && named != "":
		return true
	case own: // a context
		return false
	}
	return named == "" || among(server, named)
}

// among reports whether all URLs of one list are in another one. What is given for the second one may be shown to the first.
func among(some, all string) bool {
	known := (Server{URL: all}).URLs()
	for _, one := range (Server{URL: some}).URLs() {
		if !slices.Contains(known, one) {
			return false
		}
	}
	return true
}

// token takes the token of a file or of the environment, if there is one.
func (a *app) token(s *Server) error {
	var text []byte
	from := "SLUICE_TOKEN"
	switch {
	case a.tokenFile != "":
		var err error
		if text, err = a.Files.Read(a.tokenFile); err != nil {
			return &sluice.Error{Code: sluice.Usage, Text: "--token-file", Err: err}
		}
		from = a.tokenFile
	case a.Env("SLUICE_TOKEN") != "":
		text = []byte(a.Env("SLUICE_TOKEN"))
	default:
		return nil
	}
	return s.keep(text, from)
}

func (s *Server) keep(text []byte, from string) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || bytes.ContainsAny(text, " \t\r\n\x00") {
		return sluice.Errorf(sluice.Usage, "%s has no token of one word", from)
	}
	s.Token = sluice.NewSecret(text)
	return nil
}

// elsewhere reports whether a server is meant.
func (a *app) elsewhere() bool { return a.chosen != nil }

// desk is where commands go: the server that was chosen, or the journal of this machine.
func (a *app) desk(ctx context.Context, create bool) (control.Desk, func() error, error) {
	if a.chosen == nil {
		return a.Desk(ctx, create)
	}
	return a.Remote(*a.chosen)
}

func (a *app) loginCommand() *cobra.Command {
	var name string
	fd := -1
	var oidc bool
	c := &cobra.Command{
		Use:   "login URL",
		Short: "Use a server from now on",
		Long: `Use a server from now on, for every command. The token is asked for, or read
from --token-file, --token-fd or SLUICE_TOKEN; the server is asked whether it
takes it. It is kept in contexts.json beside the other settings, for you alone.
Several servers of a cluster have commas between their URLs: commands go to the
one that answered, and to the next one where that cannot be reached.`,
		Example: `  sluice login https://sluice.example.com:7657
  sluice login https://s1.example.com:7657,https://s2.example.com:7657
  sluice login http://127.0.0.1:7657 --token-file admin.token --name mine`,
		Args: args(1, 1, "the URL of a server"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.login(c.Context(), Server{URL: strings.Join(Server{URL: args[0]}.URLs(), ","), CAFile: a.caFile}, name, fd, oidc)
		},
	}
	c.Flags().StringVar(&name, "name", "", "`name` of the context (default: that of the server)")
	c.Flags().IntVar(&fd, "token-fd", -1, "read the token from file descriptor `N`")
	c.Flags().Lookup("token-fd").DefValue = "0"
	c.Flags().BoolVar(&oidc, "oidc", false, "get the token by logging in at the OpenID provider that the server names")
	return c
}

func (a *app) login(ctx context.Context, s Server, name string, fd int, oidc bool) error {
	for i, one := range s.URLs() {
		u, err := url.Parse(one)
		if err != nil || u.Host == "" {
			return sluice.Errorf(sluice.Usage, "%q is no URL of a server", one).WithHint("such as https://sluice.example.com:7657")
		}
		if i == 0 && name == "" {
			name = u.Host
		}
	}
	if name == localName || strings.Contains(name, "/") {
		return sluice.Errorf(sluice.Usage, "--name: %q cannot be the name of a context", name)
	}
	var err error
	if s.CAFile != "" {
		if s.CAFile, err = a.Files.Absolute(s.CAFile); err != nil {
			return err
		}
	}
	get := func() error { return a.tokenFor(&s, fd) }
	if oidc {
		get = func() error { return a.byOIDC(ctx, &s) }
	}
	if err := get(); err != nil {
		return err
	}
	if err := a.Greet(ctx, s); err != nil {
		return err
	}
	list, _, err := a.Contexts.Load()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(c Context) bool { return c.Name == name })
	if err := a.Contexts.Save(append(list, Context{name, s}), name); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(contextLine{name, s.URL, true})
	}
	fmt.Fprintf(a.Stdout, "Commands go to %s from now on.\nsluice context %s goes back to the journal of this machine.\n", s.URL, localName)
	return nil
}

// tokenFor gets the token from wherever the person has it. It is no argument: those are seen by everybody.
func (a *app) tokenFor(s *Server, fd int) error {
	if fd >= 0 {
		text, err := a.ReadFD(fd)
		if err != nil {
			return &sluice.Error{Code: sluice.Usage, Text: "--token-fd", Err: err}
		}
		return s.keep(text, fmt.Sprintf("descriptor %d", fd))
	}
	if err := a.token(s); err != nil || s.Token.Set() {
		return err
	}
	if a.Ask == nil {
		return sluice.Errorf(sluice.Usage, "there is no token, and no terminal to ask for it at").WithHint("--token-file FILE, --token-fd N, or SLUICE_TOKEN")
	}
	secret, err := a.Ask("Token for " + s.URL + ": ")
	if err != nil {
		return &sluice.Error{Code: sluice.Usage, Text: "reading the token", Err: err}
	}
	return s.keep(secret.Reveal(), "what was typed")
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [NAME]",
		Short: "Forget a server, and the token for it",
		Long: `Forget a server, and the token for it: that of the current context, if none is
named. The token stays valid for whoever else has it.`,
		Args: args(0, 1, "at most one context"),
		RunE: func(_ *cobra.Command, args []string) error {
			list, current, err := a.Contexts.Load()
			if err != nil {
				return err
			}
			name := first(args)
			if name == "" {
				name = current
			}
			left := slices.DeleteFunc(slices.Clone(list), func(c Context) bool { return c.Name == name || among(c.URL, name) })
			if len(left) == len(list) {
				return noContext(name)
			}
			if !slices.ContainsFunc(left, func(c Context) bool { return c.Name == current }) {
				current = ""
			}
			if err := a.Contexts.Save(left, current); err != nil || a.json() {
				return err
			}
			fmt.Fprintf(a.Stdout, "Forgot %s.\n", name)
			return nil
		},
	}
}

func noContext(name string) error {
	if name == "" {
		return sluice.Errorf(sluice.Usage, "no server is used").WithHint("sluice login URL")
	}
	return sluice.Errorf(sluice.Usage, "there is no context %q", name).WithHint("sluice context lists them; sluice login URL makes one")
}

// contextLine is a context, as JSON.
type contextLine struct {
	Name    string `json:"name"`
	Server  string `json:"server"`
	Current bool   `json:"current"`
}

func (a *app) contextCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "context [NAME]",
		Short: "List the servers that you use, or change to another one",
		Long: `List the servers that you use, or change to another one. The name "local" stands
for the journal of this machine. --server and SLUICE_SERVER go before.`,
		Example: `  sluice context
  sluice context local`,
		Args: args(0, 1, "at most one name"),
		RunE: func(_ *cobra.Command, args []string) error {
			list, current, err := a.Contexts.Load()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.printContexts(list, current)
			}
			name := args[0]
			if name == localName {
				name = ""
			} else if !slices.ContainsFunc(list, func(c Context) bool { return c.Name == name }) {
				return noContext(name)
			}
			if err := a.Contexts.Save(list, name); err != nil || a.json() {
				return err
			}
			fmt.Fprintf(a.Stdout, "Commands go to %s from now on.\n", args[0])
			return nil
		},
	}
}

func (a *app) printContexts(list []Context, current string) error {
	lines := []contextLine{{localName, "", current == ""}}
	for _, c := range list {
		lines = append(lines, contextLine{c.Name, c.URL, c.Name == current})
	}
	if a.json() {
		return printEach(a, lines, func(l contextLine) contextLine { return l })
	}
	for _, l := range lines {
		mark := " "
		if l.Current {
			mark = "*"
		}
		if l.Server == "" {
			l.Server = "the journal of this machine"
		}
		fmt.Fprintf(a.Stdout, "%s %-24s %s\n", mark, l.Name, l.Server)
	}
	return nil
}
