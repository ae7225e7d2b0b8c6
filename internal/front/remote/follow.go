package remote

import (
	"context"
	"fmt"
	"sync"

	"sluice"
	"sluice/internal/run/control"
)

const (
	// downloads at once, and tries of each.
	downloads     = 4
	downloadTries = 3
)

// follower is one who follows a job.
type follower struct {
	desk  *Desk
	ctx   context.Context // of the command: events bring none
	id    sluice.JobID
	o     control.DriveOptions
	away  bool
	seen  uint64
	keeps bool // what the hosts print

	source    string // what the job fetches, once it is known; "" for nothing
	downloads sync.WaitGroup
	turns     chan struct{}
	mu        sync.Mutex
	failed    int
}

func newFollower(ctx context.Context, d *Desk, id sluice.JobID, o control.DriveOptions) *follower {
	return &follower{desk: d, ctx: ctx, id: id, o: o, seen: o.Seen, keeps: o.KeepOutput, turns: make(chan struct{}, downloads)}
}

func (f *follower) notice(text string) {
	if f.o.Notice != nil {
		f.o.Notice(text)
	}
}

func (f *follower) lost(err error) {
	if !f.away {
		f.notice(err.Error() + "; the job goes its way, and this waits for the server")
	}
	f.away = true
}

func (f *follower) found() {
	f.notice("the server is there again")
	f.away = false
}

func (f *follower) observe(e sluice.Event) {
	f.desk.note(e)
	f.bring(e)
	if f.keeps {
		f.desk.printed.take(e)
	}
	if _, output := e.Body.(sluice.TaskOutput); !output {
		f.seen = e.Seq
	} else if f.o.NoOutput {
		return
	}
	switch e.Body.(type) {
	case sluice.JobFinished, sluice.JobHalted:
		f.downloads.Wait() // who is told of the end has the files
	}
	if f.o.Observe != nil {
		f.o.Observe(e)
	}
}

// past brings what was fetched before.
func (f *follower) past() error {
	events, err := f.desk.Events(f.ctx, f.id)
	for _, e := range events {
		if e.Seq <= f.o.Seen {
			f.bring(e)
		}
	}
	return err
}

// bring begins to bring here what was fetched from a host, when it has been.
func (f *follower) bring(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		if b.Submitted.Action.Kind == sluice.FetchFrom {
			f.source = b.Submitted.Action.Source
		}
	case sluice.TaskFinished:
		if f.source == "" || f.o.FetchDir == "" || b.Outcome != sluice.Succeeded {
			return
		}
		f.downloads.Go(func() {
			f.turns <- struct{}{}
			defer func() { <-f.turns }()
			if err := f.download(b.Host); err != nil && f.ctx.Err() == nil {
				f.mu.Lock()
				f.failed++
				f.mu.Unlock()
				f.notice(fmt.Sprintf("what was fetched from %s cannot be brought here: %v", b.Host, err))
			}
		})
	}
}

func (f *follower) download(h sluice.Host) (err error) {
	for range downloadTries {
		r, openErr := f.desk.cfg.Client.Fetched(f.ctx, string(f.id), h)
		if openErr != nil {
			return openErr
		}
		err = f.desk.cfg.Unpack(r, f.o.FetchDir, h, f.source)
		_ = r.Close()
		if err == nil || f.ctx.Err() != nil {
			return err
		}
	}
	return err
}

// fetched reports whether all that was fetched is here.
func (f *follower) fetched() error {
	f.downloads.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == 0 {
		return nil
	}
	return sluice.Errorf(sluice.Contact, "what was fetched from %d hosts could not be brought here", f.failed).
		WithHint("sluice fetch again; it changes nothing on the hosts")
}
