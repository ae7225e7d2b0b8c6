package drive

import (
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

const (
	// sweepBack is how long before the last sign of an earlier process an attempt may have ended whose host was
	// not told; it covers the time that a worker takes for the telling.
	sweepBack = 10 * time.Second
	// shortestAgain and longestAgain bound the pause before an attempt is handed to another worker once more.
	shortestAgain = 250 * time.Millisecond
	longestAgain  = 10 * time.Second
)

// lost says since when nobody has had an attempt in hand whose worker went away.
type lost struct {
	out   bool          // nobody has had it since
	since time.Duration // then
	waits bool          // it is to be handed out again
	again time.Duration // then
	given time.Duration // when it was handed out last
	tries int
}

// TakeUp joins what the log says runs and nobody carries out, and asks for the outcomes that are not known.
func (m *Machine) TakeUp(now time.Duration) (e Effects) {
	m.takeUp(&e, now)
	m.killIfAsked(&e)
	return e
}

func (m *Machine) takeUp(e *Effects, now time.Duration) {
	for _, a := range m.state.Attempts(m.cfg.Job) {
		if m.flights[a.ID] != nil || m.cfg.OnlySettle && !a.Unknown {
			continue
		}
		m.launch(e, Launch{Host: a.Host, Attempt: a.ID, Settle: a.Unknown || m.Stopped(), Resumed: true}, now)
	}
}

// Stopped reports whether nothing of the job may start that has not: what has no outcome is asked for it.
func (m *Machine) Stopped() bool {
	info, _ := m.state.Job(m.cfg.Job)
	return info.Kill || info.State == schedule.Halting || info.State == schedule.Halted
}

// sweep removes what attempts left on their hosts that ended just before an earlier process was killed: their
// outcome was durable, and the hosts had not been told yet.
func (m *Machine) sweep(e *Effects) {
	if m.spec.Options.ReadOnly && m.spec.Action.Validates == nil {
		return
	}
	for _, id := range sorted(m.ended) {
		_, index, _, ok := id.Parse()
		if !ok || index >= len(m.spec.Targets) || m.outcomes[id] == sluice.Unknown || m.ended[id].Before(m.sign.Add(-sweepBack)) {
			continue
		}
		host := m.spec.Targets[index]
		m.flights[id] = &flight{host: host, killed: true, sweep: true, told: true}
		e.Launches = append(e.Launches, Launch{Host: host, Attempt: id, Settle: true, Resumed: true, Sweep: true})
	}
}

func (m *Machine) launch(e *Effects, l Launch, now time.Duration) {
	m.flights[l.Attempt] = &flight{host: l.Host, since: now, lost: lost{given: now}}
	m.flying++
	e.Launches = append(e.Launches, l)
}

// killIfAsked passes a cancel, or the end of the job's time, on to the attempts.
func (m *Machine) killIfAsked(e *Effects) {
	if info, _ := m.state.Job(m.cfg.Job); info.Kill {
		for _, id := range m.inOrder() {
			if f := m.flights[id]; !f.killed && !f.lost.waits {
				f.killed = true
				e.Kills = append(e.Kills, Kill{Attempt: id, TimeLimit: !info.Cancelling})
			}
		}
	}
}

// Loss says how a worker failed to bring an attempt to its outcome.
type Loss struct {
	Text string // for people
	// HandOver says that the worker is gone and that another one may take the attempt up.
	HandOver bool
	// Untaken says that there was no worker to take it, so that nobody had it in hand meanwhile.
	Untaken bool
}

// Land forgets an attempt that its worker has done with; loss says why it has no outcome, nil if it has. It reports
// whether that may change a decision, and what a person should know.
func (m *Machine) Land(id sluice.AttemptID, loss *Loss, now time.Duration) (turn bool, notice string) {
	f := m.flights[id]
	if f != nil && loss != nil && loss.HandOver && !f.told && !f.sweep && m.handOver(f, *loss, now) {
		return true, ""
	}
	delete(m.flights, id)
	m.stale = true
	if f != nil {
		m.told(f)
	}
	if loss != nil && (f == nil || !f.sweep) {
		return true, m.giveUp(id, loss.Text)
	}
	return len(m.flights) == 0, ""
}

// giveUp records that nobody knows how an attempt ended whose worker failed.
func (m *Machine) giveUp(id sluice.AttemptID, text string) (notice string) {
	_, index, _, ok := id.Parse()
	if _, known := m.outcomes[id]; known || !ok || index >= len(m.spec.Targets) {
		return string(id) + ": " + text
	}
	m.waiting = append(m.waiting, Report{Body: sluice.TaskFinished{Host: m.spec.Targets[index], Attempt: id,
		Outcome: sluice.Unknown, Reason: text}})
	return ""
}

// handOver notes when an attempt is handed to another worker, whose last one is gone. It reports false if that was tried
// for as long as a lost link is.
func (m *Machine) handOver(f *flight, loss Loss, now time.Duration) bool {
	budget := m.spec.Options.Reconnect
	if budget <= 0 {
		budget = sluice.DefaultReconnect
	}
	if !loss.Untaken && now-f.lost.given >= budget {
		f.lost = lost{} // somebody had it in hand all the while
	}
	if !f.lost.out {
		f.lost.out, f.lost.since = true, now
	}
	if now-f.lost.since >= budget {
		return false
	}
	f.lost.waits, f.lost.again = true, now // at once where another worker may have it
	if f.lost.tries > 0 || loss.Untaken {
		f.lost.again = now + min(longestAgain, shortestAgain<<min(f.lost.tries, 6))
	}
	f.lost.tries++
	return true
}

// takeUpLost hands out again what workers lost, by what the log says by now.
func (m *Machine) takeUpLost(e *Effects, now time.Duration) {
	if again, any := m.NextAgain(); !any || now < again {
		return
	}
	for _, id := range m.inOrder() {
		f := m.flights[id]
		if !f.lost.waits || now < f.lost.again {
			continue
		}
		f.lost.waits, f.lost.given, f.killed = false, now, false
		e.Launches = append(e.Launches, Launch{Host: f.host, Attempt: id, Resumed: true,
			Settle: m.outcomes[id] == sluice.Unknown || m.Stopped()})
	}
}
