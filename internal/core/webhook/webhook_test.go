package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/webhook"
)

func hook(events ...string) sluice.Webhook {
	return sluice.Webhook{ID: "chat", URL: "https://chat.example.com/in", Events: events}
}

func TestCheck(t *testing.T) {
	with := func(f func(*sluice.Webhook)) sluice.Webhook {
		w := hook("job.*")
		f(&w)
		return w
	}
	url := func(u string) sluice.Webhook { return with(func(w *sluice.Webhook) { w.URL = u }) }
	for name, c := range map[string]struct {
		w        sluice.Webhook
		insecure bool
		says     string
	}{
		"good":               {hook("job.*", "gate.waiting", "*"), false, ""},
		"http":               {url("http://a.example.com/"), false, "not by http"},
		"http where allowed": {url("http://a.example.com/"), true, ""},
		"a file":             {url("file:///etc/passwd"), true, "no URL"},
		"another scheme":     {url("gopher://x/"), true, "by https"},
		"no host":            {url("https:///x"), true, "no URL"},
		"only a port":        {url("https://:443/x"), true, "no URL"},
		"opaque":             {url("https:x"), true, "no URL"},
		"a password":         {url("https://u:CANARY@x/"), true, "no user and password"},
		"a fragment":         {url("https://x/#a"), true, "no #"},
		"long":               {url("https://x/" + strings.Repeat("a", 2000)), true, "no URL"},
		"control":            {url("https://x/\r\nCANARY: 1"), true, "no URL"},
		"no events":          {hook(), false, "1 to 50"},
		"bad events":         {hook("job.*.x"), false, "no kind"},
		"bad events 2":       {hook("Job.finished"), false, "no kind"},
		"text":               {with(func(w *sluice.Webhook) { w.Form = sluice.WebhookText; w.Events = []string{"job.*", "gate.waiting"} }), false, ""},
		"text of all":        {with(func(w *sluice.Webhook) { w.Form = sluice.WebhookText; w.Events = []string{"*"} }), false, "and \"*\" is more"},
		"text of hosts":      {with(func(w *sluice.Webhook) { w.Form = sluice.WebhookText; w.Events = []string{"host.held"} }), false, "of what happens to jobs"},
		"another form":       {with(func(w *sluice.Webhook) { w.Form = "xml" }), false, "is event or text, not \"xml\""},
		"bad name":           {with(func(w *sluice.Webhook) { w.ID = "../x" }), false, "no name"},
		"its own namespace":  {with(func(w *sluice.Webhook) { w.Namespaces = []sluice.Namespace{".access"} }), false, "no namespace"},
	} {
		err := webhook.Check(c.w, c.insecure)
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWants(t *testing.T) {
	e := sluice.Event{Body: sluice.JobFinished{}}
	for _, c := range []struct {
		events     []string
		namespaces []sluice.Namespace
		ns         sluice.Namespace
		want       bool
	}{
		{[]string{"job.finished"}, nil, "prod", true},
		{[]string{"job.*"}, nil, "prod", true},
		{[]string{"*"}, nil, "prod", true},
		{[]string{"job."}, nil, "prod", false},
		{[]string{"job.halted", "task.*"}, nil, "prod", false},
		{[]string{"*"}, []sluice.Namespace{"lab", "prod"}, "prod", true},
		{[]string{"*"}, []sluice.Namespace{"prod2"}, "prod", false},
		{[]string{"*"}, nil, sluice.AccessNamespace, false},
		{[]string{"*"}, nil, sluice.WebhookNamespace, false},
	} {
		w := hook(c.events...)
		w.Namespaces = c.namespaces
		if got := webhook.Wants(w, c.ns, e); got != c.want {
			t.Errorf("%v in %v: %v for %s", c.events, c.namespaces, got, c.ns)
		}
	}
}

func TestState(t *testing.T) {
	s := webhook.New()
	add := func(b sluice.Body) {
		if err := s.Apply(sluice.Event{Seq: s.Seq() + 1, Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	add(sluice.WebhookSet{Webhook: sluice.Webhook{ID: "b"}, By: "ann"})
	add(sluice.WebhookSet{Webhook: sluice.Webhook{ID: "a"}, By: "ann"})
	add(sluice.WebhookSet{Webhook: sluice.Webhook{ID: "b", URL: "u"}, By: "bob"})
	add(sluice.UnknownBody{TypeName: "webhook.sung"})
	add(sluice.WebhookSet{Webhook: sluice.Webhook{ID: "c"}})
	add(sluice.WebhookRemoved{ID: "c"})
	if got, want := fmt.Sprint(s.List()), "[{{a  [] [] } 2 ann} {{b u [] [] } 3 bob}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := s.Hook("c"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("%v", err)
	}
	if err := s.Apply(sluice.Event{Seq: 99, Body: sluice.WebhookRemoved{}}); err == nil {
		t.Error("a gap is taken")
	}
}

func TestDelivery(t *testing.T) {
	e := sluice.Event{Seq: 7, Time: time.Unix(0, 0), Job: "0123456789ab", Body: sluice.JobHalted{Rule: sluice.RuleBudget}}
	d, err := webhook.Deliver(hook("*"), "prod", e)
	const want = `{"delivery":"chat-prod-7","webhook":"chat","namespace":"prod","event":{"v":1,"seq":7,"time":"1970-01-01T00:00:00Z","type":"job.halted","job":"0123456789ab","reason":"","rule":"budget","generation":0}}`
	if err != nil || string(d.Body) != want || d.ID != "chat-prod-7" || d.Type != "job.halted" {
		t.Errorf("%s %+v, error %v", d.Body, d, err)
	}
	e.Body = sluice.JobHalted{Reason: strings.Repeat("x", webhook.MaxBody)}
	d, err = webhook.Deliver(hook("*"), "prod", e)
	const short = `{"delivery":"chat-prod-7","webhook":"chat","namespace":"prod","event":{"v":1,"seq":7,"time":"1970-01-01T00:00:00Z","type":"job.halted","job":"0123456789ab"},"truncated":true}`
	if err != nil || string(d.Body) != short {
		t.Errorf("%s, error %v", d.Body, err)
	}
	d, err = webhook.DeliverTest(hook("*"), "test-1", time.Unix(0, 0))
	if err != nil || !json.Valid(d.Body) || !strings.Contains(string(d.Body), `"type":"webhook.test"`) {
		t.Errorf("%s, error %v", d.Body, err)
	}
}

// TestSignature: known by openssl, which docs/webhooks.md shows.
func TestSignature(t *testing.T) {
	// printf '1000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
	const want = "t=1000,v1=bead79479adfd3979f56c8c8ead5b99e08e19dbc7ccaf6482d40a6250bb4ecd6"
	if got := webhook.Signature([]byte("s3cret"), time.Unix(1000, 0), []byte(`{"a":1}`)); got != want {
		t.Errorf("%s", got)
	}
}

func TestWait(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 10: 512 * time.Second, 11: 10 * time.Minute, 1000: 10 * time.Minute} {
		if low, high := webhook.Wait(n, 0), webhook.Wait(n, 0.999999); low != want/2 || high <= low || high > want {
			t.Errorf("after try %d: %v to %v", n, low, high)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://a/", "http://[::1]:1/x", "https://u@x", "https://x/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if webhook.CheckURL(s, false) == nil && (!strings.HasPrefix(strings.ToLower(s), "https://") || strings.ContainsAny(s, "\r\n#")) {
			t.Errorf("%q passes", s)
		}
	})
}
