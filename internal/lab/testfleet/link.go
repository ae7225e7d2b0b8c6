package testfleet

import (
	"context"
	"fmt"
)

// Direction says which way packets are lost.
type Direction uint8

const (
	ToHost   Direction = 1 << iota // what the client sends to the host
	FromHost                       // what the host sends to the client
	// BothWays cuts off the host from the other hosts, too; the ways by themselves are those to and from the client.
	BothWays = ToHost | FromHost
)

// Unplug pulls the cable: the host's card has no carrier.
func (h *Host) Unplug(ctx context.Context) error {
	return h.changeCable(ctx, "pulling its cable", func(c *cable) { c.unplugged = true })
}

// Silence loses packets on the way, so that neither side is told anything: no reset, no "host unreachable".
func (h *Host) Silence(ctx context.Context, d Direction) error {
	return h.changeCable(ctx, "silencing it", func(c *cable) { c.lost |= d })
}

// RestoreLink undoes Unplug and Silence.
func (h *Host) RestoreLink(ctx context.Context) error {
	return h.changeCable(ctx, "restoring its link", func(c *cable) { *c = cable{} })
}

// changeCable changes the state, which outlives a power cut, and brings it about if the host is up.
func (h *Host) changeCable(ctx context.Context, what string, change func(*cable)) error {
	if h.vm == nil {
		return fmt.Errorf("%s: %s: %w", h.Name, what, ErrUnsupported)
	}
	m := h.vm
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.cable)
	if err := m.control.ip(ctx, "neigh replace "+h.IP+" lladdr "+m.cable.hostMAC(m.index)+" dev br0 nud permanent"); err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, what, err)
	}
	if !m.run.up() {
		return nil
	}
	if err := m.applyCable(ctx); err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, what, err)
	}
	return nil
}

// applyCable brings about the state of the cable on the port and on the host.
func (m *machine) applyCable(ctx context.Context) error {
	if err := m.control.ip(ctx, m.cable.portLines(m.run.port)...); err != nil {
		return err
	}
	return m.gatewayIs(ctx, m.cable.gatewayMAC())
}

// gatewayIs changes the address under which the host sends to the client.
func (m *machine) gatewayIs(ctx context.Context, mac string) error {
	return ip(ctx, fmt.Sprintf("/proc/%d/ns/net", m.run.first.Pid), "neigh replace "+gateway+" lladdr "+mac+" dev eth0 nud permanent")
}

// hostMAC is where the client sends what is meant for the host.
func (c cable) hostMAC(i int) string {
	if c.lost&ToHost != 0 {
		return nobodyMAC
	}
	return hostMAC(i)
}

// gatewayMAC is where the host sends what is meant for the client.
func (c cable) gatewayMAC() string {
	if c.lost&FromHost != 0 {
		return nobodyMAC
	}
	return gatewayMAC
}

// portLines are lines of "ip -batch" for our end of the cable. A silent port leaves the bridge: both ends keep their
// carrier, and nothing takes what comes. (Blocking the port does not last: the bridge opens it again whenever it hears
// that the carrier came up, which may be a second later.)
func (c cable) portLines(port string) []string {
	attach, state := " master br0", " up"
	if c.lost == BothWays {
		attach = " nomaster"
	}
	if c.unplugged {
		state = " down"
	}
	return []string{"link set " + port + attach, "link set " + port + state}
}
