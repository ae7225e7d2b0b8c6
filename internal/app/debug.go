package app

import (
	"context"

	"sluice"
)

var Debug func(name sluice.ServerName, invite func(ctx context.Context, name sluice.ServerName) (string, error))

func (c *cluster) debug() {
	if Debug != nil {
		Debug(c.seat.Name, func(ctx context.Context, name sluice.ServerName) (string, error) {
			secret, _, err := c.members.Invite(ctx, "admin", name, "")
			if err != nil {
				return "", err
			}
			return c.token(ctx, name, secret)
		})
	}
}
