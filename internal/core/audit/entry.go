package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/balance"
)

// Entry is one thing that somebody did.
type Entry struct {
	Time      time.Time        `json:"time"`
	Namespace sluice.Namespace `json:"namespace"`
	Seq       uint64           `json:"seq"`
	Who       string           `json:"who"` // "nobody known" where no name could be proved
	Did       string           `json:"did"` // the type of the event
	What      string           `json:"what"`
	Job       sluice.JobID     `json:"job,omitzero"`
	From      string           `json:"from,omitzero"` // address
	Refused   string           `json:"refused,omitzero"`
	Times     int              `json:"times,omitzero"`
}

// Nobody is who did something where nobody could be named.
const Nobody = "nobody known"

// Of makes an entry of an event. ok is false for what no person or program asked for: attempts, stages, outcomes.
func Of(ns sluice.Namespace, e sluice.Event) (entry Entry, ok bool) {
	entry = Entry{Time: e.Time, Namespace: ns, Seq: e.Seq, Job: e.Job, Did: e.Body.Type()}
	who, what := ofJob(e.Body)
	if what == "" {
		who, what = ofFleet(e.Body)
	}
	if what == "" {
		who, what = ofAccess(e.Body)
	}
	if n, noted := e.Body.(sluice.AccessNoted); noted {
		who, what = string(n.Principal), n.What
		entry.From, entry.Refused, entry.Times = n.From, n.Refused, n.Times
		if n.Namespace != "" {
			entry.Namespace = n.Namespace
		}
	}
	if j, joined := e.Body.(sluice.ServerJoined); joined {
		entry.From = j.From
	}
	if who == "" {
		who = Nobody
	}
	entry.Who, entry.What = who, what
	return entry, what != ""
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

func ofJob(body sluice.Body) (who, what string) {
	switch b := body.(type) {
	case sluice.JobSubmitted:
		return b.Submitted.By, fmt.Sprintf("submitted %q for %d hosts (%s)", b.Submitted.Command, len(b.Submitted.Targets), b.Submitted.Expression)
	case sluice.JobHalting:
		if b.By != "" {
			return b.By, because("halted it", b.Reason)
		}
	case sluice.JobCancelling:
		return b.By, because("cancelled it", b.Reason)
	case sluice.JobResumed:
		if b.MaxFailures != nil {
			return b.By, "resumed it and let it have " + b.MaxFailures.String() + " failures"
		}
		return b.By, "resumed it"
	case sluice.TaskRetried:
		return b.By, fmt.Sprintf("has %d hosts tried again: %s", len(b.Hosts), some(b.Hosts))
	case sluice.TaskFinished:
		if b.By != "" {
			return b.By, because("skipped "+string(b.Host), b.Reason)
		}
	case sluice.GatePassed:
		if b.By != "" {
			return b.By, fmt.Sprintf("approved what follows the stage %q", b.Stage)
		}
	case sluice.OutputRemoved:
		return b.By, because(fmt.Sprintf("removed its output, %d bytes", b.Bytes), b.Reason)
	}
	return "", ""
}

func ofFleet(body sluice.Body) (who, what string) {
	switch b := body.(type) {
	case sluice.RulesApplied:
		return b.By, fmt.Sprintf("put the rules %.19s in force", b.Rules.Digest)
	case sluice.FleetApplied:
		return b.By, because(fmt.Sprintf("applied version %d of the fleet, %d hosts", b.Version, b.Hosts), b.Note)
	case sluice.BalancerAsked:
		return b.By, because("wants "+balance.Wanted(b), b.Reason)
	case sluice.HostHeld:
		return b.By, because("held "+string(b.Host), b.Reason)
	case sluice.HostReleased:
		return b.By, because("released "+string(b.Host), b.Reason)
	case sluice.HostRetired:
		return b.By, because("retired "+string(b.Host), b.Reason)
	case sluice.HostReturned:
		return b.By, because("returned "+string(b.Host), b.Reason)
	}
	return "", ""
}

func ofAccess(body sluice.Body) (who, what string) {
	switch b := body.(type) {
	case sluice.PrincipalAdded:
		return string(b.By), "made " + string(b.Principal) + " known"
	case sluice.PrincipalRemoved:
		return string(b.By), "removed " + string(b.Principal)
	case sluice.RoleDefined:
		return string(b.By), fmt.Sprintf("let the role %s have %d rights", b.Role, len(b.May))
	case sluice.GrantGiven:
		return string(b.By), fmt.Sprintf("gave %s the role %s", b.Principal, b.Grant)
	case sluice.GrantTaken:
		return string(b.By), fmt.Sprintf("took the role %s from %s", b.Grant, b.Principal)
	case sluice.TokenMade:
		if b.Kind == sluice.BySession {
			return string(b.By), "signed in, by the session " + string(b.ID)
		}
		return string(b.By), fmt.Sprintf("made the token %s for %s", b.ID, b.Principal)
	case sluice.TokenRevoked:
		if b.Ended != "" {
			return string(b.By), because("put the token "+string(b.ID)+" away", b.Ended)
		}
		return string(b.By), "revoked the token " + string(b.ID)
	case sluice.ServerInvited:
		if b.Replaces != "" {
			return string(b.By), fmt.Sprintf("invited the server %s in place of %s", b.Server, b.Replaces)
		}
		return string(b.By), "invited the server " + string(b.Server)
	case sluice.ServerJoined:
		return "server " + string(b.Server), "joined the cluster at " + b.Address
	case sluice.ServerRemoved:
		return string(b.By), because("removed the server "+string(b.Server), b.Reason)
	case sluice.ServerRestored:
		return b.By, fmt.Sprintf("restored the server from the backup of %s; epoch %d", b.Backup.UTC().Format(time.RFC3339), b.Epoch)
	case sluice.LogRepaired:
		return b.By, because(fmt.Sprintf("declared the log the truth; epoch %d", b.Epoch), b.Reason)
	}
	return "", ""
}

// some names the first few hosts.
func some(hosts []sluice.Host) string {
	const most = 5
	var out []string
	for i, h := range hosts {
		if i == most {
			out = append(out, "...")
			break
		}
		out = append(out, string(h))
	}
	return strings.Join(out, " ")
}

// String is the entry as a line, without anything that could be taken for another line.
func (e Entry) String() string {
	s := fmt.Sprintf("%s  %-10s  %s", e.Time.UTC().Format("2006-01-02 15:04:05"), e.Namespace, e.Who)
	if e.Job != "" {
		s += "  job " + string(e.Job)
	}
	s += "  " + e.What
	if e.Times > 1 {
		s += fmt.Sprintf(" (%d times)", e.Times)
	}
	if e.From != "" {
		s += "  from " + e.From
	}
	if e.Refused != "" {
		s += "  REFUSED: " + e.Refused
	}
	return s
}

// Sort puts entries of several namespaces into the order in which they happened.
func Sort(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Time.Compare(b.Time) })
}
