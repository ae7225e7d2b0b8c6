package app

import (
	"context"

	"sluice"
)

var Debug func(name sluice.ServerName, invite func(ctx context.Context, name sluice.ServerName) (string, error), count func(context.Context) int)

func (c *cluster) debug() {
	if Debug != nil {
		Debug(c.seat.Name, func(ctx context.Context, name sluice.ServerName) (string, error) {
			secret, _, err := c.members.Invite(ctx, "admin", name, "")
			if err != nil {
				return "", err
			}
			return c.token(ctx, name, secret)
		}, func(ctx context.Context) int {
			all, _ := c.node.Members(ctx)
			n := 0
			for _, m := range all {
				if !m.Learner {
					n++
				}
			}
			return n
		})
	}
}
