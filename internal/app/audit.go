package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/cli"
	"sluice/internal/run/lookout"
)

// trail opens the log of a server elsewhere, or else that of this machine, or of a server whose data are here.
func (l *Local) trail(ctx context.Context, data string, at *cli.Server) (cli.Trail, error) {
	if at != nil {
		c, closing, err := reach(*at)
		if err != nil {
			return nil, err
		}
		return remoteTrail{c, closing}, nil
	}
	dir := data
	if dir == "" {
		dir = l.Places.State
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.db")); errors.Is(err, fs.ErrNotExist) {
		return nil, sluice.Errorf(sluice.NotFound, "there is no journal in %s", dir).WithHint("sluice journal path says where yours is; --data names the data of a server")
	}
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return nil, contact(err)
	}
	return &localTrail{log: log, local: l, dir: dir}, nil
}

type localTrail struct {
	log   *sqlitelog.Log
	local *Local
	dir   string
}

func (t *localTrail) Close() error { return t.log.Close() }

// Records notes first who reads: what cannot be noted is not read.
func (t *localTrail) Records(ctx context.Context, what string, visit func(sluice.Record) error) error {
	if err := t.local.note(ctx, t.log, sluice.SeeAudit, "sluice "+what); err != nil {
		return contact(err)
	}
	return t.log.Records(ctx, nil, visit)
}

func (t *localTrail) guard(ctx context.Context) (*lookout.Guard, error) {
	return lookout.New(ctx, lookout.Config{Journal: t.log, Kept: headsdir.Dir(t.dir), Clock: t.local.Clock, Trouble: func(string) {}})
}

func (t *localTrail) Standing(ctx context.Context) (api.Standing, error) {
	g, err := t.guard(ctx)
	if err != nil {
		return api.Standing{}, contact(err)
	}
	return heads{g}.Standing(ctx)
}

// Repair works on data that no server has in use; one that runs is told by its own API.
func (t *localTrail) Repair(ctx context.Context, reason string) (sluice.LogRepaired, error) {
	g, err := t.guard(ctx)
	if err != nil {
		return sluice.LogRepaired{}, contact(err)
	}
	return g.Repair(ctx, t.local.who(), reason)
}

// remoteTrail is the log of a server elsewhere.
type remoteTrail struct {
	*client.Client
	closing func() error
}

func (t remoteTrail) Close() error { return t.closing() }

// Records are noted by the server.
func (t remoteTrail) Records(ctx context.Context, _ string, visit func(sluice.Record) error) error {
	return t.Client.Records(ctx, visit)
}
