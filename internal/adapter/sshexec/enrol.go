package sshexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

// Enrol connects far enough to learn a host's key, and does not log in. The fingerprint is for people to
// compare. If the key is known already there is no error; if another key is known, or this one is revoked or
// too weak, the error is a [*sluice.ConnectError], and the key is returned, too.
func (t *Transport) Enrol(ctx context.Context, h sluice.Host, s sluice.SSH) (key ssh.PublicKey, fingerprint string, err error) {
	d, err := t.destination(h, s)
	if err != nil {
		return nil, "", &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: err}
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, "", &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: errClosed}
	}
	t.wg.Add(1)
	t.mu.Unlock()
	defer t.wg.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(errClosed) })()
	var p probe
	if _, err := t.connect(ctx, d, &p); err != nil {
		return nil, "", err
	}
	known, err := t.known(d)
	if err != nil {
		return nil, "", t.refuseHost(d, err)
	}
	fingerprint = ssh.FingerprintSHA256(p.key)
	var refused *hostkeys.Refused
	if err := known.Check(p.key, t.cfg.Clock()); errors.As(err, &refused) && refused.Verdict != hostkeys.Unknown {
		return p.key, fingerprint, t.refuseHost(d, err)
	}
	return p.key, fingerprint, nil
}

// Key is the key of a host.
type Key = ssh.PublicKey

// Fingerprint is what people compare.
func Fingerprint(key Key) string { return ssh.FingerprintSHA256(key) }

// ParseHostKey reads the wire form of a host's key. A certificate is none: who signed it is known, not it.
func ParseHostKey(kind string, wire []byte) (Key, error) {
	key, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "that is no key of a host: %v", err)
	}
	if _, signed := key.(*ssh.Certificate); signed || key.Type() != kind {
		return nil, sluice.Errorf(sluice.Usage, "that is a key of the type %s, where one of the type %s was said to be", key.Type(), kind)
	}
	return key, nil
}

// AppendKnownHost makes a key known for a host, in the user's first known_hosts file. A key that is known already is not
// written again; none is written beside another one that is known, nor one that is revoked or too weak. Other writers,
// in other processes, too, lose nothing. Once it is known then is called, unless it is nil: an error of it takes the key out again.
func (t *Transport) AppendKnownHost(ctx context.Context, h sluice.Host, s sluice.SSH, key ssh.PublicKey, then func() error) error {
	d, err := t.destination(h, s)
	if err != nil {
		return err
	}
	if len(d.userKnown) == 0 {
		return sluice.Errorf(sluice.Config, "there is no known_hosts file to write the key of %s to", h).
			WithHint("UserKnownHostsFile is none in ssh_config")
	}
	// Asked under the lock: somebody else may have made another key known meanwhile.
	lacks := func() (bool, error) {
		known, err := t.mayKnow(d, key)
		return !known, err
	}
	if err := appendLine(ctx, d.userKnown[0], hostkeys.Line(t.knownName(d), key, d.hashNames), lacks, then); err != nil {
		return fmt.Errorf("the key of %s is not written: %w", h, err)
	}
	return nil
}

// Knows reports whether a key is known for a host, and under which name: its address, with the port where that is not
// 22, or its alias. That it cannot become known, since another one is or since it is revoked or too weak, is an error.
func (t *Transport) Knows(h sluice.Host, s sluice.SSH, key ssh.PublicKey) (known bool, name string, err error) {
	d, err := t.destination(h, s)
	if err != nil {
		return false, "", err
	}
	known, err = t.mayKnow(d, key)
	return known, t.knownName(d), err
}

// mayKnow reports whether a key is known; an error is why it cannot become so.
func (t *Transport) mayKnow(d *destination, key ssh.PublicKey) (bool, error) {
	known, err := t.known(d)
	if err != nil {
		return false, t.refuseHost(d, err)
	}
	err = known.Check(key, t.cfg.Clock())
	var refused *hostkeys.Refused
	if errors.As(err, &refused) && refused.Verdict == hostkeys.Unknown {
		return false, nil
	}
	if err != nil {
		return false, t.refuseHost(d, err)
	}
	return true, nil
}

func (t *Transport) knownName(d *destination) string {
	return hostkeys.Find(nil, d.address, d.port, d.alias).Name
}

// appendLine appends what the file lacks, under a lock on the file itself, in one write: ssh, which knows no locks,
// appends in the same way. When it has failed, also in what comes then, nothing was appended.
func appendLine(ctx context.Context, path, line string, lacks func() (bool, error), then func() error) (err error) {
	if then == nil {
		then = func() error { return nil }
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := openLocked(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lacking, err := lacks()
	if err != nil {
		return err
	}
	if !lacking {
		return then()
	}
	before, err := f.Stat()
	if err != nil {
		return err
	}
	have, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	line += "\n"
	if len(have) > 0 && have[len(have)-1] != '\n' {
		line = "\n" + line
	}
	n, err := io.WriteString(f, line)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = then()
	}
	if err != nil && n > 0 {
		err = errors.Join(err, takeBack(f, path, before.Size(), int64(n)))
	}
	return err
}

// takeBack removes what was appended last, unless ssh has appended more since, or put another file in the place of this one.
func takeBack(f *os.File, path string, size, appended int64) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	current, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(mine, current) || mine.Size() != size+appended {
		return sluice.Errorf(sluice.Conflict, "%s was changed meanwhile, and the key may be in it", path).WithHint("take it out: ssh-keygen -R")
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

const lockPoll = 10 * time.Millisecond

// openLocked opens a file and locks it. A file that was replaced meanwhile (ssh-keygen -R does that) is opened
// again.
func openLocked(ctx context.Context, path string) (*os.File, error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		for {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
				break
			}
			select {
			case <-ctx.Done():
				_ = f.Close()
				return nil, fmt.Errorf("another program holds %s: %w", path, context.Cause(ctx))
			case <-ticker.C:
			}
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		mine, err1 := f.Stat()
		current, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, current) {
			return f, nil
		}
		_ = f.Close()
	}
}
