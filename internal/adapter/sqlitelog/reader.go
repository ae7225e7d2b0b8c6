package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// reader is the connections that read. Like the writer they compile each query once.
type reader struct {
	*sql.DB
	mu    sync.Mutex
	ready map[string]*sql.Stmt
}

func newReader(db *sql.DB) *reader { return &reader{DB: db, ready: map[string]*sql.Stmt{}} }

func (r *reader) compiled(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := r.known(query, nil); s != nil {
		return s, nil
	}
	s, err := r.PrepareContext(ctx, query) // it may wait for a connection
	if err != nil {
		return nil, err
	}
	if first := r.known(query, s); first != s {
		return first, s.Close()
	}
	return s, nil
}

// known is the statement of a query: a new one, if there is none yet.
func (r *reader) known(query string, s *sql.Stmt) *sql.Stmt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is := r.ready[query]; is != nil {
		return is
	}
	if s != nil {
		r.ready[query] = s
	}
	return s
}

// QueryContext runs a query that returns rows, by a connection that nobody uses.
func (r *reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := r.compiled(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// Close gives everything back.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.ready {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, r.DB.Close())...)
}
