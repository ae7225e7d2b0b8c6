package workerwire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"sluice"
	"sluice/internal/adapter/workerwire/wirepb"
)

const (
	// stagger is how long a server may take to answer before the next one is asked beside it: one that is gone costs no more than that.
	stagger = 150 * time.Millisecond
	// reachWithin bounds the connecting to all of them, by TCP and TLS.
	reachWithin = 10 * time.Second
	// welcomeWithin is how long a server may take to say hello while there is another one to go to.
	welcomeWithin = 2 * time.Second
)

// way is a connection to a server. It is closed when it is replaced and nothing goes over it any more.
type way struct {
	address string
	conn    *grpc.ClientConn
	api     wirepb.WorkersClient

	mu    sync.Mutex
	calls int
	old   bool
}

func newWay(address string, t *tls.Config) (*way, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(t)), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: alive, Timeout: alive}))
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Usage, Text: fmt.Sprintf("%q is no address of a server", address), Err: err}
	}
	return &way{address: address, conn: conn, api: wirepb.NewWorkersClient(conn)}, nil
}

func (w *way) close() { _ = w.conn.Close() }

func (w *way) take() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
}

func (w *way) leave() { w.lessen(1, false) }

// retire has it closed as soon as nothing goes over it.
func (w *way) retire() { w.lessen(0, true) }

func (w *way) lessen(calls int, old bool) {
	w.mu.Lock()
	w.calls, w.old = w.calls-calls, w.old || old
	end := w.old && w.calls == 0
	w.mu.Unlock()
	if end {
		w.close()
	}
}

// connect returns when the server has answered, by TLS and by what lies over it: one that accepts and is silent has not.
func (w *way) connect(ctx context.Context) error {
	w.conn.Connect()
	for {
		switch s := w.conn.GetState(); s {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			_, err := w.api.Work(ctx) // says why
			if err == nil {
				err = errors.New("the connection broke off")
			}
			return fromStatus(ctx, err)
		case connectivity.Idle:
			w.conn.Connect()
			fallthrough
		default:
			if !w.conn.WaitForStateChange(ctx, s) {
				return sluice.Errorf(sluice.Contact, "it does not answer")
			}
		}
	}
}

// failures is why servers could not be reached, by address.
type failures struct {
	of   []string
	errs []error
}

func (f *failures) add(address string, err error) {
	f.of, f.errs = append(f.of, address), append(f.errs, err)
}

func (f *failures) err() error {
	if len(f.errs) == 1 {
		return f.errs[0]
	}
	var text []string
	for i, err := range f.errs {
		text = append(text, f.of[i]+": "+err.Error())
	}
	return &sluice.Error{Code: sluice.Contact, Text: "no server: " + strings.Join(text, "; ")}
}

// reach connects to the first of the servers that answers, in their order: the next one is tried as soon as one has failed, and beside one
// that takes its time. left are those that have not failed.
func reach(ctx context.Context, addresses []string, t *tls.Config, failed *failures) (won *way, left []string) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	type tried struct {
		w   *way
		err error
	}
	results := make(chan tried, len(addresses))
	var all sync.WaitGroup
	defer func() { // those that lost
		cancel()
		all.Wait()
		close(results)
		for r := range results {
			r.w.close()
		}
	}()
	left = append(left, addresses...)
	remove := func(address string) {
		for i, a := range left {
			if a == address {
				left = append(left[:i], left[i+1:]...)
				return
			}
		}
	}
	running := 0
	begin := func() {
		w, err := newWay(addresses[0], t)
		addresses = addresses[1:]
		if err != nil {
			failed.add("", err)
			return
		}
		running++
		all.Go(func() { results <- tried{w, w.connect(ctx)} })
	}
	turn := time.NewTimer(0)
	defer turn.Stop()
	for running > 0 || len(addresses) > 0 {
		select {
		case r := <-results:
			running--
			remove(r.w.address)
			if r.err == nil {
				return r.w, left
			}
			failed.add(r.w.address, r.err)
			r.w.close()
			turn.Reset(0)
		case <-turn.C:
			if len(addresses) > 0 {
				begin()
				turn.Reset(stagger)
			}
		}
	}
	return nil, nil
}

// Open opens a line to the first server that answers, and says hello. The line ends with ctx.
func (c *Client) Open(ctx context.Context, hello sluice.WorkerHello) (sluice.Line[sluice.ToServer, sluice.ToWorker], error) {
	left := c.cfg.Addresses()
	if len(left) == 0 {
		return nil, sluice.Errorf(sluice.Config, "no server is known")
	}
	failed := &failures{}
	for len(left) > 0 {
		var w *way
		if w, left = reach(ctx, left, c.tls, failed); w == nil {
			break
		}
		line, err := w.open(ctx, hello, len(left) > 0)
		if err == nil {
			c.replace(w)
			return line, nil
		}
		w.close()
		if ctx.Err() != nil || sluice.CodeOf(err) != sluice.Contact {
			return nil, err
		}
		failed.add(w.address, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, failed.err()
}

func (w *way) open(ctx context.Context, hello sluice.WorkerHello, others bool) (*clientEnd, error) {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(welcomeWithin, func() {
		if others {
			cancel()
		}
	})
	defer late.Stop()
	stream, err := w.api.Work(ctx)
	if err == nil {
		err = stream.Send(toServer(sluice.ToServer{Hello: &hello}))
	}
	if errors.Is(err, io.EOF) || err == nil { // then Recv says why
		var m *wirepb.ToWorker
		if m, err = stream.Recv(); err == nil {
			err = welcomed(m.GetWelcome())
		}
	}
	if err == nil && (!others || late.Stop()) {
		return &clientEnd{stream: stream, ctx: ctx, end: cancel}, nil
	}
	defer cancel()
	if whole.Err() == nil && ctx.Err() != nil {
		return nil, sluice.Errorf(sluice.Contact, "the server does not say hello")
	}
	return nil, fromStatus(ctx, err)
}

// replace makes a connection the one that all calls go over.
func (c *Client) replace(w *way) {
	c.mu.Lock()
	old := c.on
	if c.on = w; old == nil {
		close(c.first)
	}
	c.mu.Unlock()
	if old != nil {
		old.retire()
	}
}

// At is the address of the server that the last line was opened to; "" before the first.
func (c *Client) At() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on == nil {
		return ""
	}
	return c.on.address
}

// over is the connection for a call: that of the line, or of the last one. It waits for the first. leave must be called.
func (c *Client) over(ctx context.Context) (*way, error) {
	select {
	case <-c.first:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on.take()
	return c.on, nil
}
