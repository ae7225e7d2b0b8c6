package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/drain"
)

// link counts how often it is given back.
type link struct{ closed *int }

func (link) Start(context.Context, string, bool) (sluice.Session, error) {
	return nil, errors.New("nothing runs here")
}
func (link) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nothing listens here")
}
func (link) User() string   { return "root" }
func (l link) Close() error { *l.closed++; return nil }

// stage is a host in two balancers, one of them on another host.
type stage struct {
	*Serving
	lb1, here *fake.Balancer
	opened    int
	closed    int
	job       *sluice.Job
	told      []sluice.BalancerChanged
}

func (s *stage) tell(b sluice.BalancerChanged) { s.told = append(s.told, b) }

func servers(names ...string) (out []sluice.BalancedServer) {
	for _, n := range names {
		out = append(out, sluice.BalancedServer{Name: n, State: sluice.ServerUp, Weight: 1})
	}
	return out
}

func newStage() *stage {
	s := &stage{lb1: fake.NewBalancer("shop", servers("web1", "web2")...), here: fake.NewBalancer("all", servers("first", "second")...)}
	ssh := sluice.SSH{User: "lb"}
	s.Serving = &Serving{Desk: &drain.Desk{},
		Connect: func(_ context.Context, h sluice.Host, with sluice.SSH) (sluice.Link, error) {
			if h != "lb1" || with.User != ssh.User {
				return nil, errors.New("another host is asked")
			}
			s.opened++
			return link{&s.closed}, nil
		},
		Here: func(context.Context) (sluice.Link, error) { s.opened++; return link{&s.closed}, nil },
		Balancer: func(b sluice.Balancing, _ sluice.Link) (sluice.Balancer, error) {
			if b.On == "" {
				return s.here, nil
			}
			return s.lb1, nil
		}}
	s.job = &sluice.Job{Action: sluice.Action{Release: &sluice.Release{Deploy: sluice.Deploy{Waits: sluice.Waits{Drain: time.Second}, Balancers: []sluice.Balancing{
		{Driver: "haproxy", At: "/run/haproxy.sock", On: "lb1", SSH: ssh, Pool: "shop", Least: sluice.Count(1)},
		{Driver: "exec", At: "/usr/bin/lb", Pool: "all", Server: "first"},
	}}}}}
	return s
}

func (s *stage) states(t *testing.T) string {
	t.Helper()
	var out []string
	for pool, b := range map[string]*fake.Balancer{"shop": s.lb1, "all": s.here} {
		p, err := b.Pool(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range p.Servers {
			if one.State != sluice.ServerUp {
				out = append(out, one.Name)
			}
		}
	}
	return strings.Join(out, " ")
}

// TestOutAndBack: a host leaves all its balancers, each under its own name there, and comes back to all; both may be done again.
func TestOutAndBack(t *testing.T) {
	s := newStage()
	h, err := s.Of(t.Context(), s.job, "web1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		said, err := h.Drain(t.Context(), s.tell)
		if got := s.states(t); err != nil || got != "web1 first" && got != "first web1" {
			t.Fatalf("out are %q: %q, %v", got, said, err)
		}
		if !strings.Contains(said, "web1 in shop is drained") || !strings.Contains(said, "haproxy /run/haproxy.sock on lb1") {
			t.Errorf("it says %q", said)
		}
	}
	for range 2 {
		if said, err := h.Return(t.Context(), s.tell); err != nil || s.states(t) != "" {
			t.Fatalf("out are %q: %q, %v", s.states(t), said, err)
		}
	}
	const all = "haproxy /run/haproxy.sock on lb1 shop web1 draining|exec /usr/bin/lb all first draining|"
	var told string
	for _, b := range s.told[:4] {
		told = fmt.Sprintf("%s%s %s %s %s|", told, b.Balancer, b.Pool, b.Server, b.State)
	}
	if len(s.told) != 8 || !sameParts(told, all+all) {
		t.Errorf("told is %q, and %d times in all", told, len(s.told))
	}
	if s.opened != 8 || s.closed != 8 {
		t.Errorf("%d links were opened and %d given back", s.opened, s.closed)
	}
	if said, err := h.Healthy(t.Context()); said != "" || err != nil {
		t.Errorf("without checks: %q, %v", said, err)
	}
}

func sameParts(a, b string) bool {
	sorted := func(s string) []string { return slices.Sorted(strings.SplitSeq(s, "|")) }
	return slices.Equal(sorted(a), sorted(b))
}

// TestNamesOfAHost: a host is called in a balancer as app.yaml says, which may be made of its name and its address; the balancer is
// called as the fleet does, and is the same one under any name.
func TestNamesOfAHost(t *testing.T) {
	s := newStage()
	s.job.HostSSH = map[sluice.Host]sluice.SSH{"web2": {Address: "10.0.0.7"}}
	for server, want := range map[string]string{"": "web2", "{address}:8080": "10.0.0.7:8080", "{host}.internal": "web2.internal", "x": "x"} {
		s.job.Action.Release.Deploy.Balancers = []sluice.Balancing{
			{Name: "web", Driver: "haproxy", At: "/run/haproxy.sock", On: "lb1", SSH: sluice.SSH{User: "lb"}, Pool: "shop", Server: server}}
		of, err := s.Of(t.Context(), s.job, "web2", nil)
		if err != nil {
			t.Fatal(err)
		}
		seats, closing, err := of.(*host).seats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closing()
		if got := seats[0]; got.Server != want || got.Name != "web" || got.Key != "haproxy /run/haproxy.sock on lb1" {
			t.Errorf("%q: %+v", server, got)
		}
	}
	of, err := s.Of(t.Context(), s.job, "web1", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.job.Action.Release.Deploy.Balancers[0].Server = "{address}"
	if got := of.(*host).server(s.job.Action.Release.Deploy.Balancers[0]); got != "web1" {
		t.Errorf("a host without an address is %q", got)
	}
}

// TestAPoolKeepsItsLeast: the last server that may not go stays, and so does the host in its other balancers.
func TestAPoolKeepsItsLeast(t *testing.T) {
	s := newStage()
	s.lb1.Change("shop", "web2", func(x *sluice.BalancedServer) { x.State = sluice.ServerDown })
	ctx, cancel := context.WithCancel(t.Context())
	s.lb1.Before = func(_ context.Context, call string) error {
		if call == "set" {
			t.Error("the last server is taken out")
		}
		cancel() // it was read: then it waits
		return nil
	}
	h, err := s.Of(ctx, s.job, "web1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := h.Drain(ctx, s.tell); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", said, err)
	}
	s.lb1.Before = nil
	if got := s.states(t); got != "web2" {
		t.Errorf("out are %q", got)
	}
}

func TestBalancersThatCannotBeReached(t *testing.T) {
	s := newStage()
	s.Here = nil
	h, err := s.Of(t.Context(), s.job, "web1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Drain(t.Context(), s.tell); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "no balancer on its own machine") {
		t.Errorf("%v", err)
	}
	s.job.Action.Release.Deploy.Balancers[0].On = "lb2"
	if _, err := h.Drain(t.Context(), s.tell); err == nil || !strings.Contains(err.Error(), "the balancer haproxy /run/haproxy.sock on lb2") {
		t.Errorf("%v", err)
	}
	if s.opened != s.closed || s.states(t) != "" {
		t.Errorf("%d links were opened and %d given back; out are %q", s.opened, s.closed, s.states(t))
	}
}
