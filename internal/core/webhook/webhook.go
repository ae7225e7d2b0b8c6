// Package webhook says which webhooks there are, which events each wants, and what is sent for one. Its state is folded from
// the events of [sluice.WebhookNamespace]. It knows neither how something is sent nor where secrets are kept.
package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Hook is a webhook as it stands.
type Hook struct {
	sluice.Webhook
	Since uint64 // number of the event that set it last
	By    sluice.Principal
}

// State are all webhooks.
type State struct {
	seq   uint64
	hooks map[sluice.WebhookID]Hook
}

// New is the state of an empty log.
func New() *State { return &State{hooks: map[sluice.WebhookID]Hook{}} }

// Seq is the number of the last event that was applied.
func (s *State) Seq() uint64 { return s.seq }

// Apply takes the next event in. Events that it does not know change nothing.
func (s *State) Apply(e sluice.Event) error {
	if e.Seq != 0 && e.Seq != s.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, s.seq)
	}
	s.seq++
	switch b := e.Body.(type) {
	case sluice.WebhookSet:
		s.hooks[b.ID] = Hook{b.Webhook, s.seq, b.By}
	case sluice.WebhookRemoved:
		delete(s.hooks, b.ID)
	}
	return nil
}

// List are the webhooks, by name.
func (s *State) List() []Hook {
	return slices.SortedFunc(maps.Values(s.hooks), func(a, b Hook) int { return cmp.Compare(a.ID, b.ID) })
}

// Hook finds one.
func (s *State) Hook(id sluice.WebhookID) (Hook, error) {
	h, ok := s.hooks[id]
	if !ok {
		return h, sluice.Errorf(sluice.NotFound, "there is no webhook %q", string(id)).WithHint("sluice webhook list")
	}
	return h, nil
}

// Limits of webhooks.
const (
	MaxHooks  = 100
	maxURL    = 2000
	maxEvents = 50
)

// Check says why a webhook cannot be as it is. insecure allows http.
func Check(w sluice.Webhook, insecure bool) error {
	if _, err := sluice.ParseWebhookID(string(w.ID)); err != nil {
		return err
	}
	if err := CheckURL(w.URL, insecure); err != nil {
		return err
	}
	if len(w.Events) == 0 || len(w.Events) > maxEvents {
		return sluice.Errorf(sluice.Usage, "a webhook has 1 to %d kinds of events, not %d", maxEvents, len(w.Events)).WithHint("such as job.finished, job.* or *")
	}
	if w.Form != sluice.WebhookEvents && w.Form != sluice.WebhookText {
		return sluice.Errorf(sluice.Usage, "the form of what is sent is %s or %s, not %q", sluice.WebhookEventsName, sluice.WebhookText, string(w.Form))
	}
	for _, p := range w.Events {
		if !validPattern(p) {
			return sluice.Errorf(sluice.Usage, "%q is no kind of events", p).WithHint("such as job.finished, job.* or *; docs/events.md has them all")
		}
		if w.Form == sluice.WebhookText && !slices.ContainsFunc(spoken, func(s string) bool { return strings.HasPrefix(p, s) }) {
			return sluice.Errorf(sluice.Usage, "a text is made of what happens to jobs, and %q is more", p).WithHint("such as job.finished, job.* or gate.waiting")
		}
	}
	for _, ns := range w.Namespaces {
		if ns == "" || ns.Reserved() {
			return sluice.Errorf(sluice.Usage, "%q is no namespace whose events are sent", string(ns))
		}
	}
	return nil
}

// CheckURL says why nothing is sent to a URL. It never repeats the URL: some have a secret in them.
func CheckURL(s string, insecure bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || len(s) > maxURL:
		return sluice.Errorf(sluice.Usage, "that is no URL for a webhook").WithHint("such as https://chat.example.com/hooks/sluice")
	case u.Scheme != "https" && u.Scheme != "http":
		return sluice.Errorf(sluice.Usage, "webhooks are sent by https").WithHint("such as https://chat.example.com/hooks/sluice")
	case u.Scheme == "http" && !insecure:
		return sluice.Errorf(sluice.Usage, "webhooks are sent by https, not by http").WithHint("sluice server --webhook-allow-http, where nobody can listen")
	case u.User != nil:
		return sluice.Errorf(sluice.Usage, "the URL of a webhook has no user and password in it").WithHint("the receiver knows the server by its signature")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return sluice.Errorf(sluice.Usage, "the URL of a webhook has no # in it")
	}
	return nil
}

