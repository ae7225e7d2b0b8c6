package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/internal/app/private"
)

// Seat is a server's place in a cluster, as its data remember it.
type Seat struct {
	Cluster string            `json:"cluster"` // tells one cluster from another
	Name    sluice.ServerName `json:"name"`
	Address string            `json:"address"`
	// Begins says that this server made the cluster, and that the engine does not know yet where its log ends.
	Begins bool `json:"begins,omitempty"`
	// Joins says that the cluster was there before this server.
	Joins bool `json:"joins,omitempty"`
	// Nodes are where etcd is reached, by the names of servers, as they were when this one began.
	Nodes map[string]string `json:"nodes"`
	// Others are where the members are reached that were there when this server joined, by their names; until it has the log, which says so.
	Others map[string]string `json:"others,omitempty"`
	// Kept says that this server's node of etcd has begun to keep something here, without which it must not start again.
	Kept bool `json:"kept,omitempty"`
	// Elsewhere says that the engine is an etcd that the servers do not make up.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

const seatName = "cluster.json"

// Files are the names in the data of what makes a server one of a cluster.
var Files = []string{seatName, etcdDir, lostDir, certificatesDir}

// ReadSeat is a server's place in a cluster; ok is false where its data are those of a server that is alone.
func ReadSeat(data string) (s Seat, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(data, seatName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, false, &sluice.Error{Code: sluice.Config, Text: filepath.Join(data, seatName), Err: err}
	}
	return s, true, nil
}

// HasSeat reports whether data are those of a server of a cluster.
func HasSeat(data string) bool {
	_, err := os.Stat(filepath.Join(data, seatName))
	return err == nil
}

// First is the seat of the server that makes a cluster.
func First(name sluice.ServerName, address string) (Seat, error) {
	at, err := etcdAt(address)
	if err != nil {
		return Seat{}, err
	}
	return Seat{Cluster: rand.Text(), Name: name, Address: address, Begins: true, Nodes: map[string]string{string(name): at}}, nil
}

// Forget makes the data those of a server that is alone.
func Forget(dir string) error {
	err := os.Remove(filepath.Join(dir, seatName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, private.Sync(dir))
}

// enter reads the server's place in the cluster, or makes it: in a new cluster, or with a token in one that is there.
func (c *cluster) enter(ctx context.Context) error {
	s := c.s
	there, is, err := ReadSeat(s.Data)
	if err != nil {
		return err
	}
	if is {
		c.seat = there
		if there.Begins && !there.Kept && !there.Elsewhere && len(s.Cluster.Engine.Endpoints) > 0 { // it was promoted or recovered, and never started
			c.seat.Elsewhere = true
			if err := c.seat.Keep(s.Data); err != nil {
				return err
			}
		}
		return c.fits()
	}
	first, err := First(s.Cluster.Name, s.Cluster.Address)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.Data, "journal.db")); err == nil {
		return sluice.Errorf(sluice.Conflict, "%s holds the data of a server that is alone", s.Data).
			WithHint("sluice server promote makes a cluster of it; another --data begins a new one")
	}
	if s.Cluster.Token.Set() {
		return c.enterWith(ctx, s.Cluster.Token)
	}
	c.seat, c.seat.Elsewhere = first, len(s.Cluster.Engine.Endpoints) > 0
	return c.seat.Keep(s.Data)
}

// arrived has this server go by the log from now on, which it has.
func (c *cluster) arrived() error {
	if c.neighbours.early.Load() == nil {
		return nil
	}
	s := c.seat
	s.Others = nil
	if err := s.Keep(c.s.Data); err != nil {
		return err
	}
	c.neighbours.early.Store(nil)
	return nil
}

// fits says whether the command line asks for what the data say.
func (c *cluster) fits() error {
	asked := c.s.Cluster
	if asked.Name != c.seat.Name {
		return sluice.Errorf(sluice.Config, "these are the data of the server %s, not %s", c.seat.Name, asked.Name).WithHint("--name %s", c.seat.Name)
	}
	if asked.Address != c.seat.Address {
		return sluice.Errorf(sluice.Config, "the other servers reach this one at %s, not at %s", c.seat.Address, asked.Address).
			WithHint("--cluster %s; sluice server members replace moves a server", c.seat.Address)
	}
	return nil
}

// Keep keeps it in the data.
func (s Seat) Keep(data string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := private.Write(filepath.Join(data, seatName), append(text, '\n')); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's place in the cluster", Err: err}
	}
	return nil
}

// beginLog tells the engine of a new cluster where the log ends that this server brings. Before that nothing may be compared with it.
func (c *cluster) beginLog(ctx context.Context) error {
	told := ""
	for c.seat.Begins {
		err := c.tryBegin(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case sluice.IsLasting(err):
			return err
		case err != nil && err.Error() != told:
			told = err.Error()
			c.s.Log.Warn("the cluster does not begin yet", "why", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ownRetry):
		}
	}
	close(c.seeking.begun)
	return nil
}

func (c *cluster) tryBegin(ctx context.Context) error {
	heads, err := c.journal.Heads(ctx)
	if err == nil {
		err = c.engine.Begin(ctx, heads)
	}
	if err != nil {
		return err
	}
	begun := c.seat
	begun.Begins = false
	if err := begun.Keep(c.s.Data); err != nil {
		return err
	}
	c.seat.Begins = false
	return nil
}

// current returns when this server has all of the log.
func (c *cluster) current(ctx context.Context) error {
	select {
	case <-c.seeking.begun:
		return c.journal.Current(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
