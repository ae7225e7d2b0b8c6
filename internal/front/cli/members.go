package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/front/clean"
)

// membersCommand is for servers what workers is for workers. What differs: nothing is drained, since who owns the log hands it on by
// itself; removing asks, since the majority of those that are left is another one; and one can be put in place of another in one step.
func (a *app) membersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "members",
		Short: "List, add, remove and replace the servers of a cluster",
		Args:  noSuchCommand,
		RunE:  a.atServer(a.listMembers),
	}
	c.AddCommand(a.addMember(), a.removeMember(), a.replaceMember())
	return c
}

func (a *app) listMembers(c *cobra.Command, s *client.Client, _ []string) error {
	list, err := s.Cluster(c.Context())
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(list)
	}
	now := a.Clock()
	fmt.Fprintln(a.Stdout, standing(list, now))
	if list.Waits != "" {
		fmt.Fprintf(a.Stdout, "%s cannot own the log yet; it waits for this: %s.\n", clean.Text(string(list.Self)), clean.Text(list.Waits))
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tROLE\tIN ENGINE\tBEHIND\tSEEN\tVERSION\tADDRESS")
	for _, m := range list.Members {
		name, role, behind := string(m.Name), m.Role, "-"
		if m.Name == list.Self {
			name += " (this one)"
		}
		if m.Replaces != "" && m.Role == api.InvitedRole {
			role += " for " + string(m.Replaces)
		}
		inEngine := orDash(clean.Text(m.InEngine))
		if m.Leads {
			inEngine += ", leads"
		}
		if m.Behind != nil {
			behind = strconv.FormatUint(*m.Behind, 10)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean.Text(name), clean.Text(role), inEngine, behind, agoOf(m.Seen, now),
			orDash(clean.Text(m.Version)), orDash(clean.Text(m.Address)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range list.Members {
		if m.Trouble != "" {
			fmt.Fprintf(a.Stdout, "%s: %s\n", clean.Text(string(m.Name)), clean.Text(m.Trouble))
		}
	}
	for _, h := range list.Kept {
		what := "all jobs"
		switch {
		case h.Job != "":
			what = "the job " + string(h.Job)
		case h.Namespace != "":
			what = "all jobs of the namespace " + string(h.Namespace)
		}
		fmt.Fprintf(a.Stdout, "%s keeps a halt of %s that %s asked for at %s.\n", clean.Text(string(h.Server)), clean.Text(what), clean.Text(string(h.By)), h.At.UTC().Format(time.RFC3339))
	}
	return a.sayRestored(c, s, list.Restored, now)
}

// fewHalted is how many jobs are named.
const fewHalted = 5

// sayRestored says which jobs wait for somebody since the log was restored, and what has them go on.
func (a *app) sayRestored(c *cobra.Command, s *client.Client, r *api.ClusterRestored, now time.Time) error {
	if r == nil {
		return nil
	}
	halted, err := s.Jobs(c.Context(), client.JobsQuery{State: "halted", Until: r.At})
	if sluice.CodeOf(err) == sluice.Denied { // whoever asks may see servers, and no jobs
		err = nil
	}
	if err != nil || len(halted) == 0 {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s restored the log %s ago, as of %s: epoch %d. Jobs that are halted since: %d. Look at each, then\n",
		clean.Text(r.By), ago(r.At, now), r.Of.UTC().Format(time.RFC3339), r.Epoch, len(halted))
	for i, j := range halted {
		if i == fewHalted {
			fmt.Fprintln(a.Stdout, "  ...")
			break
		}
		fmt.Fprintf(a.Stdout, "  sluice resume %s\n", clean.Text(string(j.ID)))
	}
	return nil
}

// standing says in a line who owns the log.
func standing(c api.Cluster, now time.Time) string {
	since := ""
	if c.Since != nil {
		since = ", for " + ago(*c.Since, now)
	}
	switch {
	case !c.Majority:
		return fmt.Sprintf("%s has no contact with a majority%s: nothing can be changed.", clean.Text(string(c.Self)), since)
	case c.Owner == "":
		if slices.ContainsFunc(c.Members, func(m api.Member) bool { return m.Trouble != "" }) {
			return "Nobody owns the log now" + since + ": nothing can be changed."
		}
		return "Nobody owns the log now; another server is about to."
	}
	return fmt.Sprintf("%s owns the log (term %d)%s.", clean.Text(string(c.Owner)), c.Term, since)
}

func (a *app) addMember() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "add NAME [--join-file FILE]",
		Short: "Print a token for a server to join with, within 15 minutes",
		Args:  args(1, 1, "the name of a server"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, names []string) error {
			return a.inviteServer(c, s, names[0], "", file)
		}),
	}
	joinFile(c, &file)
	return c
}

