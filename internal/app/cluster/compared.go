package cluster

import (
	"context"
	"time"

	"sluice"
)

// compareEvery is how often this server compares what its part of the engine keeps with what the others keep: a disk may change it at any time,
// and etcd serves what is there.
const compareEvery = time.Minute

// compare ends the server where a majority of the others keep something else. That they do not answer is no news here.
func (c *cluster) compare(ctx context.Context) {
	if c.engine.node == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(compareEvery):
		}
		if err := c.engine.node.Same(ctx); sluice.IsLasting(err) {
			c.stop(err)
			return
		}
	}
}
