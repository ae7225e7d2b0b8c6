package balance

import (
	"fmt"
	"strings"
	"time"

	"sluice"
)

// Told says for people what was done at a balancer. That it is done is said only where the balancer showed it.
func Told(b sluice.BalancerChanged) string {
	if b.Error != "" {
		return fmt.Sprintf("%s: %s in %s is to be %s, and is not: %s", b.Balancer, b.Server, b.Pool, inWords(b.Wanted), b.Error)
	}
	is := b.State == sluice.ServerUp
	if b.Wanted != sluice.ServerUp {
		is = b.State.Out() // not all balancers tell draining from maintenance
	}
	if !is {
		how := "and is " + inWords(b.State)
		if b.State == "" || b.State == sluice.ServerUnknown {
			how = "not read back"
		}
		return fmt.Sprintf("%s: %s in %s was told to be %s, %s", b.Balancer, b.Server, b.Pool, inWords(b.Wanted), how)
	}
	p := Progress{Pool: b.Pool, Server: b.Server, Done: true, State: b.State, Cut: b.Cut,
		Waited: time.Duration(b.WaitedMS) * time.Millisecond, Back: b.Wanted == sluice.ServerUp}
	return b.Balancer + ": " + p.Text()
}

// Wanted says for people what somebody asks for at balancers.
func Wanted(b sluice.BalancerAsked) string {
	const most = 5
	var seats []string
	for i, s := range b.Seats {
		if i == most && len(b.Seats) > most+1 {
			seats = append(seats, fmt.Sprintf("%d more", len(b.Seats)-most))
			break
		}
		seats = append(seats, fmt.Sprintf("%s in %s of %s", s.Server, s.Pool, s.Balancer))
	}
	return strings.Join(seats, ", ") + " to be " + inWords(b.Wanted)
}

func inWords(s sluice.ServerState) string {
	if s == sluice.ServerMaintenance {
		return "in maintenance"
	}
	return string(s)
}
