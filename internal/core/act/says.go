package act

import (
	"fmt"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
)

const (
	mostWaits  = 5  // reasons that are told
	mostOthers = 5  // jobs that are told
	mostNames  = 5  // hosts that are named where they do not fold into a few words
	shortNames = 60 // bytes of folded names that are few words
	mostFolded = 1000
)

// Says is the effect in sentences for people, what matters most first. The names in it are data: whoever shows them cleans
// them.
func (e Effect) Says() []string {
	t := &telling{Effect: e}
	if e.Act.Kind.OnHosts() {
		t.onHosts()
	} else {
		t.onJob()
	}
	t.others()
	return t.lines
}

type telling struct {
	Effect
	lines  []string
	starts map[sluice.Host]bool
}

func (t *telling) say(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// sayHosts says something of hosts, in the form for one and that for several, and names them.
func (t *telling) sayHosts(hosts []sluice.Host, one, several string) {
	switch len(hosts) {
	case 0:
	case 1:
		t.say(one+".", hosts[0])
	default:
		t.say(several+": %s.", len(hosts), names(hosts))
	}
}

// names are all of the hosts if that is short, else the first of them.
func names(hosts []sluice.Host) string {
	if len(hosts) > 2 && len(hosts) <= mostFolded {
		if text := fleet.Fold(hosts); len(text) <= shortNames {
			return text
		}
	}
	var b strings.Builder
	for i, h := range hosts {
		if i == mostNames && len(hosts) > mostNames {
			fmt.Fprintf(&b, " and %d more", len(hosts)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(h))
	}
	return b.String()
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (t *telling) onJob() {
	switch {
	case t.Act.Kind == Halt:
		t.halt()
		return
	case t.Act.Kind == Cancel:
		t.cancel()
		return
	case t.Nothing() && t.After.Cancelling:
		t.say("The job is being cancelled, and that goes on: nothing changes.")
		return
	case t.Nothing():
		t.say("The job goes on already: nothing changes.")
		return
	}
	for _, ev := range t.Events {
		if b, is := ev.Body.(sluice.GatePassed); is && ev.Job == t.Act.Job && b.Kind == sluice.GateApproval {
			t.say("The gate behind %s opens.", b.Stage)
		}
	}
	if t.Act.Kind == Skip {
		t.sayHosts(t.Act.Hosts, "The job need not run on %s", "The job need not run on %d hosts")
		t.say("That frees no place: what is out of service stays so until it is released.")
	}
	if t.Act.Kind == Settle {
		t.sayHosts(t.Asks, "%s is asked how its command ended", "%d hosts are asked how their commands ended")
		t.say("Nothing starts.")
		return
	}
	t.sayHosts(t.Again, "%s is to be tried again", "%d hosts are to be tried again")
	t.sayHosts(t.Asks, "%s is asked how its command ended", "%d hosts are asked how their commands ended")
	t.goesOn()
}

func (t *telling) halt() {
	t.say("Nothing more starts.")
	if len(t.Runs) == 0 && t.Halts != nil {
		t.say("Nothing runs: the job is halted at once.")
		return
	}
	t.sayHosts(t.Runs, "%s runs, and goes on to its own end", "%d hosts run, and go on to their own end")
	t.say("Then the job is halted.")
}

func (t *telling) cancel() {
	if t.Nothing() {
		t.say("The job is being cancelled already: nothing changes.")
		return
	}
	t.sayHosts(t.Kills, "What runs on %s is killed", "What runs on %d hosts is killed")
	if len(t.Kills) > 0 {
		t.say("What is killed in the middle counts as out of service until it is tried again or released.")
	}
	t.sayHosts(t.Never, "%s never starts", "%d hosts never start")
	if t.Ends != "" {
		t.say("The job ends at once: %s.", t.Ends)
	} else {
		t.say("Then the job ends.")
	}
}

// goesOn says what a job does that goes on.
func (t *telling) goesOn() {
	switch {
	case len(t.Starts) > 0:
		t.sayHosts(t.Starts, "%s starts at once", "%d hosts start at once")
	case t.Ends == "":
		t.say("Nothing starts at once.")
	}
	switch {
	case t.Ends != "":
		t.say("The job ends at once: %s.", t.Ends)
	case t.Halts != nil:
		t.say("The job is halted at once: %s%s.", t.Halts.Reason, held(t.Halts.Holders))
	default:
		t.waits()
	}
}

func held(hosts []sluice.Host) string {
	if len(hosts) == 0 {
		return ""
	}
	return " (" + names(hosts) + ")"
}

func (t *telling) waits() {
	left := 0
	for i, w := range t.Waits {
		if i >= mostWaits {
			left += w.Hosts
			continue
		}
		who := count(w.Hosts, "host") + " wait"
		if w.Hosts == 1 {
			who = string(w.Host) + " waits"
		}
		if n := t.startsIn(w); w.Rule == sluice.RuleConstraint && n > 0 {
			t.say("%s: %s has room for %d.", who, w.Group, n)
			continue
		}
		var holders []sluice.Host
		for _, h := range w.Holders {
			holders = append(holders, h.Host)
		}
		t.say("%s: %s%s.", who, w.Text, held(holders))
	}
	if left > 0 {
		t.say("%s for other reasons.", count(left, "host")+" wait")
	}
}

// startsIn is how many of those who start take the places of the group that others wait for.
func (t *telling) startsIn(w schedule.Wait) (n int) {
	if t.starts == nil {
		t.starts = map[sluice.Host]bool{}
		for _, h := range t.Starts {
			t.starts[h] = true
		}
	}
	for _, h := range w.Holders {
		if t.starts[h.Host] {
			n++
		}
	}
	return n
}

func (t *telling) onHosts() {
	hosts := t.Act.Hosts
	var running, unknown []sluice.Host
	for _, h := range t.Hosts {
		switch {
		case h.Running:
			running = append(running, h.Host)
		case h.Unknown:
			unknown = append(unknown, h.Host)
		}
	}
	switch t.Act.Kind {
	case Hold:
		t.sayHosts(hosts, "Nothing starts on %s before it is released, and it counts as out of service",
			"Nothing starts on %d hosts before they are released, and they count as out of service")
		t.sayHosts(running, "What runs on %s goes on", "What runs on %d of them goes on")
	case Release:
		t.sayHosts(without(hosts, running), "%s counts as in service again", "%d hosts count as in service again")
		t.sayHosts(unknown, "How the command on %s ended is not known, and it may still run: it is given up", "How the commands on %d of them ended is not known, and they may still run: they are given up")
		t.sayHosts(running, "%s runs something, and counts as out of service until that has succeeded", "%d of them run something, and count as out of service until that has succeeded")
	case Retire:
		t.sayHosts(hosts, "%s is gone for good: it is no target any more, and counts in no constraint",
			"%d hosts are gone for good: they are no targets any more, and count in no constraint")
		t.sayHosts(running, "What runs on %s goes on", "What runs on %d of them goes on")
	case Return:
		t.sayHosts(hosts, "%s is back in the fleet, as it was before it was retired", "%d hosts are back in the fleet, as they were before they were retired")
	}
}

func without(hosts, left []sluice.Host) (out []sluice.Host) {
	for _, h := range hosts {
		if !slices.Contains(left, h) {
			out = append(out, h)
		}
	}
	return out
}

func (t *telling) others() {
	for i, o := range t.Others {
		if i == mostOthers {
			t.say("%s change, too.", count(len(t.Others)-i, "more job"))
			return
		}
		if o.Job.Spec == nil {
			t.hidden(o)
			continue
		}
		job := "Job " + string(o.Job.Spec.ID)
		if len(o.Starts) > 0 {
			t.say("%s starts on %s at once: %s.", job, count(len(o.Starts), "host"), names(o.Starts))
		}
		if o.Halts != nil {
			t.say("%s is halted at once: %s.", job, o.Halts.Reason)
		}
		if o.Ends != "" {
			t.say("%s ends at once: %s.", job, o.Ends)
		}
	}
}

// hidden says what a job does that whoever asks may not see.
func (t *telling) hidden(o Other) {
	const job = "Another job, which you may not see,"
	switch {
	case len(o.Starts) > 0:
		t.say("%s starts on %s at once.", job, count(len(o.Starts), "host"))
	case o.Halts != nil:
		t.say("%s is halted at once.", job)
	case o.Ends != "":
		t.say("%s ends at once.", job)
	}
}
