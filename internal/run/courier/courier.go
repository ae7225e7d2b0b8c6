// Package courier has events of the log delivered to webhooks: each at least once, in the order of its namespace, for as long
// as somebody wants them. It keeps the webhooks, too: every change of them is an event.
//
// It follows the log as anybody could, and no job ever waits for it. It does not know how something is sent, nor where
// secrets and places are kept.
package courier

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/webhook"
	"sluice/internal/run/fold"
)

// Files keep what is not for the log: secrets, and how far each webhook has got. What is set is durable.
type Files interface {
	Secret(id sluice.WebhookID) (sluice.Secret, error)
	SetSecret(id sluice.WebhookID, s sluice.Secret) error
	// Places are the numbers of the last events that a webhook is done with, by namespace.
	Places(id sluice.WebhookID) (map[sluice.Namespace]uint64, error)
	SetPlaces(id sluice.WebhookID, p map[sluice.Namespace]uint64) error
	Remove(id sluice.WebhookID) error
}

// Config is what a courier needs.
type Config struct {
	Log   sluice.Log
	Files Files
	Clock sluice.Clock
	// Post sends a body, once. Its errors name neither the URL nor a secret.
	Post func(ctx context.Context, url string, header map[string]string, body []byte) error
	// Insecure allows http.
	Insecure bool
	// Counted is told "delivered", "failed" or "given_up".
	Counted func(result string)
	// Trouble is told what a person should know. It must not block.
	Trouble func(text string, id sluice.WebhookID)
	// Chance is from 0 to below 1, anew each time.
	Chance func() float64
	// Retry is waited after an error of the log or the files, and is how long an event may stay unseen where nobody
	// rings. 0: five seconds.
	Retry time.Duration
}

const (
	defaultRetry = 5 * time.Second
	page         = 200
	secretPrefix = "slwh_"
)

// Courier keeps webhooks and delivers to them. It is safe for concurrent use.
type Courier struct {
	cfg  Config
	turn chan struct{} // who has its token may change webhooks

	mu      sync.Mutex
	news    chan struct{} // closed when there may be something new
	reports map[sluice.WebhookID]*Report
}

// Report is how a webhook gets on in this process.
type Report struct {
	Delivered int
	// Waiting is the time of the oldest event that is not delivered yet; zero: there is none.
	Waiting time.Time
	Next    time.Time // of its next try
	Last    time.Time // when something was delivered last
	Tries   int       // of the oldest event
	Error   string    // of its last try
}

// New makes a courier, which delivers while Run runs.
func New(cfg Config) *Courier {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	c := &Courier{cfg: cfg, turn: make(chan struct{}, 1), news: make(chan struct{}), reports: map[sluice.WebhookID]*Report{}}
	c.turn <- struct{}{}
	return c
}

// Ring says that there may be something new in the log.
func (c *Courier) Ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.news)
	c.news = make(chan struct{})
}

func (c *Courier) bell() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.news
}

// read reads on to the head of the log.
func (c *Courier) read(ctx context.Context, s *webhook.State) error {
	for {
		events, err := c.cfg.Log.Read(ctx, sluice.WebhookNamespace, s.Seq(), page)
		if err != nil || len(events) == 0 {
			return err
		}
		if err := apply(s, events); err != nil {
			return err
		}
	}
}

func apply(s *webhook.State, events []sluice.Event) error {
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "the webhooks cannot be read from the journal", Err: err}
		}
	}
	return nil
}

// List are the webhooks, by name.
func (c *Courier) List(ctx context.Context) ([]webhook.Hook, error) {
	s := webhook.New()
	err := c.read(ctx, s)
	return s.List(), err
}

// Report is how a webhook gets on.
func (c *Courier) Report(id sluice.WebhookID) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.reports[id]; r != nil {
		return *r
	}
	return Report{}
}

// Waiting is the age of the oldest undelivered event of each webhook; 0 where there is none.
func (c *Courier) Waiting() map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]time.Duration{}
	for id, r := range c.reports {
		out[string(id)] = 0
		if !r.Waiting.IsZero() {
			out[string(id)] = max(0, c.cfg.Clock().Sub(r.Waiting))
		}
	}
	return out
}

func (c *Courier) report(id sluice.WebhookID, f func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.reports[id]; r != nil {
		f(r)
	}
}

// exclusive is held by who changes webhooks: secret, places and event of one change belong together.
func (c *Courier) exclusive(ctx context.Context) (release func(), err error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.turn:
		return func() { c.turn <- struct{}{} }, nil
	}
}

