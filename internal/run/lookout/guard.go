// Package lookout keeps a server from acting on a log that others know to be longer or another: it shows heads to them,
// judges those that they hand back, and raises the alarm.
//
// While the alarm is raised nothing starts and nothing is changed; what runs may end, and people may halt and read. It is
// over when somebody has declared the log the truth. What a head proves is a question of core/witness.
package lookout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/core/witness"
)

// Journal is a log with all that it can do.
type Journal interface {
	sluice.Log
	sluice.Snapshots
	sluice.Chains
	fmt.Stringer
}

// Kept is what stays from one start of the server to the next.
type Kept interface {
	Key() ([]byte, error)
	Alarm() ([]sluice.SeenHead, error)
	SetAlarm([]sluice.SeenHead) error
}

// Config is what a guard needs.
type Config struct {
	Journal Journal
	Kept    Kept
	Clock   sluice.Clock
	// Trouble is told what somebody has to look at. It must not block.
	Trouble func(text string)
	// Halt halts all jobs when the alarm is raised: so that what runs can end, and nothing waits for an append that is
	// refused. May be nil.
	Halt func(ctx context.Context, reason string) error
}

// Guard watches over one log. It is safe for concurrent use.
type Guard struct {
	cfg Config
	key witness.Key

	mu      sync.Mutex
	read    uint64 // events of [sluice.AccessNamespace] that history is made of
	history witness.History
	turned  time.Time // when the last turn was made
	alarm   []sluice.SeenHead
	lost    []sluice.SeenHead // known to be lost, and seen by somebody since the start
	forged  int               // heads that were not signed here, since told
	told    time.Time

	// raised is what Alarm says. It is not under the lock: whoever appends asks for it, and a repair appends.
	raised atomic.Pointer[sluice.Error]
	epoch  atomic.Int64 // of history
}

const (
	page = 10000
	// most is how many heads that do not fit are kept: one is enough for the alarm, some tell more.
	most = 100
	// forgedEvery is how often forged heads are told at most.
	forgedEvery = time.Minute
)

// New reads what is known so far.
func New(ctx context.Context, cfg Config) (*Guard, error) {
	key, err := cfg.Kept.Key()
	if err != nil {
		return nil, err
	}
	g := &Guard{cfg: cfg, key: key}
	if g.alarm, err = cfg.Kept.Alarm(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.turns(ctx); err != nil {
		return nil, err
	}
	if g.raise(); len(g.alarm) > 0 {
		cfg.Trouble(g.reason())
	}
	return g, nil
}

// turns reads restores and repairs that are new, and gives up alarms that they explain: another process may have made
// them. The lock is held.
func (g *Guard) turns(ctx context.Context) error {
	known := len(g.history)
	for {
		events, err := g.cfg.Journal.Read(ctx, sluice.AccessNamespace, g.read, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			g.read = e.Seq
			if t, ok := witness.TurnOf(e); ok {
				g.history, g.turned = append(g.history, t), e.Time
				g.epoch.Store(int64(g.history.Epoch()))
			}
		}
		if len(events) < page {
			break
		}
	}
	if len(g.history) == known || len(g.alarm) == 0 {
		return nil
	}
	return g.reconsider(ctx)
}

// reconsider judges the heads of the alarm again. The lock is held.
func (g *Guard) reconsider(ctx context.Context) error {
	var still []sluice.SeenHead
	for _, s := range g.alarm {
		switch v, err := g.judge(ctx, s); {
		case err != nil:
			return err
		case v == witness.Lost:
			g.lost = append(g.lost, s)
		case v != witness.Fits:
			still = append(still, s)
		}
	}
	g.alarm = still
	g.raise()
	return g.cfg.Kept.SetAlarm(still)
}

// Turned is when the log was restored or repaired last; zero: never.
func (g *Guard) Turned(ctx context.Context) (time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.turns(ctx)
	return g.turned, err
}

// Epoch is the one that the log was in when it was looked at last. It does not wait.
func (g *Guard) Epoch() int { return int(g.epoch.Load()) }

// Heads are the ends of all namespaces, signed, for others to keep.
func (g *Guard) Heads(ctx context.Context) ([]sluice.SeenHead, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.turns(ctx); err != nil {
		return nil, err
	}
	heads, err := g.cfg.Journal.Heads(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]sluice.SeenHead, 0, len(heads))
	for _, h := range heads {
		out = append(out, g.key.Sign(h, g.history.Epoch()))
	}
	return out, nil
}

// Witness judges heads that somebody hands back. Those that this server never showed are told and otherwise ignored. An
// error says that it could not be judged.
func (g *Guard) Witness(ctx context.Context, from string, heads []sluice.SeenHead) error {
	was := g.Alarm()
	if err := g.take(ctx, from, heads); err != nil {
		return err
	}
	if now := g.Alarm(); was == nil && now != nil && g.cfg.Halt != nil {
		if err := g.cfg.Halt(ctx, now.Error()); err != nil {
			g.cfg.Trouble(fmt.Sprintf("not all jobs could be halted: %v", err))
		}
	}
	return nil
}

