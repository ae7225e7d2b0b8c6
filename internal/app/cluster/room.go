package cluster

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

const (
	// leastRoom is what must be free on the disk of a server that owns the log, and enoughRoom from when on it may again. A file of etcd,
	// which it makes before it needs it, takes 64 MiB; where there is no room for it, the server ends.
	leastRoom, enoughRoom = 96 << 20, 112 << 20
	roomEvery             = time.Second
)

// free is how many bytes the server can use on the disk that holds its data.
func free(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// room says why this server's disk has too little left for it to own the log. Where that cannot be asked for, nothing is wrong.
func (c *cluster) room(least uint64) error {
	left, err := free(c.s.Data)
	if err != nil || left >= least {
		return nil
	}
	return sluice.Errorf(sluice.Contact, "its disk has %d MiB left, and a server that owns the log needs %d MiB", left>>20, least>>20).WithHint("make room where %s is", c.s.Data)
}

// roomLasts returns the reason when this server's disk has too little left, and nil when ctx ends.
func (c *cluster) roomLasts(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.room(leastRoom); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(roomEvery):
		}
	}
	return nil
}

// trouble is why this server does not do all that a server of a cluster does; "": it does.
func (c *cluster) trouble() string {
	err := c.journal.Broken()
	if err == nil {
		least := uint64(enoughRoom)
		if c.present.api.Load() != nil {
			least = leastRoom
		}
		err = c.room(least)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// proveEvery is how often a server proves all of its copy.
const proveEvery = time.Hour

// prove proves this server's copy now and then: what was changed on its disk is found before anybody needs it.
func (c *cluster) prove(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.journal.Prove(ctx); err != nil && ctx.Err() == nil {
			c.s.Log.Error("this server's copy of the log cannot be relied on", "why", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(proveEvery):
		}
	}
}
