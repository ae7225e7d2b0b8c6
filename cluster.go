package sluice

import (
	"context"
	"io"
	"time"
)

// Engine is what the servers of a cluster share: the newest records of every namespace, on a majority of them, and the word of who owns
// the log. Older records are in the servers' own journals. It is safe for concurrent use.
type Engine interface {
	// Own waits until nobody owns the log, and has this server own it from then on.
	Own(ctx context.Context, who Owner) (Term, error)
	// Owner says who owns the log; the term is 0 where nobody does. The error's code is Contact where no majority can be reached.
	Owner(ctx context.Context) (who Owner, term uint64, err error)
	// Heads are the ends of all namespaces, as a majority has them.
	Heads(ctx context.Context) ([]Head, error)
	// Follow hands on all records after these events, in order, and then those that come, until ctx ends or visit returns an error.
	// The error's code is NotFound where records that are asked for are not kept here any more.
	Follow(ctx context.Context, after map[Namespace]uint64, visit func([]Record) error) error
	// Trim forgets records up to these heads, and nothing behind them. What is not known here is left out.
	Trim(ctx context.Context, upTo []Head) error
}

// Owner is a server that owns the log.
type Owner struct {
	Name    string `json:"name"`
	Address string `json:"address"` // where the other servers reach it
}

// Term is the time in which one server owns the log: only in it may that server append.
type Term interface {
	// Number is higher in every later term.
	Number() uint64
	// Append appends a record, which continues the chain of its namespace, and as one step with it looks whether the term goes on.
	// An error with the code Conflict says that it was refused and is not there; any other, that this is not known.
	Append(ctx context.Context, r Record) error
	// Over is closed when the term has ended, or cannot be told from one that has: no later than another begins.
	Over() <-chan struct{}
	// Lasts reports whether the term surely goes on at this moment, by the time alone: nobody is asked. A process that stood still hears
	// it before it hears of Over.
	Lasts() bool
	// Resign ends the term, so that another may begin at once.
	Resign(ctx context.Context) error
}

// Peer is another server of the cluster, as this one reaches it. It is safe for concurrent use. An error with the code Contact says that
// it could not be reached or did not answer; what was asked for may have been done.
type Peer interface {
	// Name is that of the server.
	Name() string
	// Records hands on the records of a namespace behind an event, in order, as far as that server has them.
	Records(ctx context.Context, ns Namespace, after uint64, visit func([]Record) error) error
	// Blobs are those that are kept there. What was put is durable there.
	Blobs() Blobs
	// KeepOutput keeps pieces of what a job printed; when it returns they are durable there. Pieces that overlap are cut, as
	// [Outputs.Write] does; a gap is an error with the code Conflict.
	KeepOutput(ctx context.Context, job JobID, pieces []OutputPiece) error
	// OutputSize is how much of a stream is kept there.
	OutputSize(ctx context.Context, job JobID, a AttemptID, stream string) (int64, error)
	// OpenOutput reads a stream there from an offset on, as far as it is kept.
	OpenOutput(ctx context.Context, job JobID, a AttemptID, stream string, from int64) (io.ReadCloser, error)
}

// OutputPiece is a piece of what an attempt printed.
type OutputPiece struct {
	Attempt AttemptID
	Stream  string
	Offset  int64
	Data    []byte
}

// KeptHalt is a halt that a server without a majority was asked for: it keeps it until it can be appended.
type KeptHalt struct {
	ID        string     `json:"id"` // makes that it is appended once
	Server    ServerName `json:"server"`
	At        time.Time  `json:"at"`
	Principal Principal  `json:"principal"`
	Token     TokenID    `json:"token,omitzero"` // which they showed
	From      string     `json:"from,omitzero"`  // address
	Namespace Namespace  `json:"namespace,omitzero"`
	Job       JobID      `json:"job,omitzero"` // "": all jobs, of the namespace if there is one
	Reason    string     `json:"reason,omitzero"`
	// Known is the last event of each namespace in the server's copy then: what is no later cannot have been an answer to the halt.
	Known map[Namespace]uint64 `json:"known,omitzero"`
	// Age is how long ago that was, where it is handed on. So it can be compared with events of the term in which it is appended, whatever
	// the server's clock says, and with no others: their times are of other clocks.
	Age time.Duration `json:"age,omitzero"`
}

// Of says what is halted.
func (h KeptHalt) Of() string {
	switch {
	case h.Job != "":
		return "the job " + string(h.Job)
	case h.Namespace != "":
		return "all jobs of the namespace " + string(h.Namespace)
	}
	return "all jobs"
}
