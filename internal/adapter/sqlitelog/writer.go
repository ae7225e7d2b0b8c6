package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
)

// writer is the connection that writes. It compiles each query once: that takes longer than running it. So it is
// meant for queries that stand in this package, of which there are few.
type writer struct {
	*sql.Conn
	ready map[string]*sql.Stmt
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &writer{Conn: c, ready: map[string]*sql.Stmt{}}, nil
}

func (w *writer) compiled(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := w.ready[query]; s != nil {
		return s, nil
	}
	s, err := w.PrepareContext(ctx, query)
	if err == nil {
		w.ready[query] = s
	}
	return s, err
}

// ExecContext runs a query that returns nothing.
func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.compiled(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext runs a query that returns rows, which must be closed before it is run again.
func (w *writer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := w.compiled(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// Close gives everything back.
func (w *writer) Close() error {
	var errs []error
	for _, s := range w.ready {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.Conn.Close())...)
}
