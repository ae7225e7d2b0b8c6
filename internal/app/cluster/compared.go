package cluster

import (
	"context"
	"time"

	"sluice"
)

// How often this server compares what its part of the engine keeps with what the others keep: a disk may change it at any time, and etcd serves what
// is there. While it is read appends wait, so the more time it takes, the seldomer it is done: a three-hundredth of all time at most, as long as that
// is not seldomer than compareSeldom.
const (
	compareEvery  = time.Minute
	compareShare  = 300
	compareSeldom = 10 * time.Minute
)

// compare ends the server where a majority of the others keep something else. Why that cannot be known is said once.
func (c *cluster) compare(ctx context.Context) {
	if c.engine.node == nil {
		return
	}
	wait, told := compareEvery, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.engine.ends():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		err := c.engine.node.Same(ctx)
		wait = min(max(compareEvery, compareShare*time.Since(began)), compareSeldom)
		switch {
		case sluice.IsLasting(err):
			c.stop(err)
			return
		case err != nil && ctx.Err() == nil && err.Error() != told:
			told = err.Error()
			c.s.Log.Warn("what the servers keep is not compared now", "why", err)
		}
	}
}
