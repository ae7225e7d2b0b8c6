package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/api"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/app/cluster"
	"sluice/internal/core/witness"
	"sluice/internal/front/cli"
	"sluice/internal/run/control"
	"sluice/internal/run/lookout"

	"sluice"
	"sluice/client"
)

// watch makes the guard of a server's journal, which knows what other servers have raised the alarm for.
func (s *Server) watch(ctx context.Context, journal lookout.Journal, as cluster.Life) (*lookout.Guard, error) {
	cfg := lookout.Config{Journal: journal, Kept: headsdir.Dir(s.Data), Clock: s.Clock, Trouble: func(text string) { s.Log.Error(text) }}
	if as.Owns { // nobody else can halt anything
		cfg.Halt = func(ctx context.Context, reason string) error {
			_, err := (&control.Service{Log: journal, Clock: s.Clock, By: "server"}).HaltAll(ctx, "", reason)
			return err
		}
	}
	guard, err := lookout.New(ctx, cfg)
	if err == nil && as.Watched != nil {
		err = as.Watched(ctx, guard)
	}
	return guard, err
}

// heads are a guard, as the API asks for it.
type heads struct{ *lookout.Guard }

func (h heads) Standing(ctx context.Context) (api.Standing, error) {
	s, err := h.Guard.Standing(ctx)
	return api.Standing{Epoch: s.Epoch, Unfit: s.Unfit, Lost: s.Lost}, err
}

// rememberTime bounds what a command waits for the heads of a server.
const rememberTime = 5 * time.Second

// remember is Remember for a command, which has something else to do: only that the log went backwards is an error.
func (l *Local) remember(ctx context.Context, s cli.Server) error {
	c, closing, err := reach(s)
	if err != nil {
		return nil // whoever asks for more says so
	}
	defer closing()
	ctx, cancel := context.WithTimeout(ctx, rememberTime)
	defer cancel()
	if err := Remember(ctx, c, l.Places); errors.Is(err, errWentBack) {
		return err
	}
	return nil
}

var errWentBack = errors.New("the log went backwards")

// Remember hands a server back what it has shown to this user before, and keeps what it shows now. What it shows must not
// be older than what it showed: the error says so, and then the older heads are kept. What one server of a cluster has shown counts for all
// that the person named with it: they have one log.
func Remember(ctx context.Context, c *client.Client, p Places) error {
	kept := headsdir.Dir(p.heads())
	servers := strings.Split(c.Server(), ",")
	var before []sluice.SeenHead
	for _, server := range servers {
		shown, err := kept.Seen(server)
		if err != nil {
			return err
		}
		before = witness.Newer(before, shown)
	}
	now, err := c.HandBack(ctx, before)
	if err != nil {
		return err
	}
	if bad := witness.Regressed(before, now); len(bad) > 0 {
		which := "it has shown"
		if len(servers) > 1 {
			which = "one of its cluster has shown"
		}
		return &sluice.Error{Code: sluice.Contact, Text: fmt.Sprintf("the server %s has lost part of its log: %s event %d of the namespace %s, and now it does not have it",
			c.At(), which, bad[0].Seq, bad[0].Namespace), Err: errWentBack, Hint: "tell its administrator; sluice audit witness says more"}
	}
	newest := witness.Newer(before, now)
	for _, server := range servers {
		err = errors.Join(err, kept.SetSeen(server, newest))
	}
	return err
}
