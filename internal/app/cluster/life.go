package cluster

import (
	"context"
	"net"
	"net/http"
	"time"

	"sluice"
	"sluice/internal/adapter/prometheus"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/lookout"
)

// Life says what a server does in one of its lives. One that is alone has one life, in which it owns the log.
type Life struct {
	// Owns says that it appends to the log, and carries out what stands in it.
	Owns bool
	// Term is the number of the term in which it does; 0: it is in no cluster.
	Term uint64
	// StillOwns says why this server does not own the log any more; nil: nobody else can.
	StillOwns func(ctx context.Context) error
	// InCluster tells about the servers of the cluster; nil: there are no others.
	InCluster httpapi.Servers
	// Engine is what is to be seen of what the servers share; nil: there are no others.
	Engine func() *prometheus.Cluster
	// Stale says since when this server has no contact with a majority; nil: there are no others.
	Stale func(context.Context) time.Time
	// Turns is closed when that may have changed; it is there where Stale is.
	Turns func() <-chan struct{}
	// Halts keeps halts while there is no contact with a majority; nil: there is no need.
	Halts httpapi.Halts
	// Servers are the addresses for workers of all servers; nil: there are no others.
	Servers func() []string
	// Here is what is kept on this machine, of which other servers keep something here, too; nil: nobody does.
	Here *Stored
	// Around puts what is kept elsewhere, too, in the place of what is kept here alone; nil: nothing is. end is called at the end.
	Around func(service *control.Service) (end func())
	// Answer makes what answers requests of what would answer them here; nil: they are answered here.
	Answer func(here http.Handler) doors.Answers
	// Carry has those who come in for workers answered elsewhere until ctx ends; nil: they are answered here.
	Carry func(ctx context.Context, l net.Listener) error
	// Beside is done meanwhile, until ctx ends; may be nil.
	Beside func(ctx context.Context)
	// Follows reports whether what is here is what the others have; nil: it is.
	Follows func() bool
	// Watched is handed what watches over the log, before anything else is done with it; may be nil.
	Watched func(ctx context.Context, guard *lookout.Guard) error
	// Ready says why the server takes no jobs; nil: what is here says so.
	Ready func(ctx context.Context) error
}

// Stored is what is kept on this machine.
type Stored struct {
	Outputs sluice.Outputs
	Blobs   sluice.Blobs
}
