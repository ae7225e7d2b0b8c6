package gosshd

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal that a client asked for.
type terminal struct {
	master, slave *os.File
	term          string
	once          sync.Once
}

// openTerminal makes one as a "pty-req" request wants it. Its terminal modes are not heeded.
func openTerminal(payload []byte) (*terminal, error) {
	var m struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return nil, err
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := &terminal{master: master, term: m.Term}
	if err := t.openSlave(); err != nil {
		_ = master.Close()
		return nil, err
	}
	if err := t.setSize(m.Columns, m.Rows); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) openSlave() error {
	var number int
	err := t.control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		var err error
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err != nil {
		return err
	}
	t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	return err
}

// resize does what a "window-change" request wants.
func (t *terminal) resize(payload []byte) error {
	var m struct{ Columns, Rows, Width, Height uint32 }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return err
	}
	return t.setSize(m.Columns, m.Rows)
}

func (t *terminal) setSize(columns, rows uint32) error {
	return t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	})
}

// control keeps the descriptor in the poller, where Fd would take it out, so that closing it ends a read.
func (t *terminal) control(f func(fd int) error) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func (t *terminal) close() {
	t.once.Do(func() {
		_ = t.master.Close()
		_ = t.slave.Close()
	})
}