// Set makes a webhook, or changes it. secret is what a receiver checks signatures with; it is set, for this once, where it is
// new: for a new webhook, and where renew asks for it.
func (c *Courier) Set(ctx context.Context, w sluice.Webhook, renew bool, by sluice.Principal) (secret sluice.Secret, err error) {
	if err := webhook.Check(w, c.cfg.Insecure); err != nil {
		return secret, err
	}
	release, err := c.exclusive(ctx)
	if err != nil {
		return secret, err
	}
	defer release()
	s := webhook.New()
	if err := c.read(ctx, s); err != nil {
		return secret, err
	}
	_, err = s.Hook(w.ID)
	fresh := err != nil
	if fresh && len(s.List()) >= webhook.MaxHooks {
		return secret, sluice.Errorf(sluice.Conflict, "there are %d webhooks already, which is the most", webhook.MaxHooks).WithHint("sluice webhook remove NAME")
	}
	// First the files, then the event: a webhook that is in the log has all that it needs.
	if fresh {
		places, err := c.heads(ctx)
		if err == nil {
			err = c.cfg.Files.SetPlaces(w.ID, places)
		}
		if err != nil {
			return secret, err
		}
	}
	if fresh || renew {
		secret = newSecret()
		if err := c.cfg.Files.SetSecret(w.ID, secret); err != nil {
			return sluice.Secret{}, err
		}
	}
	return secret, c.append(ctx, s, sluice.WebhookSet{Webhook: w, By: by})
}

func newSecret() sluice.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return sluice.NewSecret([]byte(secretPrefix + base64.RawURLEncoding.EncodeToString(b)))
}

// heads are the ends of all namespaces: what comes after them is news.
func (c *Courier) heads(ctx context.Context) (map[sluice.Namespace]uint64, error) {
	list, err := c.cfg.Log.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	out := map[sluice.Namespace]uint64{}
	for _, ns := range list {
		if ns.Reserved() {
			continue
		}
		s, err := fold.Namespace(ctx, c.cfg.Log, ns)
		if err != nil {
			return nil, err
		}
		out[ns] = s.Seq()
	}
	return out, nil
}

// Remove ends a webhook. What it had not sent yet is not sent any more.
func (c *Courier) Remove(ctx context.Context, id sluice.WebhookID, by sluice.Principal) error {
	release, err := c.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	s := webhook.New()
	if err := c.read(ctx, s); err != nil {
		return err
	}
	if _, err := s.Hook(id); err != nil {
		return err
	}
	if err := c.append(ctx, s, sluice.WebhookRemoved{ID: id, By: by}); err != nil {
		return err
	}
	return c.cfg.Files.Remove(id)
}

// Test sends one event that is in no log, once and now.
func (c *Courier) Test(ctx context.Context, id sluice.WebhookID) error {
	s := webhook.New()
	if err := c.read(ctx, s); err != nil {
		return err
	}
	h, err := s.Hook(id)
	if err != nil {
		return err
	}
	d, err := webhook.DeliverTest(h.Webhook, "test-"+rand.Text(), c.cfg.Clock())
	if err != nil {
		return err
	}
	if err := c.post(ctx, h, d); err != nil {
		return &sluice.Error{Code: sluice.Conflict, Text: fmt.Sprintf("the webhook %s did not take it", id), Err: err}
	}
	return nil
}

func (c *Courier) append(ctx context.Context, s *webhook.State, b sluice.Body) error {
	_, err := c.cfg.Log.Update(ctx, sluice.WebhookNamespace, s.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: c.cfg.Clock(), Body: b}}, apply(s, tail)
	})
	return err
}

// post sends something once.
func (c *Courier) post(ctx context.Context, h webhook.Hook, d webhook.Delivery) error {
	secret, err := c.cfg.Files.Secret(h.ID)
	if err != nil {
		return err
	}
	if err := webhook.CheckURL(h.URL, c.cfg.Insecure); err != nil {
		return err // it was set when more was allowed
	}
	return c.cfg.Post(ctx, h.URL, map[string]string{
		webhook.HeaderSignature: webhook.Signature(secret.Reveal(), c.cfg.Clock(), d.Body),
		webhook.HeaderDelivery:  d.ID, webhook.HeaderEvent: d.Type, webhook.HeaderWebhook: string(h.ID),
	}, d.Body)
}
