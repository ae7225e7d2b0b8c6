package cluster

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
)

// TestOverdue: where what an owner does goes on when its life has ended, the log is handed over all the same, and not before.
func TestOverdue(t *testing.T) {
	for _, c := range []struct {
		name         string
		ends, leaves bool // what it does ends in time; the server ends
		handed       bool
	}{{"it ends", true, false, false}, {"it does not end", false, false, true}, {"the server ends", false, true, false}} {
		synctest.Test(t, func(t *testing.T) {
			term, err := fake.NewEngine().Own(t.Context(), sluice.Owner{Name: "a"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			life, stop := context.WithCancel(ctx)
			lived, watched := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(watched)
				(&cluster{s: Server{Log: slog.New(slog.DiscardHandler)}}).overdue(ctx, life, lived, term)
			}()
			<-time.After(time.Hour)
			if c.leaves {
				leave()
			}
			stop()
			<-time.After(lifeEnds - time.Second)
			if !term.Lasts() {
				t.Errorf("%s: the log is handed over at once", c.name)
			}
			if c.ends {
				close(lived)
			}
			<-time.After(2 * time.Second)
			if term.Lasts() == c.handed {
				t.Errorf("%s: the term goes on: %t", c.name, term.Lasts())
			}
			<-watched
		})
	}
}
