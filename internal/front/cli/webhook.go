package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/front/clean"
)

func (a *app) webhookCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Have a server send events to URLs",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.webhookList(), a.webhookSet(), a.webhookAct("remove", "Send a webhook nothing any more", "Removed %s."),
		a.webhookAct("test", "Send a webhook an event that is none, once and now", "%s took it."))
	return c
}

// atServer makes a command's run function of one that needs a server.
func (a *app) atServer(do func(*cobra.Command, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if a.chosen == nil {
			return sluice.Errorf(sluice.Usage, "%s needs a server", c.CommandPath()).WithHint("sluice login URL, or --server URL")
		}
		s, closing, err := a.Client(*a.chosen)
		if err != nil {
			return err
		}
		return errors.Join(do(c, s, args), closing())
	}
}

func (a *app) webhookList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List webhooks, and how they get on",
		Args:  args(0, 0, "no arguments"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, _ []string) error {
			list, err := s.Webhooks(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return printEach(a, list, func(w api.Webhook) api.Webhook { return w })
			}
			if len(list) == 0 {
				fmt.Fprintln(a.Stdout, "There are no webhooks.\nNext: sluice webhook set NAME URL")
				return nil
			}
			return a.printWebhooks(list)
		}),
	}
}

func (a *app) printWebhooks(list []api.Webhook) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WEBHOOK\tEVENTS\tNAMESPACES\tURL\tSTATE")
	for _, h := range list {
		in := "all"
		if len(h.Namespaces) > 0 {
			names := make([]string, len(h.Namespaces))
			for i, ns := range h.Namespaces {
				names[i] = string(ns)
			}
			in = strings.Join(names, ",")
		}
		events := strings.Join(h.Events, ",")
		if h.Form != sluice.WebhookEvents {
			events += fmt.Sprintf(" (%s)", h.Form)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.ID, clean.Text(events), clean.Text(in), clean.Text(h.URL), a.webhookState(h))
	}
	return w.Flush()
}

func (a *app) webhookState(h api.Webhook) string {
	switch {
	case h.Error != "" && h.Waiting != nil:
		return fmt.Sprintf("takes nothing for %s, after %d tries: %s", ago(*h.Waiting, a.Clock()), h.Tries, clean.Text(h.Error))
	case h.Waiting != nil:
		return "being sent to"
	case h.Last != nil:
		return fmt.Sprintf("has all, %d delivered, last at %s", h.Delivered, h.Last.Format(time.RFC3339))
	}
	return "has all"
}

func (a *app) webhookSet() *cobra.Command {
	var in api.SetWebhook
	var spaces []string
	var form string
	c := &cobra.Command{
		Use:   "set NAME URL",
		Short: "Make or change a webhook",
		Long: `Make or change a webhook. The server sends it what happens from now on. A new
webhook gets a secret, which is shown this once: the receiver checks signatures
with it. With --form text, a chat gets a sentence: who did what, how it ended,
and from which version hosts came.`,
		Example: `  sluice webhook set board https://board.example.com/in --events 'job.*'
  sluice webhook set chat https://chat.example.com/hooks/s3cr3t --form text`,
		Args: args(2, 2, "a name and a URL"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, args []string) error {
			id, err := sluice.ParseWebhookID(args[0])
			if err != nil {
				return err
			}
			in.URL = args[1]
			if form != sluice.WebhookEventsName {
				in.Form = sluice.WebhookForm(form)
			}
			if len(in.Events) == 0 {
				in.Events = []string{"job.submitted", "job.halted", "job.finished", "gate.waiting"}
			}
			for _, ns := range spaces {
				in.Namespaces = append(in.Namespaces, sluice.Namespace(ns))
			}
			w, err := s.SetWebhook(c.Context(), id, in)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(w)
			}
			fmt.Fprintf(a.Stdout, "Set %s.\n", w.ID)
			if w.Secret != "" {
				fmt.Fprintf(a.Stdout, "Its secret, shown this once:\n  %s\n", w.Secret)
			}
			fmt.Fprintf(a.Stdout, "Next: sluice webhook test %s\n", w.ID)
			return nil
		}),
	}
	fs := c.Flags()
	fs.StringSliceVar(&in.Events, "events", nil, "`types` of events, or beginnings such as job.*; * is all (default: submitted, halted and finished jobs, and gates that wait)")
	fs.StringSliceVar(&spaces, "namespace", nil, "`namespaces` whose events are sent (default all)")
	fs.StringVar(&form, "form", sluice.WebhookEventsName, "what is sent: the `event`, or text: a sentence for a chat")
	fs.BoolVar(&in.NewSecret, "new-secret", false, "make another secret in place of the one that there is")
	return c
}

func (a *app) webhookAct(act, short, said string) *cobra.Command {
	return &cobra.Command{
		Use:   act + " NAME",
		Short: short,
		Args:  args(1, 1, "the name of a webhook"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, args []string) error {
			id, err := sluice.ParseWebhookID(args[0])
			if err != nil {
				return err
			}
			do := s.RemoveWebhook
			if act == "test" {
				do = s.TestWebhook
			}
			if err := do(c.Context(), id); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"webhook": string(id), "done": act})
			}
			fmt.Fprintf(a.Stdout, said+"\n", id)
			return nil
		}),
	}
}
