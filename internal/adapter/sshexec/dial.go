package sshexec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// Dial implements [sluice.Link]: the host opens the connection, and forwards it through this one.
func (l *link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if l.closed.Load() {
		return nil, errors.New("the link was given back")
	}
	c := l.shared.conn
	kind, payload, err := forwarding(network, address)
	if err != nil {
		return nil, err
	}
	t, err := c.forward(ctx, kind, payload, tunnelAddr{network, address})
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, fmt.Errorf("%s must not connect to %s: %s; see AllowTcpForwarding and AllowStreamLocalForwarding in its sshd_config",
			c.d.host, address, printable(refused.Message))
	case errors.As(err, &refused) && network == "unix": // sshd says no more where it must not
		return nil, fmt.Errorf("%s: %w at %s: %s; is it there, and does AllowStreamLocalForwarding in sshd_config allow it?",
			c.d.host, sluice.ErrNoAnswer, address, printable(refused.Message))
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%s: %w at %s: %s", c.d.host, sluice.ErrNoAnswer, address, printable(refused.Message))
	case err != nil:
		return nil, fmt.Errorf("%s, connecting to %s: %w", c.d.host, address, err)
	}
	return t, nil
}

// forwarding is how a host is asked for a connection.
func forwarding(network, address string) (kind string, payload []byte, err error) {
	switch network {
	case "tcp":
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			return "", nil, err
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return "", nil, fmt.Errorf("%q is no port", text)
		}
		return "direct-tcpip", directTCPIP(host, int(port)), nil
	case "unix":
		return "direct-streamlocal@openssh.com", directStreamLocal(address), nil
	}
	return "", nil, fmt.Errorf("a host connects to tcp and unix, not to %q", network)
}

// directStreamLocal is the request for a connection to a socket (OpenSSH, PROTOCOL, 2.4).
func directStreamLocal(path string) []byte {
	return ssh.Marshal(&struct {
		Path     string
		Reserved string
		Port     uint32
	}{path, "", 0})
}
