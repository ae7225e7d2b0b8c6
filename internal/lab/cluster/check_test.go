package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
)

// ran is where the command of the jobs writes, on every host: that it begins, for which attempt, at which server's word, and when; then
// that it ends.
const ran = "/tmp/ran"

// command takes a time to end.
func command(takes time.Duration) string {
	return fmt.Sprintf(`echo "+ $SLUICE_ATTEMPT ${SSH_CONNECTION%%%% *} $(date +%%s%%N)" >>%s; sleep %.2f; echo "- $SLUICE_ATTEMPT - $(date +%%s%%N)" >>%s`, ran, takes.Seconds(), ran)
}

// mark is one line of that.
type mark struct {
	host    string
	begins  bool
	attempt sluice.AttemptID
	from    string // the address that it was started from
	at      time.Time
}

// marks are those of all hosts, in order.
func (h *house) marks() (out []mark) {
	h.t.Helper()
	for _, host := range h.fleet.Hosts {
		text, err := host.ReadFile(ran)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.t.Fatal(err)
		}
		got, err := parse(host.Name, string(text))
		h.must(err)
		out = append(out, got...)
	}
	slices.SortStableFunc(out, func(a, b mark) int { return a.at.Compare(b.at) })
	return out
}

func parse(host, text string) (out []mark, err error) {
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		f := strings.Fields(line)
		if len(f) != 4 {
			return nil, fmt.Errorf("%s: the line %q", host, line)
		}
		ns, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, mark{host, f[0] == "+", sluice.AttemptID(f[1]), f[2], time.Unix(0, ns)})
	}
	return out, nil
}

// term is a time in which one server owned the log. It had begun when that was heard.
type term struct {
	number uint64
	name   sluice.ServerName
	heard  time.Time
}

// terms are all that were heard of.
type terms struct {
	mu  sync.Mutex
	all []term
}

func (t *terms) begins(one term) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, one)
}

func (t *terms) list() []term {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// promises are what servers said that they did.
type promises struct {
	mu  sync.Mutex
	all []promise
}

// promise is an event that whoever was told of it must find in the log for ever.
type promise struct {
	what string
	is   func(sluice.Event) bool
}

func (p *promises) add(what string, is func(sluice.Event) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, promise{what, is})
}

func (p *promises) list() []promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// elsewhere is who starts commands for servers, and is none.
const elsewhere sluice.ServerName = "a worker elsewhere"

// wrong says what must not have happened on hosts: a command that ran twice, more hosts at once than may be, a command that was started by
// a server after the term of another had begun.
func wrong(marks []mark, terms []term, names map[string]sluice.ServerName, most int) (out []string) {
	starts, running := map[string]int{}, map[string]bool{}
	for _, m := range marks {
		job, _, _, ok := m.attempt.Parse()
		if !ok {
			out = append(out, fmt.Sprintf("%s: %q is no attempt", m.host, m.attempt))
			continue
		}
		if !m.begins {
			delete(running, m.host)
			continue
		}
		key := string(job) + " on " + m.host
		if starts[key]++; starts[key] > 1 {
			out = append(out, fmt.Sprintf("%s ran %d times, at last as %s", key, starts[key], m.attempt))
		}
		if running[m.host] = true; len(running) > most {
			out = append(out, fmt.Sprintf("%d hosts at once at %s, %d may", len(running), m.at, most))
		}
		// What a worker elsewhere starts is in the log before, or told finds it, and nobody but the owner gets it there.
		if last, ok := latest(terms, m.at); ok && names[m.from] != elsewhere && last.name != names[m.from] {
			out = append(out, fmt.Sprintf("%s was started by %s at %s, and %s owned the log since %s", m.attempt, names[m.from], m.at, last.name, last.heard))
		}
	}
	return out
}

// latest is the term that was heard of last before a time.
func latest(terms []term, at time.Time) (out term, ok bool) {
	for _, t := range terms {
		if t.heard.Before(at) && t.number > out.number {
			out, ok = t, true
		}
	}
	return out, ok
}

