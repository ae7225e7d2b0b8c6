// Package execbalancer has a program speak with a balancer that no other adapter knows: it implements [sluice.Balancer]. It
// must not know what the program does, or where it runs.
//
// The program is called as
//
//	PROGRAM ... state POOL
//	PROGRAM ... drain POOL SERVER
//	PROGRAM ... ready POOL SERVER
//	PROGRAM ... maintenance POOL SERVER
//
// and says with status 0 that it did what it was asked to, with 3 that there is no such pool or server; anything else is an
// error, of which the first line of its standard error says more. "state" prints
//
//	{"servers": [{"server": "web01", "address": "10.0.0.1:80", "state": "up", "in_flight": 3, "weight": 1}]}
//
// where a state is up, draining, maintenance, down or unknown. Without in_flight it is not known how much there is, without
// weight it is 1. What a program says beside that is refused: it may change what the rest means.
package execbalancer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sluice"
)

// DefaultLimit is how long a call may take where nothing is said.
const DefaultLimit = 30 * time.Second

// isNotThere is the status for what there is none of.
const isNotThere = 3

// Balancer is one program.
type Balancer struct {
	run   sluice.Run
	argv  []string
	limit time.Duration
}

var _ sluice.Balancer = (*Balancer)(nil)

// New makes a balancer of a program with its first arguments. A call may take as long as limit; DefaultLimit if 0.
func New(run sluice.Run, argv []string, limit time.Duration) *Balancer {
	if limit == 0 {
		limit = DefaultLimit
	}
	return &Balancer{run, slices.Clone(argv), limit}
}

type state struct {
	Servers []server `json:"servers"`
}

type server struct {
	Server   string             `json:"server"`
	Address  string             `json:"address"`
	State    sluice.ServerState `json:"state"`
	InFlight *int               `json:"in_flight"`
	Weight   *int               `json:"weight"`
	Backup   bool               `json:"backup"`
}

// Pool implements [sluice.Balancer].
func (b *Balancer) Pool(ctx context.Context, pool string) (sluice.BalancedPool, error) {
	out, err := b.call(ctx, "state", pool)
	if err != nil {
		return sluice.BalancedPool{}, err
	}
	servers, err := parse(out)
	if err != nil {
		return sluice.BalancedPool{}, fmt.Errorf("what %s prints for state %s: %w", b.argv[0], pool, err)
	}
	return sluice.BalancedPool{Name: pool, Servers: servers}, nil
}

func parse(text []byte) ([]sluice.BalancedServer, error) {
	var s *state
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("it is not the JSON that is expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something comes after the JSON")
	}
	if s == nil || s.Servers == nil {
		return nil, errors.New(`it has no "servers"`)
	}
	out := make([]sluice.BalancedServer, 0, len(s.Servers))
	for _, v := range s.Servers {
		one := sluice.BalancedServer{Name: v.Server, Address: v.Address, State: v.State, InFlight: -1, Weight: 1, Backup: v.Backup}
		if v.InFlight != nil {
			one.InFlight = *v.InFlight
		}
		if v.Weight != nil {
			one.Weight = *v.Weight
		}
		switch {
		case one.Name == "":
			return nil, errors.New("a server has no name")
		case !one.State.Valid():
			return nil, fmt.Errorf("the server %s is %q, which is no state", one.Name, one.State)
		case one.InFlight < -1 || one.Weight < 0:
			return nil, fmt.Errorf("the server %s has less than nothing in flight, or as its weight", one.Name)
		case slices.ContainsFunc(out, func(o sluice.BalancedServer) bool { return o.Name == one.Name }):
			return nil, fmt.Errorf("the server %s is there twice", one.Name)
		}
		out = append(out, one)
	}
	return out, nil
}

var words = map[sluice.ServerState]string{sluice.ServerUp: "ready", sluice.ServerDraining: "drain", sluice.ServerMaintenance: "maintenance"}

// Set implements [sluice.Balancer].
func (b *Balancer) Set(ctx context.Context, pool, server string, state sluice.ServerState) error {
	word, ok := words[state]
	if !ok {
		return fmt.Errorf("%s cannot be told to have a server %s", b.argv[0], state)
	}
	_, err := b.call(ctx, word, pool, server)
	return err
}

func (b *Balancer) call(ctx context.Context, args ...string) ([]byte, error) {
	what := b.argv[0] + " " + strings.Join(args, " ")
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit, fmt.Errorf("it took more than %s", b.limit))
	defer cancel()
	ran, err := b.run(ctx, slices.Concat(b.argv, args), nil)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if ran.Status == (sluice.ExitStatus{}) {
		return ran.Stdout, nil
	}
	said, _, _ := strings.Cut(strings.TrimSpace(string(ran.Stderr)), "\n")
	if said == "" {
		said = "it says nothing more"
	}
	if ran.Status.Code == isNotThere {
		return nil, sluice.Errorf(sluice.NotFound, "%s: %.500s", what, said)
	}
	return nil, fmt.Errorf("%s: status %d%s: %.500s", what, ran.Status.Code, ran.Status.Signal, said)
}
