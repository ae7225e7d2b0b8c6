package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/internal/app/private"
)

// seat is a server's place in a cluster, as its data remember it.
type seat struct {
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

// enter reads the server's place in the cluster, or makes it: in a new cluster, or with a token in one that is there.
func (c *cluster) enter(ctx context.Context) error {
	s := c.s
	there, is, err := readSeat(s.Data)
	if err != nil {
		return err
	}
	if is {
		c.seat = there
		if there.Begins && !there.Kept && !there.Elsewhere && len(s.Cluster.Engine.Endpoints) > 0 { // it was promoted or recovered, and never started
			c.seat.Elsewhere = true
			if err := c.seat.keep(s.Data); err != nil {
				return err
			}
		}
		return c.fits()
	}
	at, err := etcdAt(s.Cluster.Address)
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
	c.seat = seat{Cluster: rand.Text(), Name: s.Cluster.Name, Address: s.Cluster.Address, Begins: true, Nodes: map[string]string{string(s.Cluster.Name): at},
		Elsewhere: len(s.Cluster.Engine.Endpoints) > 0}
	return c.seat.keep(s.Data)
}

// arrived has this server go by the log from now on, which it has.
func (c *cluster) arrived() error {
	if c.early.Load() == nil {
		return nil
	}
	s := c.seat
	s.Others = nil
	if err := s.keep(c.s.Data); err != nil {
		return err
	}
	c.early.Store(nil)
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

func (s seat) keep(data string) error {
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
	close(c.begun)
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
	if err := begun.keep(c.s.Data); err != nil {
		return err
	}
	c.seat.Begins = false
	return nil
}

// current returns when this server has all of the log.
func (c *cluster) current(ctx context.Context) error {
	select {
	case <-c.begun:
		return c.journal.Current(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