// alike says in what logs differ: each is to be the beginning of the longest.
func alike(logs map[sluice.ServerName][]sluice.Record) (out []string) {
	var most []sluice.Record
	for _, l := range logs {
		if len(l) > len(most) {
			most = l
		}
	}
	for name, l := range logs {
		for i, r := range l {
			if r.Hash != most[i].Hash || r.First != most[i].First || r.Last != most[i].Last || string(r.Payload) != string(most[i].Payload) {
				out = append(out, fmt.Sprintf("%s has another record %d to %d", name, r.First, r.Last))
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// logs are those of all servers, none of which runs: records and events by namespace, of one that has most; and what is wrong with them.
func (h *house) logs() (_ map[sluice.Namespace][]sluice.Event, out []string) {
	records := map[sluice.Namespace]map[sluice.ServerName][]sluice.Record{}
	events := map[sluice.Namespace][]sluice.Event{}
	for _, s := range h.servers {
		if err := readLog(h.t.Context(), s, records, events); err != nil {
			out = append(out, fmt.Sprintf("the log of %s: %v", s.name, err))
		}
	}
	for ns, all := range records {
		for _, v := range alike(all) {
			out = append(out, fmt.Sprintf("namespace %s: %s", ns, v))
		}
		if len(all) < len(h.servers) {
			out = append(out, fmt.Sprintf("namespace %s is on %d servers", ns, len(all)))
		}
	}
	return events, out
}

func readLog(ctx context.Context, s *server, records map[sluice.Namespace]map[sluice.ServerName][]sluice.Record, events map[sluice.Namespace][]sluice.Event) (err error) {
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: s.data})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if _, err := log.Verify(ctx); err != nil {
		return err
	}
	if err := log.Records(ctx, nil, func(r sluice.Record) error {
		if records[r.Namespace] == nil {
			records[r.Namespace] = map[sluice.ServerName][]sluice.Record{}
		}
		r.Payload = slices.Clone(r.Payload)
		records[r.Namespace][s.name] = append(records[r.Namespace][s.name], r)
		return nil
	}); err != nil {
		return err
	}
	for ns := range records {
		got, err := log.Read(ctx, ns, 0, 1<<20)
		if err != nil {
			return err
		}
		if len(got) > len(events[ns]) {
			events[ns] = got
		}
	}
	return nil
}

// truth ends all servers, asks the last questions, and says what must not be. They can be started again.
func (h *house) truth() (out []string) {
	h.t.Helper()
	for _, s := range h.servers {
		if s.up() {
			s.signal(syscall.SIGTERM)
			s.signal(syscall.SIGCONT) // a fault that did not come to its end may have left it standing still
		}
	}
	for _, s := range h.servers {
		select {
		case <-s.ended:
		case <-time.After(patience):
			out = append(out, fmt.Sprintf("%s does not end when it is told to", s.name))
			s.kill()
		}
	}
	names := map[string]sluice.ServerName{h.worker.site.IP: elsewhere}
	for _, s := range h.servers {
		names[s.site.IP] = s.name
	}
	marks := h.marks()
	out = append(out, wrong(marks, h.terms.list(), names, limit)...)
	events, bad := h.logs()
	out = append(out, bad...)
	for _, v := range check.Log(events[sluice.DefaultNamespace]) {
		out = append(out, fmt.Sprintf("the log breaks a rule: %v", v))
	}
	out = append(out, lost(h.sure.list(), events)...)
	return append(out, told(marks, events[sluice.DefaultNamespace])...)
}

// lost says what was acknowledged and is in no log.
func lost(sure []promise, events map[sluice.Namespace][]sluice.Event) (out []string) {
	for _, p := range sure {
		there := false
		for _, all := range events {
			there = there || slices.ContainsFunc(all, p.is)
		}
		if !there {
			out = append(out, fmt.Sprintf("it was said that %s, and the log does not have it", p.what))
		}
	}
	return out
}

// told holds the log against what ran on the hosts: nothing ran without having been started before or after its end was told, and what succeeded ran.
func told(marks []mark, events []sluice.Event) (out []string) {
	began, ended := map[sluice.AttemptID]bool{}, map[sluice.AttemptID]bool{}
	for _, m := range marks {
		if m.begins {
			began[m.attempt] = true
		} else {
			ended[m.attempt] = true
		}
	}
	launched := map[sluice.AttemptID]bool{}
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.TaskStarted:
			launched[b.Attempt] = true
		case sluice.TaskFinished:
			if b.Outcome == sluice.Succeeded && !ended[b.Attempt] {
				out = append(out, fmt.Sprintf("%s succeeded, and did not run to its end", b.Attempt))
			}
		}
	}
	for a := range began {
		if !launched[a] {
			out = append(out, fmt.Sprintf("%s ran, and the log does not know of it", a))
		}
	}
	slices.Sort(out)
	return out
}
