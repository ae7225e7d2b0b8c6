package balance

import (
	"fmt"
	"strings"

	"sluice"
)

// Least is the minimum of servers that must stay up in a pool where nobody said another: without one, there is nobody to
// answer.
var Least = sluice.Count(1)

// Why says why a server may, or may not, be taken out.
type Why string

const (
	Room       Why = "room"      // enough others are up
	OutAlready Why = "not_up"    // it gets no requests anyway
	Minimum    Why = "minimum"   // too few others are up
	NotThere   Why = "not_there" // the pool has no such server
	Unread     Why = "unread"    // nobody knows how the pool is
)

// Permission says whether a server may be taken out of a pool, and what was counted for that.
type Permission struct {
	OK     bool   `json:"ok"`
	Why    Why    `json:"why"`
	Pool   string `json:"pool"`
	Server string `json:"server"`
	// Up are the servers of the pool that get requests, Least those that must, Of all that count. A backup does not count: it
	// is for when things go wrong, and this is not to make them so.
	Up    int `json:"up"`
	Least int `json:"least"`
	Of    int `json:"of"`
	// Others are those that get no requests, and how they are.
	Others []sluice.BalancedServer `json:"others,omitempty"`
	Err    string                  `json:"error,omitzero"`
}

// MayTakeOut says whether the server may be taken out of the pool as it was read. One that gets no requests may: nothing
// is lost by it.
func MayTakeOut(pool sluice.BalancedPool, server string, least sluice.Amount) Permission {
	p := counted(pool, server, least)
	s, there := pool.Server(server)
	switch {
	case !there:
		p.Why = NotThere
	case !s.Serves():
		p.OK, p.Why = true, OutAlready
	case p.Up-1 >= p.Least:
		p.OK, p.Why = true, Room
	default:
		p.Why = Minimum
	}
	return p
}

// StillHolds says whether the pool has its minimum while the server is out: it may have lost others since that was asked.
func StillHolds(pool sluice.BalancedPool, server string, least sluice.Amount) Permission {
	p := counted(pool, server, least)
	p.OK, p.Why = p.Up >= p.Least, Room
	if !p.OK {
		p.Why = Minimum
	}
	return p
}

// NotRead is no permission: a pool that cannot be read may be down to its last server.
func NotRead(pool, server string, err error) Permission {
	return Permission{Pool: pool, Server: server, Why: Unread, Err: err.Error()}
}

func counted(pool sluice.BalancedPool, server string, least sluice.Amount) Permission {
	p := Permission{Pool: pool.Name, Server: server}
	for _, s := range pool.Servers {
		if s.Backup {
			continue
		}
		p.Of++
		switch {
		case s.Serves():
			p.Up++
		case s.Name != server:
			p.Others = append(p.Others, s)
		}
	}
	p.Least = least.Ceil(p.Of) // a share says what must stay
	return p
}

// Text says why, for people.
func (p Permission) Text() string {
	switch p.Why {
	case Room:
		return fmt.Sprintf("%s may go out of %s: %s, and %d must be", p.Server, p.Pool, upOf(p.Up, p.Of), p.Least)
	case OutAlready:
		return fmt.Sprintf("%s gets no requests in %s anyway", p.Server, p.Pool)
	case NotThere:
		return fmt.Sprintf("the pool %s has no server %s", p.Pool, p.Server)
	case Unread:
		return fmt.Sprintf("nobody knows how the pool %s is, so %s stays: %s", p.Pool, p.Server, p.Err)
	}
	text := fmt.Sprintf("%s stays in %s: %s, and %d must be", p.Server, p.Pool, upOf(p.Up, p.Of), p.Least)
	for i, s := range p.Others {
		sep := "; "
		if i > 0 {
			sep = ", "
		}
		if i == few && len(p.Others) > few+1 {
			return text + fmt.Sprintf("%sand %d more", sep, len(p.Others)-few)
		}
		text += sep + s.Name + " is " + how(s)
	}
	return text
}

const few = 3

// how says why a server gets no requests.
func how(s sluice.BalancedServer) string {
	if s.State == sluice.ServerUp {
		return "up with weight 0"
	}
	return strings.ReplaceAll(string(s.State), string(sluice.ServerMaintenance), "in maintenance")
}

func upOf(n, of int) string {
	if n == 1 {
		return fmt.Sprintf("1 of %d servers is up", of)
	}
	return fmt.Sprintf("%d of %d servers are up", n, of)
}
