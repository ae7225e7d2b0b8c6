package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/front/clean"
)

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are to the server, and what you may do",
		Args:  args(0, 0, "no arguments"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, _ []string) error {
			me, err := s.Me(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(me)
			}
			fmt.Fprintln(a.Stdout, me.Principal)
			for _, g := range me.Grants {
				fmt.Fprintf(a.Stdout, "  %s\n", clean.Text(g.String()))
			}
			if me.Token != nil {
				fmt.Fprintf(a.Stdout, "by the %s\n", tokenText(*me.Token))
			}
			return nil
		}),
	}
}

// accessCommand is who may do what on a server.
func (a *app) accessCommand() *cobra.Command {
	c := &cobra.Command{Use: "access", Short: "Say who may do what on a server", Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var again bool
	add := a.accessAct("add PRINCIPAL", "Make somebody known to the server, without any right", "a name", 1, func(c *cobra.Command, s *client.Client, args []string) (string, error) {
		return "Added " + args[0] + ".", s.AddPrincipal(c.Context(), sluice.Principal(args[0]), again)
	})
	add.Flags().BoolVar(&again, "again", false, "it is the same one who was removed before")
	var made bool
	revoke := a.accessAct("revoke TOKEN", "End a token, and those that were made with it", "the id of a token", 1, func(c *cobra.Command, s *client.Client, args []string) (string, error) {
		return "Revoked " + args[0] + ".", s.RevokeToken(c.Context(), sluice.TokenID(args[0]), made)
	})
	revoke.Flags().BoolVar(&made, "stolen", false, "it was in the wrong hands: end also the lasting ones that were made with it")
	token := &cobra.Command{Use: "token", Short: "Make and revoke tokens", Args: noSuchCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	token.AddCommand(a.tokenMake(), revoke)
	c.AddCommand(a.accessList(), add,
		a.accessAct("remove PRINCIPAL", "Take all grants and tokens of somebody back", "a name", 1, func(c *cobra.Command, s *client.Client, args []string) (string, error) {
			return "Removed " + args[0] + ".", s.RemovePrincipal(c.Context(), sluice.Principal(args[0]))
		}),
		a.grantAct("grant", "Give somebody a role", (*client.Client).Grant, "Granted"),
		a.grantAct("revoke-grant", "Take a role of somebody back", (*client.Client).TakeGrant, "Taken back"),
		a.rolesList(),
		a.accessAct("define-role ROLE [RIGHT...]", "Say what a role may do; without rights it is gone", "a role and its rights", -1, func(c *cobra.Command, s *client.Client, args []string) (string, error) {
			var may []sluice.Right
			for _, r := range args[1:] {
				right, err := sluice.ParseRight(r)
				if err != nil {
					return "", err
				}
				may = append(may, right)
			}
			return "Defined " + args[0] + ".", s.DefineRole(c.Context(), sluice.Role(args[0]), may)
		}),
		a.tokensList(), token)
	return c
}

// accessAct is a change. do returns what to say of it.
func (a *app) accessAct(use, short, takes string, most int, do func(*cobra.Command, *client.Client, []string) (string, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args(1, most, takes), RunE: a.atServer(func(c *cobra.Command, s *client.Client, args []string) error {
		said, err := do(c, s, args)
		if err != nil {
			return err
		}
		if a.json() {
			return a.printJSON(map[string]bool{"done": true})
		}
		fmt.Fprintln(a.Stdout, said)
		return nil
	})}
}

func (a *app) grantAct(name, short string, do func(*client.Client, context.Context, sluice.Grant) error, said string) *cobra.Command {
	var ns string
	var tags []string
	c := a.accessAct(name+" PRINCIPAL ROLE", short, "a name and a role", 2, func(c *cobra.Command, s *client.Client, args []string) (string, error) {
		if len(args) != 2 {
			return "", sluice.Errorf(sluice.Usage, "%s takes a name and a role", c.CommandPath()).WithHint("sluice access roles")
		}
		g := sluice.Grant{Principal: sluice.Principal(args[0]), Role: sluice.Role(args[1]), Namespace: sluice.Namespace(ns)}
		for _, t := range tags {
			g.Tags = append(g.Tags, sluice.Tag(strings.TrimPrefix(t, "$")))
		}
		return fmt.Sprintf("%s: %s, %s.", said, g.Principal, g), do(s, c.Context(), g)
	})
	c.Flags().StringVar(&ns, "namespace", "", "only in this `namespace`")
	c.Flags().StringArrayVar(&tags, "tag", nil, "only for hosts with this `tag`; may be repeated")
	return c
}

func (a *app) accessList() *cobra.Command {
	return &cobra.Command{Use: "list [PRINCIPAL]", Short: "List who is known to the server, and their roles", Args: args(0, 1, "at most one name"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, args []string) error {
			people, err := s.People(c.Context())
			if err != nil {
				return err
			}
			found := false
			for _, p := range people {
				if len(args) == 1 && args[0] != string(p.Principal) {
					continue
				}
				found = true
				if a.json() {
					if err := a.printJSON(p); err != nil {
						return err
					}
					continue
				}
				a.person(p)
			}
			if !found && len(args) == 1 {
				return sluice.Errorf(sluice.NotFound, "nobody is known as %q", args[0]).WithHint("sluice access list")
			}
			return nil
		})}
}

func (a *app) person(p api.Person) {
	state := ""
	if p.Removed {
		state = " (removed)"
	}
	fmt.Fprintf(a.Stdout, "%s%s\n", p.Principal, state)
	for _, g := range p.Grants {
		fmt.Fprintf(a.Stdout, "  %s\n", clean.Text(g.String()))
	}
	for _, t := range p.Tokens {
		fmt.Fprintf(a.Stdout, "  %s\n", tokenText(t))
	}
}

func (a *app) rolesList() *cobra.Command {
	return &cobra.Command{Use: "roles", Short: "List the roles, and what they may do", Args: args(0, 0, "no arguments"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, _ []string) error {
			roles, err := s.Roles(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return printEach(a, roles, func(r api.Role) api.Role { return r })
			}
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, r := range roles {
				fmt.Fprintf(w, "%s\t%s\n", r.Role, rightsText(r.May))
			}
			return w.Flush()
		})}
}

