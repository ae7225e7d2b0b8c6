package sluice

// ServerState says whether a balancer hands requests to a server.
type ServerState string

const (
	ServerUp          ServerState = "up"          // it gets requests
	ServerDraining    ServerState = "draining"    // it gets no new ones; those that it has go on
	ServerMaintenance ServerState = "maintenance" // it gets none
	ServerDown        ServerState = "down"        // it would get some, but the balancer found that it does not answer
	ServerUnknown     ServerState = "unknown"     // what the balancer does is not what is written down: a change was cut off
)

// Valid reports whether the state is one of the above.
func (s ServerState) Valid() bool {
	return s == ServerUp || s == ServerDown || s == ServerUnknown || s.Out()
}

// Out reports whether somebody took the server out: it stays so, whatever the balancer's checks find.
func (s ServerState) Out() bool { return s == ServerDraining || s == ServerMaintenance }

// NamedBalancer is a balancer that the fleet has a name for. The host that it is on is reached as the fleet says.
type NamedBalancer struct {
	Name    string
	Driver  string // as in [Balancing]
	Address string
	On      Host
	Sudo    string
	Pools   []NamedPool
	At      Position
}

// NamedPool is a pool of a balancer, and how many of its servers must stay up whoever takes some out.
type NamedPool struct {
	Name  string
	Least Amount
}

// Balancer returns the balancer that the fleet calls so.
func (f *Fleet) Balancer(name string) (NamedBalancer, bool) {
	for _, b := range f.Balancers {
		if b.Name == name {
			return b, true
		}
	}
	return NamedBalancer{}, false
}

// In is a place in one of its pools, as far as the balancer says it. ok is false where it has no such pool.
func (b NamedBalancer) In(pool string, ssh SSH) (at Balancing, ok bool) {
	for _, p := range b.Pools {
		if p.Name == pool {
			return Balancing{Name: b.Name, Driver: b.Driver, At: b.Address, On: b.On, SSH: ssh, Sudo: b.Sudo, Pool: p.Name, Least: p.Least}, true
		}
	}
	return Balancing{}, false
}

// BalancedPool is the servers that share requests, as a balancer showed them.
type BalancedPool struct {
	Name    string           `json:"pool"`
	Servers []BalancedServer `json:"servers"`
}

// Server returns the server of that name.
func (p BalancedPool) Server(name string) (BalancedServer, bool) {
	for _, s := range p.Servers {
		if s.Name == name {
			return s, true
		}
	}
	return BalancedServer{}, false
}

// BalancedServer is one server of a pool, as the balancer sees it.
type BalancedServer struct {
	Name    string      `json:"server"`
	Address string      `json:"address,omitzero"` // host:port, or the path of a socket; "" where the balancer does not say
	State   ServerState `json:"state"`
	// InFlight is how many requests or connections it has, also those that wait for it; -1 where that is not known.
	InFlight int `json:"in_flight"`
	// Weight is its share of the requests; with 0 it gets none.
	Weight int `json:"weight"`
	// Backup says that it gets requests only while no other server is up.
	Backup bool `json:"backup,omitzero"`
}

// Serves reports whether new requests reach it.
func (s BalancedServer) Serves() bool { return s.State == ServerUp && s.Weight > 0 && !s.Backup }
