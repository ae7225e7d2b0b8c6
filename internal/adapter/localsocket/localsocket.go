// Package localsocket is a Unix socket on which the kernel says who is at the other end. It knows nothing of what is said
// on it.
package localsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

// maxPath is how long the path of a socket can be, in bytes: the kernel has no more room for it.
const maxPath = 107

// ErrTooLong says that the path is longer than that of a socket can be.
var ErrTooLong = fmt.Errorf("the path of a socket has at most %d bytes", maxPath)

// Listen makes a socket that its owner alone can open. One that is left from a process that is gone is replaced; one that
// somebody listens on is a Conflict. The directory must be one that nobody else can write to.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s: %w", path, ErrTooLong)
	}
	if err := vacate(ctx, path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// vacate removes a socket that nobody listens on.
func vacate(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return sluice.Errorf(sluice.Config, "%s is in the way of the server's socket, and is none", path)
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(sluice.Errorf(sluice.Conflict, "another server answers on %s", path), c.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// Peer is the process that opened a connection, when it did.
type Peer struct{ UID, PID int }

// PeerOf asks the kernel who opened a connection; ok is false where it is none of a Unix socket.
func PeerOf(c net.Conn) (p Peer, ok bool, err error) {
	u, is := c.(*net.UnixConn)
	if !is {
		return p, false, nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p, true, err
	}
	var cred *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return p, true, err
	}
	if asked != nil {
		return p, true, asked
	}
	return Peer{UID: int(cred.Uid), PID: int(cred.Pid)}, true, nil
}
