package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Query says which jobs a list has, of one namespace. The zero value means all.
type Query struct {
	// States are those that fit; a job that is being halted still runs. None: all.
	States []JobState
	// By is who submitted it; Text stands in its command, in its id or in why it is halted, in capitals or not.
	By, Text string
	// Since and Until bound when it was submitted: from Since on, before Until.
	Since, Until time.Time
	// Hosts are such that a job must have one of them among its targets. Nil: whatever it has.
	Hosts map[sluice.Host]bool
	// May says which hosts whoever asks may see: of a job, all targets must be. Nil: all.
	May func(sluice.Host) bool
	// After is where the page before ended; Most is how many jobs there are in this one, at most. 0: all.
	After *Mark
	Most  int
}

// Mark is a place in the list of all jobs: newest first, and where the time is the same, the later one first.
type Mark struct {
	Submitted time.Time
	Namespace sluice.Namespace
	Number    int
}

// Mark is the place of a job in the list of all.
func (i *Info) Mark() Mark { return Mark{i.Submitted, i.Spec.Namespace, i.Number} }

// Compare is negative where m comes before o.
func (m Mark) Compare(o Mark) int {
	return cmp.Or(o.Submitted.Compare(m.Submitted), cmp.Compare(m.Namespace, o.Namespace), cmp.Compare(o.Number, m.Number))
}

// List returns jobs in the order of their marks. Their specs are without what grows with the job: targets, tracks, settings
// of single hosts. It looks at no more jobs than it must: those that are older than the last of the page are passed over.
func (s *State) List(q Query) []Info {
	q.Text = strings.ToLower(q.Text)
	var marks []Mark
	for i := len(s.jobs) - 1; i >= 0; i-- {
		if full := q.Most > 0 && len(marks) == q.Most; full && s.upTo(i).Before(marks[len(marks)-1].Submitted) {
			break
		}
		j := s.jobs[i]
		m := Mark{j.submitted, s.base(j).Namespace, i}
		if q.After != nil && m.Compare(*q.After) <= 0 || !s.fits(j, &q) {
			continue
		}
		at, _ := slices.BinarySearchFunc(marks, m, Mark.Compare)
		if q.Most > 0 && at == q.Most {
			continue
		}
		marks = slices.Insert(marks, at, m)
		if q.Most > 0 && len(marks) > q.Most {
			marks = marks[:q.Most]
		}
	}
	out := make([]Info, len(marks))
	for i, m := range marks {
		out[i] = s.summary(s.jobs[m.Number])
	}
	return out
}

// Listed is one job as a list has it, and whether it fits the query, wherever its page ends. ok is false if there is none,
// or none that may be seen.
func (s *State) Listed(id sluice.JobID, q Query) (i Info, fits, ok bool) {
	j := s.byID[id]
	if j == nil || !s.mayBeSeen(j, &q) {
		return Info{}, false, false
	}
	q.Text = strings.ToLower(q.Text)
	return s.summary(j), s.fits(j, &q), true
}

// upTo is the newest time at which one of the jobs up to that number was submitted: the clock may have been set back.
func (s *State) upTo(number int) time.Time {
	for i := len(s.newest); i < len(s.jobs); i++ {
		at := s.jobs[i].submitted
		if i > 0 && s.newest[i-1].After(at) {
			at = s.newest[i-1]
		}
		s.newest = append(s.newest, at)
	}
	return s.newest[number]
}

// base is the spec of a job, as far as it is the same for many.
func (s *State) base(j *job) *sluice.Job {
	if j.packed != nil {
		return &s.tables.specs.values[j.packed.base]
	}
	return j.spec
}

// fits asks first what costs least.
func (s *State) fits(j *job, q *Query) bool {
	if !q.Since.IsZero() && j.submitted.Before(q.Since) || !q.Until.IsZero() && !j.submitted.Before(q.Until) {
		return false
	}
	spec := s.base(j)
	if q.By != "" && spec.By != q.By {
		return false
	}
	if len(q.States) > 0 {
		state := j.state(len(j.gates()) > 0)
		if state == Halting {
			state = Running
		}
		if !slices.Contains(q.States, state) {
			return false
		}
	}
	return s.says(j, q.Text) && s.has(j, q.Hosts) && s.mayBeSeen(j, q)
}

// says reports whether a text, in small letters, stands in what is said of a job.
func (s *State) says(j *job, text string) bool {
	if text == "" {
		return true
	}
	command := ""
	if j.packed != nil {
		command = j.packed.command
	} else {
		command = j.spec.Command
	}
	return strings.Contains(strings.ToLower(command), text) || strings.Contains(string(j.name), text) ||
		j.halted != nil && strings.Contains(strings.ToLower(j.halted.Reason), text)
}

