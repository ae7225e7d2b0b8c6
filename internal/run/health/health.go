// Package health looks at a server, through the link to its host, until core/balance can say whether it is healthy. It must
// not know what follows from that.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/run/onhost"
)

// Look looks once. What it finds is [balance.Unseen] where the link, and not the server, is at fault.
type Look func(ctx context.Context, link sluice.Link) (balance.Finding, string)

// Plan says how a server is looked at.
type Plan struct {
	Looks []Look
	Rule  balance.Rule
	Every time.Duration // between looks; DefaultEvery if 0
	Limit time.Duration // of one look; DefaultLimit if 0
}

// What is meant where nothing is said.
const (
	DefaultEvery = time.Second
	DefaultLimit = 5 * time.Second
	maxBody      = 1 << 20
)

// Watch looks until there is a verdict other than waiting, or the context ends, which is an error. Each time that a look
// finds something else than the one before, say is told; it may be nil.
func Watch(ctx context.Context, link sluice.Link, p Plan, say func(balance.Verdict)) (balance.Verdict, error) {
	if p.Every == 0 {
		p.Every = DefaultEvery
	}
	if p.Limit == 0 {
		p.Limit = DefaultLimit
	}
	start := time.Now()
	var h balance.Health
	var last string
	for {
		h = h.See(once(ctx, link, p))
		if ctx.Err() != nil {
			return balance.Verdict{}, context.Cause(ctx)
		}
		v := h.Judge(p.Rule, start, time.Now())
		if v.State != balance.Waiting {
			return v, nil
		}
		if say != nil && v.Last != last {
			last = v.Last
			say(v)
		}
		timer := time.NewTimer(min(p.Every, max(0, p.Rule.Deadline-time.Since(start))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return balance.Verdict{}, context.Cause(ctx)
		}
	}
}

// once looks with every look, one after the other: the first that does not find it well says why.
func once(ctx context.Context, link sluice.Link, p Plan) balance.Seen {
	var all []balance.Seen
	for _, look := range p.Looks {
		within, cancel := context.WithTimeout(ctx, p.Limit)
		finding, text := look(within, link)
		cancel()
		all = append(all, balance.Seen{Finding: finding, Text: text})
		if finding != balance.Well {
			break
		}
	}
	return balance.Together(time.Now(), all...)
}

// dialled judges an error of a connection from the host.
func dialled(err error) (balance.Finding, string) {
	if errors.Is(err, sluice.ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded) {
		return balance.Ill, err.Error()
	}
	return balance.Unseen, err.Error()
}

// TCP finds a server well that takes a connection, "tcp" HOST:PORT or "unix" PATH as its host sees it.
func TCP(network, address string) Look {
	return func(ctx context.Context, link sluice.Link) (balance.Finding, string) {
		c, err := link.Dial(ctx, network, address)
		if err != nil {
			return dialled(err)
		}
		_ = c.Close()
		return balance.Well, address + " takes connections"
	}
}

// HTTP finds a server well that answers as it should. Each look has a connection of its own, opened from the host; what the
// answer redirects to is not looked at.
func HTTP(url string, want balance.Answer) Look {
	return func(ctx context.Context, link sluice.Link) (balance.Finding, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return balance.Unseen, err.Error()
		}
		tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return link.Dial(ctx, network, address)
		}}
		defer tr.CloseIdleConnections()
		resp, err := tr.RoundTrip(req)
		var dial *net.OpError
		switch {
		case err == nil:
		case errors.Is(err, sluice.ErrNoAnswer), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &dial), errors.Is(err, context.DeadlineExceeded):
			return balance.Ill, err.Error()
		default:
			return balance.Unseen, err.Error()
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return balance.Ill, "its answer ends in the middle: " + err.Error()
		}
		return want.Find(resp.StatusCode, body)
	}
}

// Exec finds a server well where a program on its host ends with status 0.
func Exec(argv ...string) Look {
	return func(ctx context.Context, link sluice.Link) (balance.Finding, string) {
		ran, err := onhost.Program(link)(ctx, argv, nil)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return balance.Ill, argv[0] + " takes too long"
		case err != nil:
			return balance.Unseen, err.Error()
		case ran.Status != sluice.ExitStatus{}:
			return balance.Ill, fmt.Sprintf("%s ended with status %d%s: %.200s%.200s", argv[0], ran.Status.Code, ran.Status.Signal, ran.Stdout, ran.Stderr)
		}
		return balance.Well, argv[0] + " is content"
	}
}

// Systemd finds a server well whose unit is active.
func Systemd(unit string) Look {
	return func(ctx context.Context, link sluice.Link) (balance.Finding, string) {
		ran, err := onhost.Program(link)(ctx, []string{"systemctl", "show", "-p", "LoadState,ActiveState,SubState", "--", unit}, nil)
		if err != nil {
			return balance.Unseen, err.Error()
		}
		return balance.Unit(unit, string(ran.Stdout))
	}
}
