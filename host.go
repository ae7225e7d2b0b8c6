package sluice

// Host is the name of a host as the fleet knows it: 1 to 253 bytes of letters, digits, '.', '-' and '_', not
// beginning with '-' or '.'. How to reach it is a question of its [SSH] settings.
type Host string

// ValidHost reports whether name may name a host. The charset is strict because names reach ssh_config
// patterns, file names and terminals.
func ValidHost(name string) bool {
	if len(name) == 0 || len(name) > 253 || name[0] == '-' || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Outcome is how a task ended.
type Outcome string

const (
	Succeeded   Outcome = "succeeded"
	Failed      Outcome = "failed"      // a step ended with another status than 0, or the attempt could not be carried out
	Unreachable Outcome = "unreachable" // no connection; proved not to have started
	TimedOut    Outcome = "timed_out"   // ended by the host or job time limit
	Unknown     Outcome = "unknown"     // may have run, or may still run; may be followed by one true outcome
	Cancelled   Outcome = "cancelled"   // ended, or kept from starting, by a cancel
	Skipped     Outcome = "skipped"     // an operator said that it need not run
)

// Outcomes lists every outcome, in the order in which people read them.
var Outcomes = [...]Outcome{Succeeded, Skipped, Failed, TimedOut, Unreachable, Unknown, Cancelled}

// Bad reports whether a host with this last outcome, after its command may have started, is out of service: it
// keeps holding capacity until a later success or a release.
func (o Outcome) Bad() bool {
	switch o {
	case Failed, Unreachable, TimedOut, Unknown, Cancelled:
		return true
	}
	return false
}

// Failure reports whether the outcome counts against budgets and against a gate's max_failures.
func (o Outcome) Failure() bool {
	switch o {
	case Failed, Unreachable, TimedOut, Unknown:
		return true
	}
	return false
}

// Passed reports whether the outcome opens the stages behind it.
func (o Outcome) Passed() bool { return o == Succeeded || o == Skipped }
