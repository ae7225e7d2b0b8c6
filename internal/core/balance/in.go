package balance

import (
	"fmt"
	"time"

	"sluice"
)

// Progress says how far a server is on its way out of a pool, or back in.
type Progress struct {
	Pool   string `json:"pool"`
	Server string `json:"server"`
	// Done says that it is drained, or back.
	Done bool `json:"done"`
	// Slipped says that the balancer hands requests to it that was taken out: it was reloaded, or somebody else returned it.
	Slipped bool `json:"slipped,omitzero"`
	// State and InFlight are as they were read back.
	State    sluice.ServerState `json:"state"`
	InFlight int                `json:"in_flight"`
	// Cut is how many requests or connections it had when the limit had passed; -1 where nobody knows.
	Cut    int           `json:"cut"`
	Waited time.Duration `json:"waited"`
	Back   bool          `json:"back,omitzero"` // it is asked whether it is back, not whether it is out
}

// Drained says whether a server that was taken out has nothing in flight any more, or has had the time that it may take.
func Drained(pool sluice.BalancedPool, server string, waited, limit time.Duration) Progress {
	p := seenIn(pool, server, waited)
	p.Slipped = !p.State.Out()
	switch {
	case p.Slipped:
	case p.InFlight == 0:
		p.Done = true
	case waited >= limit:
		p.Done, p.Cut = true, p.InFlight
	}
	return p
}

// IsBack says whether a server that was returned gets requests.
func IsBack(pool sluice.BalancedPool, server string, waited time.Duration) Progress {
	p := seenIn(pool, server, waited)
	p.Back = true
	p.Done = p.State == sluice.ServerUp
	return p
}

func seenIn(pool sluice.BalancedPool, server string, waited time.Duration) Progress {
	p := Progress{Pool: pool.Name, Server: server, State: sluice.ServerUnknown, InFlight: -1, Waited: waited}
	if s, there := pool.Server(server); there {
		p.State, p.InFlight = s.State, s.InFlight
	}
	return p
}

// Text says it for people.
func (p Progress) Text() string {
	name := p.Server + " in " + p.Pool
	waited := p.Waited.Round(100 * time.Millisecond)
	switch {
	case p.Back && p.Done:
		return name + " is up"
	case p.Back:
		return fmt.Sprintf("%s is %s after %s", name, how(sluice.BalancedServer{State: p.State}), waited)
	case p.Slipped:
		return fmt.Sprintf("%s was out and is %s: the balancer was reloaded, or somebody returned it", name, p.State)
	case p.Done && p.Cut < 0:
		return fmt.Sprintf("%s is out after %s; how many requests were cut is not known", name, waited)
	case p.Done && p.Cut > 0:
		return fmt.Sprintf("%s is out after %s, %d in flight were cut", name, waited, p.Cut)
	case p.Done:
		return fmt.Sprintf("%s is drained after %s, nothing was cut", name, waited)
	case p.InFlight < 0:
		return fmt.Sprintf("%s is out for %s; how much is in flight is not known", name, waited)
	}
	return fmt.Sprintf("%s is out for %s, %d in flight", name, waited, p.InFlight)
}
