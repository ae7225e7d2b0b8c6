package sluice

import "context"

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
	// Resign ends the term, so that another may begin at once.
	Resign(ctx context.Context) error
}
