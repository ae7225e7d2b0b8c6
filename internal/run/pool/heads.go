package pool

import (
	"context"
	"time"

	"sluice"
)

// alarmed reports whether nothing may start, for the log cannot be trusted.
func (p *Pool) alarmed() bool { return p.cfg.Alarm != nil && p.cfg.Alarm() != nil }

// showHeads shows workers where the log ends, so that each of them can say so one day. The log is asked at most three times
// in a lease, however many workers there are, and only while some are heard of.
func (p *Pool) showHeads(ctx context.Context) {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.stale:
		}
		if !p.alarmed() { // else they would take what is wrong for what is new
			heads, err := p.cfg.Heads(ctx)
			if text := textOf(err); text != said && ctx.Err() == nil {
				if said = text; text != "" {
					p.cfg.Trouble("workers are not shown where the log ends: " + text)
				}
			}
			p.show(heads)
		}
		t := time.NewTimer(p.cfg.Lease / 3)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// show sends each worker what it has not seen yet: of the log of who may do what, and of the namespaces that it works for.
// The others are none of its business.
func (p *Pool) show(heads []sluice.SeenHead) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.lines {
		var news []sluice.SeenHead
		for _, h := range heads {
			if (h.Namespace.Reserved() || m.works[h.Namespace]) && m.shown[h.Namespace] != h {
				m.shown[h.Namespace] = h
				news = append(news, h)
			}
		}
		if len(news) > 0 {
			m.send(sluice.ToWorker{Heads: news})
		}
	}
}
