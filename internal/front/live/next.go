package live

import (
	"strings"

	"sluice"
)

// hint is a command to type next, and what it does.
type hint struct{ command, does string }

// next says why a job halted, and what to type.
func (s *summary) next() {
	j := s.job
	var hints []hint
	switch {
	case j.Finished != nil:
		if j.Halted != nil {
			s.halted(j.Halted)
		}
		hints = s.undone(s.afterFailures())
	case j.Halted != nil:
		s.halted(j.Halted)
		hints = s.afterHalt(j.Halted)
	default:
		for _, g := range j.Gates {
			if g.Kind == sluice.GateApproval {
				hints = append(hints, hint{"approve " + string(j.ID), s.clean(opens(g.Stage))})
			}
		}
		hints = append(hints, hint{"why " + string(j.ID), "why hosts wait"}, hint{"resume " + string(j.ID), "goes on with it here, if nobody does"})
	}
	longest := 0
	for _, h := range hints {
		longest = max(longest, width(h.command))
	}
	for i, h := range hints {
		head := "      "
		if i == 0 {
			head = "Next: "
		}
		s.line(text(head).add(bold, "sluice "+h.command).add(plain, spaces(longest-width(h.command)+3)).add(dim, h.does))
	}
}

// undone says which job brings the hosts back, where one does. The first thing to do is to look at that.
func (s *summary) undone(hints []hint) []hint {
	if why := s.job.Finished.Reason; why != "" {
		s.line(styled(warn, "Nothing was started").add(plain, ": "+s.clean(why)))
	}
	by := s.job.Finished.Undo
	if by == "" {
		return hints
	}
	s.line(styled(warn, "Rolled back").add(plain, ": job "+string(by)+" brings the hosts back that it changed"))
	return append([]hint{{"status " + string(by), "where that stands"}}, hints...)
}

// halted writes the rule out that halted the job, with its constraint and who holds it.
func (s *summary) halted(h *sluice.JobHalted) {
	s.line(styled(warn, "Halted").add(plain, ": "+s.clean(h.Reason)))
	what := "rule " + string(h.Rule)
	if h.Constraint != "" {
		what += ", constraint " + h.Constraint
	}
	if h.Group != "" && h.Group != h.Constraint {
		what += ", group " + h.Group
	}
	s.line(text("        " + s.clean(what)))
	if len(h.Holders) == 0 {
		return
	}
	var order []string
	by := map[string][]sluice.Host{}
	for _, host := range h.Holders {
		why := "out of service"
		if t := s.job.Task(host); t != nil && t.Outcome != "" {
			why = markWords[s.markOf(t)]
		} else if t != nil {
			why = "in the way"
		}
		if by[why] == nil {
			order = append(order, why)
		}
		by[why] = append(by[why], host)
	}
	for _, why := range order {
		s.line(text("        " + s.clean(fold(by[why])) + " " + why))
	}
}

// withOutcome lists the hosts with one of these marks.
func (s *summary) withOutcome(ms ...mark) (out []sluice.Host) {
	for i := range s.job.Tasks {
		t := &s.job.Tasks[i]
		for _, m := range ms {
			if t.Outcome != "" && s.markOf(t) == m {
				out = append(out, t.Host)
			}
		}
	}
	return out
}

// afterFailures is what there is to do about hosts that ended badly.
func (s *summary) afterFailures() (out []hint) {
	id := string(s.job.ID)
	failures := s.withOutcome(failed, timedOut)
	bad := s.withOutcome(failed, timedOut, unreachable, cancelled)
	lost := s.withOutcome(unknown)
	if len(failures) > 0 {
		out = append(out, hint{"log " + id + " " + string(failures[0]), "what it printed"})
	}
	if len(lost) > 0 {
		out = append(out, hint{"resume " + id, "asks " + count(len(lost), "host") + " how the command ended"},
			hint{"host release " + argument(lost) + " --reason ...", "only if you know how it ended there"})
	}
	if len(bad) > 0 {
		does := "tries " + count(len(bad), "host") + " again"
		if n := s.notStarted(); n > 0 {
			does += ", and goes on with the " + count(n, "host") + " that did not start"
		}
		out = append(out, hint{"retry " + id, does})
	}
	return out
}

// notStarted is how many hosts a cancel kept from starting.
func (s *summary) notStarted() int {
	if s.job.Finished == nil {
		return 0
	}
	n := 0
	for i := range s.job.Tasks {
		if s.job.Tasks[i].Outcome == "" {
			n++
		}
	}
	return n
}

// afterHalt is what lets a halted job go on, by the rule that halted it.
func (s *summary) afterHalt(h *sluice.JobHalted) []hint {
	id := string(s.job.ID)
	resume := hint{"resume " + id, "goes on with it"}
	why := hint{"why " + id, "why each host waits"}
	switch h.Rule {
	case sluice.RuleBudget:
		out := s.afterFailures()
		for i := range out {
			if strings.HasPrefix(out[i].command, "retry ") {
				out[i].command += " --max-failures N" // else nothing would start
			}
		}
		return append(out, hint{"resume " + id + " --max-failures N", "goes on, and lets N hosts fail"}, why)
	case sluice.RuleConstraint, sluice.RuleSequence, sluice.RuleHost, sluice.RuleHeld:
		out := s.afterFailures()
		if others := s.strangers(h.Holders); len(others) > 0 {
			out = append(out, hint{"host release " + argument(others) + " --reason ...", "puts what others left behind back into service"})
		}
		return append(out, hint{"resume " + id, "goes on where there is room"}, why)
	case sluice.RuleAuth:
		return []hint{{"resume " + id, "goes on, and asks for the password again"}, why}
	}
	return append([]hint{resume}, append(s.afterFailures(), why)...)
}

// strangers are holders that this job did not make.
func (s *summary) strangers(hosts []sluice.Host) (out []sluice.Host) {
	for _, h := range hosts {
		if t := s.job.Task(h); t == nil || t.Outcome == "" {
			out = append(out, h)
		}
	}
	return out
}

// argument writes hosts so that a shell takes them for one word. More than anybody would type stays to be filled in.
func argument(hosts []sluice.Host) string {
	folded := fold(hosts)
	if len(folded) > 100 {
		return "HOSTS"
	}
	if strings.ContainsAny(folded, "[]{},") {
		return "'" + folded + "'"
	}
	return folded
}