func (a *app) tokensList() *cobra.Command {
	return &cobra.Command{Use: "tokens [PRINCIPAL]", Short: "List your tokens, or those of somebody", Args: args(0, 1, "at most one name"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, args []string) error {
			tokens, err := s.Tokens(c.Context(), sluice.Principal(strings.Join(args, "")))
			if err != nil {
				return err
			}
			if a.json() {
				return printEach(a, tokens, func(t api.Token) api.Token { return t })
			}
			for _, t := range tokens {
				fmt.Fprintln(a.Stdout, tokenText(t))
			}
			return nil
		})}
}

func (a *app) tokenMake() *cobra.Command {
	var w api.TokenWish
	var only []string
	var whom, ns string
	c := &cobra.Command{Use: "make [flags]", Short: "Make a token, and print its secret, this once", Args: args(0, 0, "no arguments"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, _ []string) error {
			w.Principal, w.Namespace = sluice.Principal(whom), sluice.Namespace(ns)
			for _, r := range only {
				right, err := sluice.ParseRight(r)
				if err != nil {
					return err
				}
				w.Only = append(w.Only, right)
			}
			made, err := s.MakeToken(c.Context(), w)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(made)
			}
			fmt.Fprintln(a.Stdout, made.Secret)
			fmt.Fprintf(a.Stderr, "sluice: made the %s for %s; its secret is shown this once\n", tokenText(made.Token), made.Principal)
			return nil
		})}
	fs := c.Flags()
	fs.StringVar(&whom, "for", "", "for this `principal`; default: you")
	fs.StringVar(&w.Expires, "expires", "", "how long it lives, a `time` such as 12h; default: for ever")
	fs.StringArrayVar(&only, "only", nil, "bound it to this `right`; may be repeated")
	fs.StringVar(&ns, "namespace", "", "bound it to this `namespace`")
	fs.StringVar(&w.Label, "label", "", "`text` that says what it is for")
	fs.BoolVar(&w.Lasting, "lasting", false, "it lives on when the token that makes it is revoked")
	return c
}

func rightsText(rights []sluice.Right) string {
	var out []string
	for _, r := range rights {
		out = append(out, string(r))
	}
	return strings.Join(out, " ")
}

func tokenText(t api.Token) string {
	s := "token " + string(t.ID)
	if t.Kind == sluice.BySession {
		s = "session " + string(t.ID)
	}
	if t.Label != "" {
		s += " (" + clean.Text(t.Label) + ")"
	}
	if len(t.Only) > 0 {
		s += ", only " + rightsText(t.Only)
	}
	if t.Namespace != "" {
		s += ", in " + string(t.Namespace)
	}
	switch {
	case t.Ended:
		s += ", put away"
	case t.Expired:
		s += ", expired"
	case t.Expires != nil:
		s += ", until " + t.Expires.UTC().Format("2006-01-02 15:04 MST")
	}
	return s
}