func validPattern(p string) bool {
	p = strings.TrimSuffix(p, "*")
	if len(p) > 64 {
		return false
	}
	for i := range len(p) {
		if c := p[i]; c != '.' && c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Wants reports whether an event of a namespace is sent.
func Wants(w sluice.Webhook, ns sluice.Namespace, e sluice.Event) bool {
	return Covers(w, ns) && slices.ContainsFunc(w.Events, func(p string) bool {
		if start, many := strings.CutSuffix(p, "*"); many {
			return strings.HasPrefix(e.Body.Type(), start)
		}
		return p == e.Body.Type()
	})
}

// Covers reports whether events of a namespace are sent at all.
func Covers(w sluice.Webhook, ns sluice.Namespace) bool {
	return !ns.Reserved() && (len(w.Namespaces) == 0 || slices.Contains(w.Namespaces, ns))
}

// MaxBody is the most that is sent. Of an event that takes more only the head goes.
const MaxBody = 256 << 10

// Delivery is what is sent for an event.
type Delivery struct {
	// ID is the same however often the event is sent.
	ID   string
	Type string
	Body []byte
}

// message is the body.
type message struct {
	Delivery  string           `json:"delivery"`
	Webhook   sluice.WebhookID `json:"webhook"`
	Namespace sluice.Namespace `json:"namespace,omitzero"`
	Event     json.RawMessage  `json:"event"`
	// Truncated says that the event's own fields are left out.
	Truncated bool `json:"truncated,omitzero"`
}

func deliveryID(w sluice.Webhook, ns sluice.Namespace, e sluice.Event) string {
	return fmt.Sprintf("%s-%s-%d", w.ID, ns, e.Seq)
}

// Deliver makes what is sent for an event of a namespace.
func Deliver(w sluice.Webhook, ns sluice.Namespace, e sluice.Event) (Delivery, error) {
	d := Delivery{ID: deliveryID(w, ns, e), Type: e.Body.Type()}
	text, err := json.Marshal(e)
	if err != nil {
		return d, err
	}
	m := message{Delivery: d.ID, Webhook: w.ID, Namespace: ns, Event: text}
	if d.Body, err = json.Marshal(m); err != nil || len(d.Body) <= MaxBody {
		return d, err
	}
	head := e
	head.Body = named(d.Type)
	if m.Event, err = json.Marshal(head); err != nil {
		return d, err
	}
	m.Truncated = true
	d.Body, err = json.Marshal(m)
	return d, err
}

// TestType is the type of the event that is sent to try a webhook.
const TestType = "webhook.test"

// DeliverTest makes what is sent to try a webhook. It is in no log.
func DeliverTest(w sluice.Webhook, id string, now time.Time) (Delivery, error) {
	d := Delivery{ID: id, Type: TestType}
	if w.Form == sluice.WebhookText {
		var err error
		d.Body, err = json.Marshal(sentence{fmt.Sprintf("Sluice tries the webhook %s, and nothing has happened.", w.ID)})
		return d, err
	}
	text, err := json.Marshal(sluice.Event{Time: now, Body: named(TestType)})
	if err == nil {
		d.Body, err = json.Marshal(message{Delivery: id, Webhook: w.ID, Event: text})
	}
	return d, err
}

// named is an event's body of which only the type is told.
type named string

func (n named) Type() string               { return string(n) }
func (named) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// Names of the headers that go with a delivery.
const (
	HeaderSignature = "Sluice-Signature"
	HeaderDelivery  = "Sluice-Delivery"
	HeaderEvent     = "Sluice-Event"
	HeaderWebhook   = "Sluice-Webhook"
)

// Signature is the header that shows who sent a body, and when: "t=SECONDS,v1=HEX", in which HEX is the HMAC-SHA256 of
// SECONDS, a full stop and the body.
func Signature(secret []byte, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Patience with receivers.
const (
	firstWait = time.Second
	maxWait   = 10 * time.Minute
	// GiveUp is the age of an event at which a try that fails is the last.
	GiveUp = 24 * time.Hour
)

// Wait is how long to wait after the n-th try (from 1) has failed. chance is from 0 to below 1: with it, those who failed
// together do not come again together.
func Wait(n int, chance float64) time.Duration {
	w := maxWait
	if n < 11 { // a second doubles to more than maxWait by then
		w = min(maxWait, firstWait<<(n-1))
	}
	return w/2 + time.Duration(float64(w/2)*chance)
}
