// Package systemd tells the service manager how this process is: the protocol of sd_notify, which is a datagram of text.
//
// Where nobody asked to be told (no NOTIFY_SOCKET), it says nothing and that is no error.
package systemd

import (
	"context"
	"net"
	"strconv"
	"time"
)

// States that the service manager knows.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	alive    = "WATCHDOG=1"
)

// Manager is who wants to be told. The zero Manager is nobody.
type Manager struct {
	socket   string
	watchdog time.Duration
}

// Find reads what the service manager put into the environment. pid is that of this process: the watchdog of another one is
// none of ours.
func Find(env func(string) string, pid int) Manager {
	m := Manager{socket: env("NOTIFY_SOCKET")}
	us, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64)
	if p := env("WATCHDOG_PID"); err == nil && us > 0 && (p == "" || p == strconv.Itoa(pid)) {
		m.watchdog = time.Duration(us) * time.Microsecond
	}
	return m
}

// Notify tells it a state.
func (m Manager) Notify(ctx context.Context, state string) error {
	if m.socket == "" {
		return nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unixgram", m.socket) // a leading @ is the abstract namespace, for Go as for systemd
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}

// Guard tells it, often enough, that all is well, for as long as well says so and until ctx ends. A process that is not
// well for the time of the watchdog is killed and started anew.
func (m Manager) Guard(ctx context.Context, well func(context.Context) error, trouble func(error)) {
	if m.socket == "" || m.watchdog <= 0 {
		return
	}
	t := time.NewTicker(m.watchdog / 3)
	defer t.Stop()
	for {
		err := well(ctx)
		if err == nil {
			err = m.Notify(ctx, alive)
		}
		if err != nil && ctx.Err() == nil {
			trouble(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
