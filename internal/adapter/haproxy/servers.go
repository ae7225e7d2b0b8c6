package haproxy

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"sluice"
)

// read asks one process for the servers of a backend. What it was told comes first and the counts second, so that nothing
// is counted from before a server was out.
func read(ctx context.Context, p process, pool string) ([]sluice.BalancedServer, error) {
	states, err := ask(ctx, p, "show servers state "+pool)
	if err != nil {
		return nil, err
	}
	servers, err := parseStates(pool, states)
	if err != nil {
		return nil, err
	}
	stat, err := ask(ctx, p, "show stat "+pool+" 4 -1")
	if err != nil {
		return nil, err
	}
	return servers, count(servers, pool, stat)
}

// Bits of srv_admin_state and values of srv_op_state (HAProxy, include/haproxy/server-t.h).
const (
	adminMaintenance = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 // forced, inherited, from the configuration, no address
	adminDrain       = 0x08 | 0x10                      // forced, inherited
	opStopped        = 0
	opStopping       = 3
)

// parseStates reads the answer to "show servers state".
func parseStates(pool, answer string) ([]sluice.BalancedServer, error) {
	lines := strings.Split(strings.TrimSpace(answer), "\n")
	if len(lines) < 2 || lines[0] != "1" || !strings.HasPrefix(lines[1], "# ") {
		if err := refusal(answer); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("HAProxy says nothing of the backend %s", pool)
	}
	columns := columnsOf(strings.Fields(strings.TrimPrefix(lines[1], "# ")))
	var out []sluice.BalancedServer
	for _, line := range lines[2:] {
		f := row{columns, strings.Fields(line), nil}
		s := sluice.BalancedServer{Name: f.text("srv_name"), InFlight: -1, Weight: f.number("srv_uweight")}
		admin, op := f.number("srv_admin_state"), f.number("srv_op_state")
		if address, port := f.text("srv_addr"), f.number("srv_port"); address != "-" && port > 0 {
			s.Address = joined(address, port)
		}
		if f.err != nil {
			return nil, fmt.Errorf("a server of %s in HAProxy's answer: %w", pool, f.err)
		}
		s.State = stateOf(admin, op)
		out = append(out, s)
	}
	return out, nil
}

func joined(address string, port int) string {
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return address + ":" + strconv.Itoa(port)
}

func stateOf(admin, op int) sluice.ServerState {
	switch {
	case admin&adminMaintenance != 0:
		return sluice.ServerMaintenance
	case admin&adminDrain != 0, op == opStopping:
		return sluice.ServerDraining
	case op == opStopped:
		return sluice.ServerDown
	}
	return sluice.ServerUp
}

// count adds what "show stat" says.
func count(servers []sluice.BalancedServer, pool, answer string) error {
	if !strings.HasPrefix(answer, "# ") {
		if err := refusal(answer); err != nil {
			return err
		}
		return fmt.Errorf("HAProxy has no figures of the backend %s", pool)
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# ")))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("HAProxy's figures of the backend %s: %w", pool, err)
	}
	columns := columnsOf(rows[0])
	found := 0
	for _, fields := range rows[1:] {
		f := row{columns, fields, nil}
		name, waiting, now, backup := f.text("svname"), f.number("qcur"), f.number("scur"), f.number("bck")
		if f.err != nil {
			return fmt.Errorf("HAProxy's figures of the backend %s: %w", pool, f.err)
		}
		for i := range servers {
			if s := &servers[i]; s.Name == name && s.InFlight < 0 {
				s.InFlight, s.Backup = waiting+now, backup == 1
				found++
			}
		}
	}
	if found != len(servers) {
		return fmt.Errorf("HAProxy has figures of %d of the %d servers of the backend %s", found, len(servers), pool)
	}
	return nil
}

// row reads fields by the name of their column. The first error stays.
type row struct {
	columns map[string]int
	fields  []string
	err     error
}

func columnsOf(names []string) map[string]int {
	out := map[string]int{}
	for i, n := range names {
		out[n] = i
	}
	return out
}

func (r *row) text(column string) string {
	i, ok := r.columns[column]
	if !ok || i >= len(r.fields) {
		if r.err == nil {
			r.err = fmt.Errorf("there is no %s", column)
		}
		return ""
	}
	return r.fields[i]
}

func (r *row) number(column string) int {
	text := r.text(column)
	n, err := strconv.Atoi(text)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s is %q, which is no number", column, text)
	}
	return n
}

// merger makes one pool of what several processes say of it.
type merger struct {
	pool    string
	servers []sluice.BalancedServer // as those see it that take new connections
	seen    bool
	old     []sluice.BalancedServer // of those that only finish
}

func (m *merger) add(servers []sluice.BalancedServer, old bool) error {
	switch {
	case old:
		m.old = append(m.old, servers...)
		return nil
	case !m.seen:
		m.servers, m.seen = servers, true
		return nil
	case len(servers) != len(m.servers):
		return fmt.Errorf("HAProxy's processes do not have the same servers in the backend %s", m.pool)
	}
	for _, s := range servers {
		mine := m.find(s.Name)
		if mine == nil {
			return fmt.Errorf("HAProxy's processes do not have the same servers in the backend %s", m.pool)
		}
		mine.InFlight += s.InFlight
		mine.State = agreed(mine.State, s.State)
	}
	return nil
}

func (m *merger) find(name string) *sluice.BalancedServer {
	for i := range m.servers {
		if m.servers[i].Name == name {
			return &m.servers[i]
		}
	}
	return nil
}

// agreed is what holds in both of two processes.
func agreed(a, b sluice.ServerState) sluice.ServerState {
	switch {
	case a == b:
		return a
	case a.Out() && b.Out():
		return sluice.ServerDraining
	}
	return sluice.ServerUnknown
}

// done adds what is left in processes that only finish: they check nothing any more, but what they have they may still
// hand to a server that they were not told to leave alone.
func (m *merger) done() (sluice.BalancedPool, error) {
	if !m.seen {
		return sluice.BalancedPool{}, fmt.Errorf("no process of HAProxy takes connections")
	}
	for _, s := range m.old {
		mine := m.find(s.Name)
		if mine == nil {
			continue // the configuration has it no more
		}
		mine.InFlight += s.InFlight
		if mine.State.Out() && !s.State.Out() { // such a process cannot be told any more: it is not drained before it ends
			mine.State, mine.InFlight = sluice.ServerDraining, max(1, mine.InFlight)
		}
	}
	return sluice.BalancedPool{Name: m.pool, Servers: m.servers}, nil
}
