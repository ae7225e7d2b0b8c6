package act

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/core/schedule"
)

// What an act rests on is told in a few words, and asked for again when it is done. It is not the number of the last
// event: of those most change nothing that the act is about, and hundreds may come in a second.

// basis is what an act rests on. What does not matter to an act is empty.
type basis struct {
	standing   string // of the job
	generation int
	failures   int
	unknown    int
	budget     int
	rules      string
	gates      string
	hosts      string
}

// seenForm is the version of the text.
const seenForm = "1"

// Seen is what the act rests on in this state, in one word.
func (a Act) seen(s *schedule.State) string {
	b, ok := a.basis(s)
	if !ok {
		return ""
	}
	return strings.Join([]string{seenForm, b.standing, strconv.Itoa(b.generation), strconv.Itoa(b.failures), strconv.Itoa(b.unknown),
		strconv.Itoa(b.budget), b.rules, b.gates, b.hosts}, ".")
}

func parseBasis(text string) (b basis, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 9 || parts[0] != seenForm {
		return b, false
	}
	var err [4]error
	b = basis{standing: parts[1], rules: parts[6], gates: parts[7], hosts: parts[8]}
	b.generation, err[0] = strconv.Atoi(parts[2])
	b.failures, err[1] = strconv.Atoi(parts[3])
	b.unknown, err[2] = strconv.Atoi(parts[4])
	b.budget, err[3] = strconv.Atoi(parts[5])
	return b, err == [4]error{}
}

// basis is what the act rests on; ok is false where it rests on nothing: a halt is right whatever comes between.
func (a Act) basis(s *schedule.State) (b basis, ok bool) {
	if a.Kind.OnHosts() {
		out := outOf(s)
		return basis{hosts: digest(a.Hosts, func(h sluice.Host) any {
			i := out[h]
			return []any{i.Held, i.Retired, i.Unknown, i.Running, i.Job, i.Why, i.Since.UnixNano()}
		})}, true
	}
	i, found := s.Job(a.Job)
	if !found || a.Kind == Halt {
		return b, false
	}
	b = basis{standing: word(i), generation: i.Generation}
	if a.Kind == Cancel { // whatever else came: it is to end
		return b, true
	}
	b.unknown = len(unknown(s, a.Job))
	if a.Kind == Settle {
		return b, true
	}
	b.failures, b.budget, b.rules = i.Failures, i.Budget, short(s.InForce())
	switch a.Kind {
	case Approve:
		b.gates = digest(a.gates(i), func(g schedule.Gate) any { return "" })
	case Skip:
		b.hosts = a.targets(s, a.Hosts)
	case Retry:
		again, _ := a.retriable(s, i)
		b.hosts = a.targets(s, again)
	}
	return b, true
}

// word says where a job stands, as far as that is not the course of things.
func word(i schedule.Info) string {
	switch {
	case i.Cancelling:
		return "cancelling"
	case i.State == schedule.Running || i.State == schedule.Waiting || i.State == schedule.Paused:
		return "open"
	}
	return string(i.State)
}

func (a Act) targets(s *schedule.State, hosts []sluice.Host) string {
	return digest(hosts, func(h sluice.Host) any {
		t, _ := s.Task(a.Job, h)
		return t
	})
}

// digest tells lists apart that differ by chance; it is no proof against anybody.
func digest[T any](list []T, of func(T) any) string {
	if len(list) == 0 {
		return ""
	}
	h := fnv.New64a()
	for _, x := range list {
		fmt.Fprintf(h, "%v%v\n", x, of(x))
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(8, len(digest))]
}

// unchanged refuses an act that rests on what is not so any more.
func (a Act) unchanged(s *schedule.State) error {
	if a.Seen == "" {
		return nil
	}
	was, ok := parseBasis(a.Seen)
	if !ok {
		return sluice.Errorf(sluice.Usage, "seen: %q is not what the effect of an act said", a.Seen)
	}
	now, ok := a.basis(s)
	if !ok || now == was {
		return nil
	}
	what := "the hosts"
	if !a.Kind.OnHosts() {
		what = "job " + string(a.Job)
	}
	return sluice.Errorf(sluice.Conflict, "%s changed since you looked: %s", what, strings.Join(was.changes(now), "; ")).
		WithHint("look at what it would do now, and decide again")
}

var words = map[string]string{"open": "going on", "cancelling": "being cancelled", "halting": "being halted"}

func say(standing string) string {
	if w, ok := words[standing]; ok {
		return w
	}
	return standing
}

// changes says what is otherwise now.
func (b basis) changes(now basis) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case b.standing != now.standing:
		add("it was %s and is %s", say(b.standing), say(now.standing))
	case b.generation != now.generation:
		add("it went on and was halted meanwhile")
	}
	if b.failures != now.failures {
		add("failures: %d, now %d", b.failures, now.failures)
	}
	if b.unknown != now.unknown {
		add("outcomes that are not known: %d, now %d", b.unknown, now.unknown)
	}
	if b.budget != now.budget {
		add("its budget is another one")
	}
	if b.rules != now.rules {
		add("other rules are in force")
	}
	if b.gates != now.gates {
		add("other gates wait")
	}
	if b.hosts != now.hosts {
		add("what is known of the hosts is not what it was")
	}
	return out
}