// has reports whether one of the hosts is a target of the job.
func (s *State) has(j *job, hosts map[sluice.Host]bool) bool {
	if hosts == nil {
		return true
	}
	return s.anyTarget(j, func(h sluice.Host) bool { return hosts[h] })
}

func (s *State) mayBeSeen(j *job, q *Query) bool {
	return q.May == nil || !s.anyTarget(j, func(h sluice.Host) bool { return !q.May(h) })
}

func (s *State) anyTarget(j *job, is func(sluice.Host) bool) (found bool) {
	if j.packed == nil {
		return slices.ContainsFunc(j.spec.Targets, is)
	}
	r := reader{s: j.packed.body}
	r.spans(len(s.hosts), len(s.hosts), func(h int32) { found = found || is(s.hosts[h].name) })
	return found
}

// summary is what a list says of a job.
func (s *State) summary(j *job) Info {
	i := j.info()
	spec := *s.base(j)
	spec.ID, spec.Targets, spec.Tracks, spec.HostSSH = j.name, nil, nil, nil
	if j.packed != nil {
		spec.Command, spec.Expression = j.packed.command, j.packed.expression
		if j.packed.shell {
			spec.Action.Shell = spec.Command
		}
	}
	i.Spec = &spec
	i.Why = s.standstill(j, i)
	return i
}

// standstill says in one line why a job does not go on; "" where it does, or is over.
func (s *State) standstill(j *job, i Info) string {
	switch i.State {
	case Halted:
		return j.halted.Reason
	case Halting:
		why := ""
		if j.cancelling != nil {
			why = "it is being cancelled by " + j.cancelling.By
		} else if why = "it is being halted"; j.halting.Reason != "" {
			why += ": " + j.halting.Reason
		}
		if j.running > 0 {
			why += fmt.Sprintf("; %d still run", j.running)
		}
		return why
	case Paused:
		texts := make([]string, len(i.Gates))
		for k, g := range i.Gates {
			texts[k] = g.String()
		}
		return strings.Join(texts, "; ")
	case Waiting:
		return s.firstWait(j)
	}
	return ""
}

// String says what a gate waits for.
func (g Gate) String() string {
	if g.Kind != sluice.GatePause {
		return g.Stage + " waits for approval"
	}
	if g.Until.IsZero() {
		return "pause after " + g.Stage
	}
	return "pause after " + g.Stage + " until " + g.Until.UTC().Format(time.RFC3339)
}

// named is how many holders are named in one line.
const named = 3

// firstWait says why the first task of a job waits that could start if it had room; if there is none, the first of all.
func (s *State) firstWait(j *job) string {
	if !j.everUp {
		return "nobody has taken it up yet"
	}
	s.build(j)
	for i := range j.tracks {
		j.advance(s, j.tracks[i].name)
	}
	var first *task
	for _, t := range j.tasks {
		if t.phase == pending && (first == nil || first.closed > 0 && t.closed == 0) {
			first = t
		}
	}
	if first == nil {
		return "all its hosts have an outcome, and its end is not written yet"
	}
	w := asker{State: s, holders: map[*group][]Holder{}}
	r := w.why(first)
	holders := make([]string, 0, named+1)
	for k, h := range r.Holders {
		if k == named {
			holders = append(holders, fmt.Sprintf("and %d more", len(r.Holders)-named))
			break
		}
		holders = append(holders, fmt.Sprintf("%s (%s)", h.Host, h.Why))
	}
	if len(holders) > 0 {
		r.Text += ": " + strings.Join(holders, ", ")
	}
	return r.Text
}

// Names are the hosts, and those who submitted jobs, in whose names the text of a query stands.
func (s *State) Names(q Query) (hosts []sluice.Host, users []string) {
	all := make([]sluice.Host, len(s.hosts))
	for i := range s.hosts {
		all[i] = s.hosts[i].name
	}
	seen := map[string]bool{}
	for i := len(s.jobs) - 1; i >= 0; i-- {
		by := s.base(s.jobs[i]).By
		if seen[by] || !strings.Contains(strings.ToLower(by), strings.ToLower(q.Text)) || !s.mayBeSeen(s.jobs[i], &q) {
			continue
		}
		seen[by] = true
		users = append(users, by)
	}
	slices.Sort(users)
	return Named(all, q), users
}

// Named are the hosts in whose names the text of a query stands: those that begin with it first, at most as many as it says.
func Named(hosts []sluice.Host, q Query) (out []sluice.Host) {
	text := strings.ToLower(q.Text)
	var within []sluice.Host
	for _, h := range hosts {
		at := strings.Index(strings.ToLower(string(h)), text)
		switch {
		case at < 0 || q.May != nil && !q.May(h):
		case at == 0:
			out = append(out, h)
		default:
			within = append(within, h)
		}
	}
	slices.Sort(out)
	slices.Sort(within)
	out = append(out, within...)
	if q.Most > 0 && len(out) > q.Most {
		out = out[:q.Most]
	}
	return out
}