func (a *app) replaceMember() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "replace OLD NEW [--join-file FILE]",
		Short: "Print a token for a server to join with in place of another",
		Long: `Print a token for a server to join with in place of another, within 15 minutes.
OLD stays a member until NEW comes; then it is removed first, since one that is
gone counts for the majority, too.`,
		Args: args(2, 2, "the names of two servers: the one that goes, and the one that comes"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, names []string) error {
			old, err := sluice.ParseServerName(names[0])
			if err != nil {
				return err
			}
			return a.inviteServer(c, s, names[1], old, file)
		}),
	}
	joinFile(c, &file)
	return c
}

func joinFile(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "join-file", "", "write the token to this `file`, which only you can read, instead of printing it")
}

func (a *app) inviteServer(c *cobra.Command, s *client.Client, text string, replaces sluice.ServerName, file string) error {
	name, err := sluice.ParseServerName(text)
	if err != nil {
		return err
	}
	i, err := s.InviteServer(c.Context(), name, replaces)
	if err != nil {
		return err
	}
	where := "Put it into a file on the new server"
	if file != "" {
		if err := a.Files.Keep(file, []byte(i.Token+"\n")); err != nil {
			return err
		}
		where = "Bring " + file + " to the new server"
	}
	switch {
	case a.json() && file != "":
		return a.printJSON(struct {
			Server  sluice.ServerName `json:"server"`
			File    string            `json:"file"`
			Expires time.Time         `json:"expires"`
		}{i.Server, file, i.Expires})
	case a.json():
		return a.printJSON(i)
	case file == "":
		fmt.Fprintln(a.Stdout, i.Token)
	}
	fmt.Fprintf(a.Stderr, "Good for one server, until %s. %s, then there, with its own HOST:PORT:\n  sluice server --cluster HOST:PORT --name %s --join FILE\n",
		i.Expires.Format(time.RFC3339), clean.Text(where), name)
	if replaces != "" {
		fmt.Fprintf(a.Stderr, "When it comes, %s is removed. Until then nothing changes.\n", replaces)
	}
	return nil
}

func (a *app) removeMember() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "remove NAME [--yes]",
		Short: "Refuse a server from now on, or withdraw its invitation",
		Long: `Refuse a server from now on, or withdraw its invitation. It says first how many
of those that are left must run, and asks. Its name may be added again.`,
		Args: args(1, 1, "the name of a server"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, names []string) error {
			name, err := sluice.ParseServerName(names[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := a.mayRemove(c, s, name); err != nil {
					return err
				}
			}
			if err := s.RemoveServer(c.Context(), name); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"server": string(name), "done": "remove"})
			}
			fmt.Fprintf(a.Stdout, "Removed %s.\nNext: sluice server members\n", name)
			return nil
		}),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// mayRemove says what follows, and asks.
func (a *app) mayRemove(c *cobra.Command, s *client.Client, name sluice.ServerName) error {
	list, err := s.Cluster(c.Context())
	if err != nil {
		return err
	}
	follows, err := afterRemoval(list, name)
	if err != nil {
		return err
	}
	if a.Confirm == nil || a.json() {
		return sluice.Errorf(sluice.Usage, "there is nobody to ask whether %s may be removed: %s", name, strings.Join(follows, " ")).WithHint("--yes removes it")
	}
	for _, line := range follows {
		fmt.Fprintln(a.Stderr, clean.Text(line))
	}
	if agreed, err := a.agreed("Remove " + string(name) + "?"); err != nil || !agreed {
		return errors.Join(err, sluice.Errorf(sluice.Usage, "nothing was removed"))
	}
	return nil
}

// afterRemoval says what holds when a server is no member any more, in sentences.
func afterRemoval(c api.Cluster, name sluice.ServerName) (out []string, err error) {
	left, heard := 0, 0
	var gone *api.Member
	for _, m := range c.Members {
		switch {
		case m.Name == name:
			gone = &m
		case m.Role != api.InvitedRole:
			left++
			if m.Role != api.LostRole {
				heard++
			}
		}
	}
	switch {
	case gone == nil:
		return nil, sluice.Errorf(sluice.NotFound, "there is no server %s in the cluster", name).WithHint("sluice server members")
	case gone.Role == api.InvitedRole:
		return []string{fmt.Sprintf("%s has not joined: its invitation is withdrawn.", name)}, nil
	}
	if name == c.Owner {
		out = append(out, fmt.Sprintf("%s owns the log: another server takes it over.", name))
	}
	needed := left/2 + 1
	switch left {
	case 0: // the server refuses it
		out = append(out, "It is the only one.")
	case 1:
		out = append(out, "One server is left: while it is away nothing goes on, and what it loses is lost.")
	case 2:
		out = append(out, "Two servers are left, and both must run: without either nothing can be changed.")
	default:
		out = append(out, fmt.Sprintf("%d servers are left, of which %d must run.", left, needed))
	}
	if left > 0 && heard < needed {
		out = append(out, fmt.Sprintf("Only %d of them are heard now: then nothing can be changed until another one is back.", heard))
	}
	return out, nil
}
