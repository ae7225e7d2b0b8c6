package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) hostCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Hold, release, retire, list and enrol hosts",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.hostAct(control.Hold, "Take hosts out of service",
			"Take hosts out of service: nothing starts on them, and they keep their places\nuntil they are released.", "Holding %s.\nNext: sluice host release %[1]s --reason TEXT"),
		a.hostAct(control.Release, "Put hosts back into service, whatever their last outcome was", "", "Released %s."),
		a.hostAct(control.Retire, "Say that hosts are gone for good",
			"Say that hosts are gone for good: they are no targets, no members of groups and\nno holders any more.", "Retired %s."),
		a.hostAct(control.Return, "Take retired hosts back into the fleet", "", "Returned %s."),
		a.hostList(), a.hostEnrol())
	return c
}

func (a *app) hostAct(act control.HostAct, shortText, long, said string) *cobra.Command {
	var t targetFlags
	var reason string
	c := &cobra.Command{
		Use:   string(act) + " HOST... --reason TEXT",
		Short: shortText,
		Long:  long,
		Args:  args(1, -1, "hosts"),
		RunE: func(c *cobra.Command, names []string) error {
			ns, l, err := a.which(c.Context(), t)
			if err != nil {
				return err
			}
			hosts, err := namedHosts(l, names)
			if err != nil {
				return err
			}
			return a.onJournal(c.Context(), func(svc control.Desk) error {
				events, err := svc.ChangeHosts(c.Context(), ns, act, hosts, reason)
				if err != nil {
					return err
				}
				if a.json() {
					return a.printEvents(events)
				}
				fmt.Fprintf(a.Stdout, said+"\n", fleet.Fold(hosts))
				return nil
			})
		},
	}
	t.addFleet(c)
	needReason(c, &reason)
	return c
}

// hostLine is a host that is out of service, as JSON.
type hostLine struct {
	Host   sluice.Host  `json:"host"`
	Why    string       `json:"why"`
	Job    sluice.JobID `json:"job,omitzero"`
	Since  time.Time    `json:"since"`
	By     string       `json:"by,omitzero"`
	Reason string       `json:"reason,omitzero"`
}

func hostForm(i schedule.HostInfo) hostLine {
	return hostLine{i.Host, i.Why, i.Job, i.Since.UTC(), i.By, i.Reason}
}

func (a *app) hostList() *cobra.Command {
	var t targetFlags
	var out bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List hosts; with --out those that are out of service, and why",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ns, l, err := a.which(c.Context(), t)
			if err != nil {
				return err
			}
			return a.onJournal(c.Context(), func(svc control.Desk) error {
				infos, err := svc.Out(c.Context(), ns)
				if err != nil {
					return err
				}
				if !out && l != nil {
					return a.listAll(l.Fleet(), infos)
				}
				return a.listOut(infos)
			})
		},
	}
	t.addFleet(c)
	c.Flags().BoolVar(&out, "out", false, "only hosts that are out of service or retired")
	return c
}

// listAll lists every host of the fleet with its state.
func (a *app) listAll(f *sluice.Fleet, infos []schedule.HostInfo) error {
	at := map[sluice.Host]schedule.HostInfo{}
	for _, i := range infos {
		at[i.Host] = i
	}
	var all []schedule.HostInfo
	for _, h := range f.Hosts {
		i, out := at[h]
		if !out {
			i = schedule.HostInfo{Holder: schedule.Holder{Host: h, Why: "in service"}}
		}
		all = append(all, i)
	}
	if a.json() {
		return printEach(a, all, hostForm)
	}
	for _, i := range all {
		fmt.Fprintf(a.Stdout, "%-30s %s\n", i.Host, i.Why)
	}
	return nil
}

func (a *app) listOut(infos []schedule.HostInfo) error {
	if a.json() {
		return printEach(a, infos, hostForm)
	}
	if len(infos) == 0 {
		fmt.Fprintln(a.Stderr, "No host is out of service.")
		return nil
	}
	for k, i := range infos {
		if k == 0 {
			fmt.Fprintf(a.Stdout, "%-24s  %-12s  %-12s  %-10s  %s\n", "HOST", "WHY", "JOB", "FOR", "REASON")
		}
		text := i.Reason
		if i.By != "" {
			text = i.By + ": " + text
		}
		fmt.Fprintf(a.Stdout, "%-24s  %-12s  %-12s  %-10s  %s\n", i.Host, i.Why, i.Job, ago(i.Since, a.Clock()), clean.Line(text))
	}
	return nil
}