func (g *Guard) take(ctx context.Context, from string, heads []sluice.SeenHead) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.turns(ctx); err != nil {
		return err
	}
	before := len(g.alarm)
	for _, s := range heads {
		if !g.key.Valid(s) {
			g.forgery(from)
			continue
		}
		v, err := g.judge(ctx, s)
		if err != nil {
			return err
		}
		switch v {
		case witness.Lost:
			g.lost = add(g.lost, s, func() {
				g.cfg.Trouble(fmt.Sprintf("%s has seen event %d of the namespace %s, which is lost since the log was restored or repaired", from, s.Seq, s.Namespace))
			})
		case witness.Backwards, witness.Changed:
			g.alarm = add(g.alarm, s, func() {
				g.cfg.Trouble(fmt.Sprintf("the log %s: %s has seen event %d of the namespace %s as %s", v, from, s.Seq, s.Namespace, s.Hash))
			})
		}
	}
	if len(g.alarm) == before {
		return nil
	}
	if g.raise(); before == 0 {
		g.cfg.Trouble(g.reason())
	}
	return g.cfg.Kept.SetAlarm(g.alarm)
}

func (g *Guard) judge(ctx context.Context, s sluice.SeenHead) (witness.Verdict, error) {
	have, ok, err := g.cfg.Journal.HashAt(ctx, s.Namespace, s.Seq)
	if err != nil || ok {
		return g.history.Judge(s, have, ok, s.Seq), err
	}
	later, err := g.cfg.Journal.Read(ctx, s.Namespace, s.Seq, 1) // no append ends there: is the log longer?
	end := uint64(0)
	if len(later) > 0 {
		end = s.Seq
	}
	return g.history.Judge(s, have, false, end), err
}

// add keeps a head that is new.
func add(list []sluice.SeenHead, s sluice.SeenHead, isNew func()) []sluice.SeenHead {
	if slices.Contains(list, s) || len(list) >= most {
		return list
	}
	isNew()
	return append(list, s)
}

func (g *Guard) forgery(from string) {
	g.forged++
	if now := g.cfg.Clock(); now.Sub(g.told) >= forgedEvery {
		g.cfg.Trouble(fmt.Sprintf("%d heads were handed in, the last by %s, that this server has never shown; they count for nothing", g.forged, from))
		g.told, g.forged = now, 0
	}
}

// reason says what is wrong. The lock is held.
func (g *Guard) reason() string {
	var of []string
	for _, s := range g.alarm {
		if ns := string(s.Namespace); !slices.Contains(of, ns) {
			of = append(of, ns)
		}
	}
	return "others have seen more or something else of the log than it has now (namespace " + strings.Join(of, ", ") +
		"); nothing starts and nothing is changed until an administrator has looked"
}

// Alarm is nil, or an error that says why nothing starts and nothing is changed.
func (g *Guard) Alarm() error {
	if e := g.raised.Load(); e != nil {
		return e
	}
	return nil
}

// raise has Alarm say what is so. The lock is held.
func (g *Guard) raise() {
	if len(g.alarm) == 0 {
		g.raised.Store(nil)
		return
	}
	g.raised.Store(sluice.Errorf(sluice.Contact, "%s", g.reason()).WithHint("sluice audit witness says what was seen; docs/audit.md says what to do"))
}

// Standing is what is known about the log from others.
type Standing struct {
	Epoch int
	// Unfit are the heads for which the alarm is raised; Lost those that a restore or repair explains.
	Unfit, Lost []sluice.SeenHead
}

// Standing says what is known about the log from others. Lost are those that somebody has handed back since the start.
func (g *Guard) Standing(ctx context.Context) (Standing, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.turns(ctx); err != nil {
		return Standing{}, err
	}
	return Standing{g.history.Epoch(), slices.Clone(g.alarm), slices.Clone(g.lost)}, nil
}

// Repair declares the log as it is the truth, and ends the alarm.
func (g *Guard) Repair(ctx context.Context, by, reason string) (sluice.LogRepaired, error) {
	if strings.TrimSpace(reason) == "" {
		return sluice.LogRepaired{}, sluice.Errorf(sluice.Usage, "a repair needs a reason, for those who read the audit")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.turns(ctx); err != nil {
		return sluice.LogRepaired{}, err
	}
	if len(g.alarm) == 0 {
		return sluice.LogRepaired{}, sluice.Errorf(sluice.Conflict, "there is nothing to repair: the log has all that others have seen")
	}
	heads, err := g.cfg.Journal.Heads(ctx)
	if err != nil {
		return sluice.LogRepaired{}, err
	}
	r := sluice.LogRepaired{Epoch: g.newEpoch(), Heads: witness.Repair(heads, g.alarm), Reason: reason, By: by}
	for _, s := range g.alarm {
		r.Seen = append(r.Seen, s.Head)
	}
	_, err = g.cfg.Journal.Update(ctx, sluice.AccessNamespace, g.read, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: g.cfg.Clock(), Body: r}}, nil
	})
	if err != nil {
		return sluice.LogRepaired{}, err
	}
	return r, g.turns(ctx)
}

// newEpoch is later than all that anybody has seen.
func (g *Guard) newEpoch() int {
	epoch := g.history.Epoch()
	for _, s := range g.alarm {
		epoch = max(epoch, s.Epoch)
	}
	return epoch + 1
}
