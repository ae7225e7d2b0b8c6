package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/systemd"
	"sluice/internal/app/cluster"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
	"sluice/internal/front/webui"
	"sluice/internal/run/control"
	"sluice/internal/run/live"
	"sluice/internal/run/lookout"
	"sluice/internal/run/retain"
	"sluice/internal/run/rights"
	"sluice/internal/run/steward"
)

// running is what a server consists of in one of its lives.
type running struct {
	house    *house
	life     cluster.Life
	here     cluster.Stored
	log      sluice.Log
	guard    *lookout.Guard
	custody  *custody
	workers  *workers
	hostKeys hostKeys
	permit   *rights.Permit
	service  *control.Service
	keeper   *rights.Keeper
	sights   *sights
	hub      live.Hub      // what hosts print, for those who watch
	look     chan struct{} // has room for one: the first job of a namespace is not kept waiting
	metrics  net.Listener  // nil: none
}

// hosts are all names under which the server is reached.
func (s *Server) hosts(public *url.URL) []string {
	if public == nil {
		return s.Hosts
	}
	return append(slices.Clone(s.Hosts), strings.ToLower(public.Hostname()))
}

// well says why the server takes no jobs.
func (r *running) well(ctx context.Context) error {
	if err := r.guard.Alarm(); err != nil {
		return err
	}
	if r.life.Ready != nil {
		return r.life.Ready(ctx)
	}
	_, err := r.log.Namespaces(ctx)
	return err
}

// api answers requests. stopping is closed when the server is about to stop.
func (s *Server) api(r *running, stopping <-chan struct{}) *httpapi.API {
	return httpapi.New(httpapi.Config{
		Desk:  func(p sluice.Principal) *control.Service { return r.service.As(string(p)) },
		Lists: r.service, Since: s.Clock(),
		Members: r.service.HostsOf, Rights: r.keeper, Prove: s.prove, OpenID: r.house.openID, Keeping: r.keeper, Secrets: r.custody,
		Servers: r.life.InCluster, Stale: r.life.Stale, Turns: r.life.Turns, Halts: r.life.Halts, Workers: r.workers, HostKeys: r.hostKeys, Clock: s.Clock, Hosts: s.hosts(r.house.public), Local: s.LocalTargets,
		Boards:  r.service,
		Trouble: func(text string) { s.Log.Warn(text) }, Version: Version, NamespaceRate: s.NamespaceRate, Watch: r.sights, Metrics: r.sights.metrics.Handler(),
		UI:     webui.New(Version),
		Public: r.house.public, Trail: r.log,
		Stopping: stopping, Chains: r.guard.Log(), Heads: heads{r.guard},
		Webhooks: hooks{r.sights.courier}, Printed: func(id sluice.JobID) httpapi.Printed { return r.hub.Watch(id) }, Fetched: func(ctx context.Context, w io.Writer, j *sluice.Job, h sluice.Host) error {
			return s.fetched(ctx, r.service.Outputs, w, j, h)
		},
		Submitted: func() {
			select {
			case r.look <- struct{}{}:
			default:
			}
		},
		Ready: func(ctx context.Context) error {
			select {
			case <-stopping:
				return errors.New("the server is stopping")
			default:
				return r.well(ctx)
			}
		},
	})
}

// serve has jobs carried out and requests answered, side by side. When one of the two ends, so does the other. Those who
// only look end last, so that they see all of it.
func (s *Server) serve(ctx context.Context, r *running) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	keep, err := s.retaining(ctx, r, func(text string) { s.Log.Warn(text) })
	if err != nil {
		return errors.Join(err, closeAll(r.metrics))
	}
	if c, is := keep.Archive.(io.Closer); is {
		defer func() { _ = c.Close() }() // its connections; what it was given is safe
	}
	lookers, unlook := context.WithCancel(context.WithoutCancel(ctx))
	stopping := make(chan struct{})
	api := s.api(r, stopping)
	answer := doors.Answers(func(w http.ResponseWriter, r *http.Request) bool { api.ServeHTTP(w, r); return true })
	if r.life.Answer != nil {
		answer = r.life.Answer(api)
	}
	var both, looking sync.WaitGroup
	defer looking.Wait()
	defer unlook()
	ends := func(group *sync.WaitGroup, run func() error) {
		group.Go(func() {
			if err := run(); err != nil {
				stop(err)
			}
		})
	}
	if r.metrics != nil {
		ends(&looking, func() error { return r.sights.serveMetrics(lookers, r.metrics) })
	}
	looking.Go(func() {
		s.Manager.Guard(lookers, r.well, func(err error) { s.Log.Error("the service manager is not told that all is well: " + err.Error()) })
	})
	if r.life.Owns {
		looking.Go(func() { r.sights.run(lookers) })
		ends(&both, func() error { return r.workers.pool.Run(ctx) })
		ends(&both, func() error { return s.steward(ctx, r) })
		both.Go(func() { s.attend(ctx, r, api) })
	}
	if s.Keep.Any() || keep.Copy {
		both.Go(func() { retain.Run(ctx, keep) })
	}
	if r.life.Carry == nil {
		ends(&both, func() error { return r.workers.serve(ctx) })
	} else if r.workers.listener != nil {
		ends(&both, func() error { return r.life.Carry(ctx, r.workers.listener) })
	}
	if r.life.Beside != nil {
		both.Go(func() { r.life.Beside(ctx) })
	}
	ends(&both, func() error {
		select {
		case err := <-r.house.front.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	shift := r.house.front.Begin(answer)
	s.tell(ctx, systemd.Ready)
	if s.Started != nil {
		r.house.began.Do(func() { s.Started(r.house.address) })
	}
	<-ctx.Done()
	close(stopping)
	if r.house.leaving() {
		s.tell(lookers, systemd.Stopping)
		if s.StopDelay > 0 { // whoever balances load learns that it is not ready before it is gone
			time.Sleep(s.StopDelay)
		}
		r.house.front.Close(grace)
	}
	shift.Stop(betweenLives)
	both.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// steward has the jobs carried out.
func (s *Server) steward(ctx context.Context, r *running) error {
	return steward.Run(ctx, steward.Config{Log: r.log, Retry: stewardRetry, Trouble: func(text string) { s.Log.Warn(text) }, Look: r.look,
		Carry: func(ctx context.Context, ns sluice.Namespace, id sluice.JobID) error {
			log := s.Log.With("namespace", ns, "job", id)
			defer r.permit.Forget(id)
			return r.custody.carry(ctx, id, control.DriveOptions{Notice: func(text string) { log.Warn(text) }, Observe: r.hub.Observe, FetchDir: s.fetchDir(id)})
		}})
}

// tellWithin is how long the service manager may take to hear something.
const tellWithin = time.Second

// tell tells the service manager. It is no reason to end that it cannot be told.
func (s *Server) tell(ctx context.Context, state string) {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin) // that it stops is told while it does
	defer cancel()
	if err := s.Manager.Notify(late, state); err != nil {
		s.Log.Warn("the service manager cannot be told " + state + ": " + err.Error())
	}
}
