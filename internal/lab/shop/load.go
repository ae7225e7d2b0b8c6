package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Load asks a shop at a steady rate, and counts. Clients keep their connections. Some ask for what is slow, one after the other,
// so that there is always something in flight everywhere; the others share the rate.
type Load struct {
	cfg    LoadConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup
	start  time.Time

	mu  sync.Mutex
	now Count
}

// LoadConfig says whom to ask, and how hard.
type LoadConfig struct {
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	URL     string
	Rate    int // requests a second, by Clients
	Clients int
	Slow    int           // clients that ask for /slow, as fast as they are answered
	Limit   time.Duration // for one answer
}

// Count is what came of all requests. Asked is the sum of all answers in By and all failures in Failed.
type Count struct {
	Asked   int
	Slow    int // of them for what is slow
	By      map[string]int
	Failed  map[string]int
	First   []string // failures, at most as many as a person reads
	Again   int      // asked again, as HTTP has it, since a connection that was kept was closed before any of it was answered
	Longest time.Duration
	Took    time.Duration
}

// Failures are how many failed.
func (c Count) Failures() (n int) {
	for _, f := range c.Failed {
		n += f
	}
	return n
}

func (c Count) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %.0f s, %.0f a second, %d of them slow, the longest %d ms; %d failed", c.Asked, c.Took.Seconds(),
		float64(c.Asked)/c.Took.Seconds(), c.Slow, c.Longest.Milliseconds(), c.Failures())
	for _, k := range slices.Sorted(maps.Keys(c.Failed)) {
		fmt.Fprintf(&b, ", %d x %s", c.Failed[k], k)
	}
	if c.Again > 0 {
		fmt.Fprintf(&b, "; %d asked again on another connection", c.Again)
	}
	for _, k := range slices.Sorted(maps.Keys(c.By)) {
		fmt.Fprintf(&b, "; version %s: %d", k, c.By[k])
	}
	for _, f := range c.First {
		b.WriteString("\n    " + f)
	}
	return b.String()
}

// StartLoad begins to ask.
func StartLoad(ctx context.Context, cfg LoadConfig) *Load {
	if cfg.Limit == 0 {
		cfg.Limit = 30 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cfg: cfg, cancel: cancel, start: time.Now(), now: Count{By: map[string]int{}, Failed: map[string]int{}}}
	for i := range cfg.Clients {
		// Clients begin one after the other, so that they do not ask in one moment ever after.
		every := time.Second * time.Duration(cfg.Clients) / time.Duration(cfg.Rate)
		l.wg.Go(func() { l.ask(ctx, "/", every*time.Duration(i)/time.Duration(cfg.Clients), every) })
	}
	for range cfg.Slow {
		l.wg.Go(func() { l.ask(ctx, "/slow", 0, 0) })
	}
	return l
}

// Count is what came of it so far.
func (l *Load) Count() Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.now
	c.By, c.Failed, c.First, c.Took = maps.Clone(c.By), maps.Clone(c.Failed), slices.Clone(c.First), time.Since(l.start)
	return c
}

// Stop finishes what was begun, and says what came of all. It may be called more than once.
func (l *Load) Stop() Count {
	l.cancel()
	l.wg.Wait()
	return l.Count()
}

// ask is one client, with one connection. Who was answered late asks at once, until they are in time again.
func (l *Load) ask(ctx context.Context, path string, first, every time.Duration) {
	tr := &http.Transport{DialContext: l.cfg.Dial, MaxIdleConnsPerHost: 1, DisableCompression: true}
	defer tr.CloseIdleConnections()
	due := time.Now().Add(first)
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		l.once(context.WithoutCancel(ctx), tr, path)
		due = due.Add(every)
		timer.Reset(time.Until(due))
	}
}

// once asks once and counts it. What was begun is finished: only a failure of the other side is one.
func (l *Load) once(ctx context.Context, tr *http.Transport, path string) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Limit)
	defer cancel()
	tries := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { tries++ }})
	begin := time.Now()
	version, err := get(ctx, tr, l.cfg.URL+path)
	took := time.Since(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.now
	c.Asked++
	c.Again += max(0, tries-1)
	c.Longest = max(c.Longest, took)
	if path == "/slow" {
		c.Slow++
	}
	if err == nil {
		c.By[version]++
		return
	}
	c.Failed[kind(err)]++
	if version != "" { // a failure can be an answer of a version, too
		c.By[version+" (failed)"]++
	}
	if len(c.First) < 10 {
		c.First = append(c.First, fmt.Sprintf("%s after %d ms, at %.1f s: %v", path, took.Milliseconds(), time.Since(l.start).Seconds(), err))
	}
}

// errOdd is an answer that came whole, and is not what it should be.
var errOdd = errors.New("an odd answer")

type badStatus int

func (s badStatus) Error() string { return fmt.Sprintf("status %d", int(s)) }

// get asks once. Whatever is not a whole page of one version is an error.
func get(ctx context.Context, tr *http.Transport, url string) (version string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	version = resp.Header.Get("X-Version")
	switch {
	case err != nil:
		return version, err
	case resp.StatusCode != http.StatusOK:
		return version, fmt.Errorf("%w: %.200s", badStatus(resp.StatusCode), strings.Join(strings.Fields(string(body)), " "))
	case version == "" || !strings.Contains(string(body), ", version "+version+", on ") || !strings.HasSuffix(string(body), "\n"):
		return version, fmt.Errorf("%w: %.200q", errOdd, body)
	}
	return version, nil
}

// kind is what sort of failure it was.
func kind(err error) string {
	var status badStatus
	var op *net.OpError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errOdd):
		return errOdd.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut off"
	case errors.Is(err, io.EOF):
		return "closed without an answer"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection"
	}
	return "another error"
}
