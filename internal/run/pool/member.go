package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"sluice"
	"sluice/internal/core/crew"
)

// member is a worker that is connected.
type member struct {
	p    *Pool
	name sluice.WorkerName
	line Line
	// works are the namespaces that it had attempts of, and shown the heads that it has; the pool's lock guards them.
	works map[sluice.Namespace]bool
	shown map[sluice.Namespace]sluice.SeenHead
	// servers are those that it was told of; of who reads its messages.
	servers []string

	mu    sync.Mutex
	queue []sluice.ToWorker
	asked []sluice.AttemptID
	more  chan struct{}
}

// send puts a message into the queue.
func (m *member) send(msg sluice.ToWorker) {
	m.mu.Lock()
	if msg.Lease != nil { // the newest says all; a worker that does not read must not fill the memory
		m.queue = slices.DeleteFunc(m.queue, func(old sluice.ToWorker) bool { return old.Lease != nil })
	}
	m.queue = append(m.queue, msg)
	m.mu.Unlock()
	m.signal()
}

// ask has the log asked whether an outcome is durable.
func (m *member) ask(a sluice.AttemptID) {
	m.mu.Lock()
	m.asked = append(m.asked, a)
	m.mu.Unlock()
	m.signal()
}

func (m *member) signal() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// Serve has the line of a worker until it is cut. drain says that it is to get nothing new.
func (p *Pool) Serve(ctx context.Context, name sluice.WorkerName, pools []sluice.Pool, drain bool, line Line) error {
	first, err := line.Receive()
	if err != nil {
		return err
	}
	hello := first.Hello
	if hello == nil {
		return sluice.Errorf(sluice.Usage, "the worker %s does not say hello", name)
	}
	if hello.Limit < 1 {
		return sluice.Errorf(sluice.Usage, "the worker %s has room for nothing", name)
	}
	if p.cfg.Witness != nil {
		if err := p.cfg.Witness(ctx, "the worker "+string(name), hello.Heads); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "what the worker " + string(name) + " has seen of the log cannot be judged", Err: err}
		}
	}
	term := p.term()
	if term.Before(hello.Seen) {
		return sluice.Errorf(sluice.Contact, "the worker %s has seen %s, and this server is in %s: another one owns the log, or its data are of an earlier day", name, hello.Seen, term)
	}
	m := &member{p: p, name: name, line: line, more: make(chan struct{}, 1), works: map[sluice.Namespace]bool{}, shown: map[sluice.Namespace]sluice.SeenHead{}}
	ctx, cancel := context.WithCancel(ctx)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel()
	defer line.Close()
	m.servers = slices.Clone(p.servers())
	m.send(sluice.ToWorker{Owner: &sluice.WorkerOwner{Term: term, Servers: m.servers}}) // first: what comes from somebody else is not followed
	if drain {
		m.send(sluice.ToWorker{Drain: &drain})
	}
	p.mu.Lock()
	old := p.lines[name]
	p.lines[name] = m
	p.greet(m, hello.Opened) // first: what it has no secrets for must not be given to it
	p.act(p.crew.Join(crew.Member{Name: name, Pools: pools, Limit: hello.Limit, Draining: drain, Version: hello.Version,
		SignedOnly: hello.SignedOnly}, hello.Held, p.now()))
	p.mu.Unlock()
	if old != nil {
		old.line.Close() // the worker has come anew
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lines[name] == m {
			delete(p.lines, name)
		}
	}()
	writer.Go(func() { m.write(ctx) })
	for {
		msg, err := line.Receive()
		if err != nil {
			return err
		}
		if err := p.take(m, msg); err != nil {
			return err
		}
	}
}

// write sends what is in the queue, and asks the log.
func (m *member) write(ctx context.Context) {
	for {
		m.mu.Lock()
		queue, asked := m.queue, m.asked
		m.queue, m.asked = nil, nil
		m.mu.Unlock()
		for _, msg := range queue {
			if msg.Lease != nil && !m.p.ownsLog(ctx) {
				continue
			}
			if m.line.Send(msg) != nil {
				m.line.Close()
				return
			}
		}
		for _, a := range asked {
			m.answer(ctx, a)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.more:
		}
	}
}

// ownsLog asks whether this server still owns the log. Where that cannot be said in time nothing may start.
func (p *Pool) ownsLog(ctx context.Context) bool {
	if p.cfg.Owns == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Lease/3)
	defer cancel()
	return p.cfg.Owns(ctx) == nil
}

// answer tells a worker that it need not keep an attempt. Where it must, nothing is said.
func (m *member) answer(ctx context.Context, a sluice.AttemptID) {
	settled, err := m.p.cfg.Settled(ctx, a)
	if err != nil {
		if ctx.Err() == nil {
			m.p.cfg.Trouble(fmt.Sprintf("whether the outcome of %s is durable cannot be read: %v", a, err))
		}
		return
	}
	if settled {
		m.p.mu.Lock()
		m.p.crew.Forget(m.name, a)
		m.p.mu.Unlock()
		if m.line.Send(sluice.ToWorker{Committed: a}) != nil {
			m.line.Close()
		}
	}
}

// errStranger ends the line of a worker that is not one of the crew any more; it may come anew.
var errStranger = errors.New("the worker was held to be lost; it comes anew")

// take reads one message of a worker.
func (p *Pool) take(m *member, msg sluice.ToServer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines[m.name] != m || !p.crew.Beat(m.name, p.now()) {
		return errStranger
	}
	switch {
	case msg.Beat != nil:
		// At once, where nobody but this process gives its attempts away, since it holds the locks of the jobs. Where several
		// servers share a log, [member.write] asks first.
		m.send(sluice.ToWorker{Lease: &sluice.WorkerLease{Number: msg.Beat.Number, For: p.cfg.Lease, Term: p.term()}})
		if now := p.servers(); !slices.Equal(now, m.servers) {
			m.servers = slices.Clone(now)
			m.send(sluice.ToWorker{Owner: &sluice.WorkerOwner{Term: p.term(), Servers: m.servers}})
		}
		select {
		case p.stale <- struct{}{}:
		default:
		}
	case msg.Output != nil:
		p.pass(m, msg.Output.Attempt, message{output: msg.Output})
	case msg.Step != nil:
		p.pass(m, msg.Step.Attempt, message{step: msg.Step})
	case msg.Balanced != nil:
		p.pass(m, msg.Balanced.Attempt, message{balanced: msg.Balanced})
	case msg.Outcome != nil:
		p.pass(m, msg.Outcome.Attempt, message{outcome: msg.Outcome})
	case msg.Withdraw != nil:
		p.pass(m, msg.Withdraw.Attempt, message{withdraw: msg.Withdraw})
	case msg.Gone != nil:
		p.crew.Forget(m.name, msg.Gone.Attempt)
		p.pass(m, msg.Gone.Attempt, message{gone: msg.Gone})
	case msg.Opened != nil:
		p.opened(m, msg.Opened)
	}
	return nil
}

// pass gives a message to who waits for the attempt, if it comes from the worker that has it.
func (p *Pool) pass(m *member, a sluice.AttemptID, msg message) {
	f := p.flight[a]
	if f == nil || !p.crew.Has(m.name, a) {
		return
	}
	msg.worker = m.name
	f.push(msg)
}
