package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/run/control"
)

// balancers are some that do as a test says.
type balancers struct {
	pool   sluice.BalancedPool
	change func(say func(string, *sluice.BalancerChanged)) error
}

func (b balancers) Look(context.Context, sluice.Balancing) (sluice.BalancedPool, error) {
	return b.pool, nil
}

func (b balancers) Change(_ context.Context, _ []sluice.Balancing, _ sluice.ServerState, _ BalancerLimits, say func(string, *sluice.BalancerChanged)) error {
	return b.change(say)
}

// noting is a desk that takes every note.
type noting struct{ control.Desk }

func (noting) Balanced(context.Context, sluice.Namespace, sluice.Body) ([]sluice.Event, error) {
	return nil, nil
}

// TestInterruptedAtBalancers: that all is back is said only where it was seen.
func TestInterruptedAtBalancers(t *testing.T) {
	const all, not = "what this took out was put back", "not all that this took out was seen up again"
	for state, want := range map[sluice.ServerState]string{sluice.ServerUp: all, sluice.ServerDown: not, sluice.ServerUnknown: not} {
		ctx, cancel := context.WithCancel(t.Context())
		at := balancers{change: func(say func(string, *sluice.BalancerChanged)) error {
			cancel()
			say("", &sluice.BalancerChanged{Balancer: "web", Pool: "shop", Server: "s1", Wanted: sluice.ServerUp, Before: sluice.ServerUp, State: state})
			return context.Cause(ctx)
		}}
		var out bytes.Buffer
		a := &app{World: World{Stdout: &out, Stderr: &out}}
		err := a.changeSeats(ctx, noting{}, "", at, nil, sluice.ServerDraining, BalancerLimits{}, "new disk")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// TestColumnsOfServers: what a balancer calls its servers is as wide as it is shown, and not as it is written.
func TestColumnsOfServers(t *testing.T) {
	var out bytes.Buffer
	a := &app{World: World{Stdout: &out}}
	a.printPool(sluice.Balancing{Pool: "shop"}, sluice.BalancedPool{Servers: []sluice.BalancedServer{
		{Name: "a\x1bbcdefghij", State: sluice.ServerUp, Weight: 1}, {Name: "größer-größer", State: sluice.ServerUp, Weight: 1},
	}}, balance.Permission{})
	_, rows, _ := strings.Cut(out.String(), "\n")
	first, second, _ := strings.Cut(rows, "\n")
	before := func(row string) int { return utf8.RuneCountInString(row[:strings.Index(row, " up ")]) }
	if want := 4 + utf8.RuneCountInString("größer-größer"); before(first) != want || before(second) != want {
		t.Errorf("not below each other:\n%s", rows)
	}
}
