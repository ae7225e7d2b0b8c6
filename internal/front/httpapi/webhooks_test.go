package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/webhookfiles"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/courier"
)

type hooks struct{ *courier.Courier }

func (h hooks) Report(id sluice.WebhookID) httpapi.WebhookReport {
	return httpapi.WebhookReport(h.Courier.Report(id))
}

func webhookFiles(t *testing.T) webhookfiles.Dir {
	t.Helper()
	d, err := webhookfiles.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestWebhooks: the secret is shown to who set it, once, and is in no list, event or audit.
func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	in := api.SetWebhook{URL: "https://chat.example.com/", Events: []string{"job.*"}, Namespaces: []sluice.Namespace{"prod"}}
	h, err := c.SetWebhook(t.Context(), "chat", in)
	if err != nil || !strings.HasPrefix(h.Secret, "slwh_") || h.By != "ann" {
		t.Fatalf("%+v, error %v", h, err)
	}
	again, err := c.SetWebhook(t.Context(), "chat", in)
	if err != nil || again.Secret != "" {
		t.Errorf("%+v, error %v", again, err)
	}
	list, err := c.Webhooks(t.Context())
	if err != nil || len(list) != 1 || list[0].URL != in.URL || list[0].Secret != "" || list[0].Events[0] != "job.*" {
		t.Errorf("%+v, error %v", list, err)
	}
	if err := c.TestWebhook(t.Context(), "chat"); err != nil {
		t.Error(err)
	}
	for _, ns := range []sluice.Namespace{sluice.AccessNamespace, sluice.WebhookNamespace} {
		events, err := w.log.Read(t.Context(), ns, 0, 1000)
		if b, _ := json.Marshal(events); err != nil || len(events) == 0 || strings.Contains(string(b), h.Secret) {
			t.Errorf("%s: %s, error %v", ns, b, err)
		}
	}
	if err := c.RemoveWebhook(t.Context(), "chat"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveWebhook(t.Context(), "chat"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("%v", err)
	}
	for name, bad := range map[string]api.SetWebhook{
		"chat":  {URL: "http://chat.example.com/", Events: []string{"job.*"}},
		"Chat":  {URL: "https://chat.example.com/", Events: []string{"job.*"}},
		"chat2": {URL: "https://chat.example.com/", Events: []string{"Nonsense"}},
	} {
		if _, err := c.SetWebhook(t.Context(), sluice.WebhookID(name), bad); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%s %+v: %v", name, bad, err)
		}
	}
}

// TestTraceparent: a trace that is one is kept with the job, whatever else it is is passed over; to ask again in another span
// is to ask for the same job.
func TestTraceparent(t *testing.T) {
	w := newWorld(t)
	token := "Bearer " + w.token("ann", sluice.Grant{Role: access.Admin})
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ key, trace, kept string }{
		{"a", good, good}, {"a", strings.Replace(good, "b7ad", "b7ae", 1), good}, {"b", "CANARY", ""}, {"c", "", ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://sluice.example.com/api/v1/jobs",
			strings.NewReader(`{"namespace":"prod","targets":"web1","command":"true"}`))
		r.Header.Set("Authorization", token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", c.key)
		r.Header.Set("Traceparent", c.trace)
		got := httptest.NewRecorder()
		w.api.ServeHTTP(got, r)
		var j api.Job
		if err := json.Unmarshal(got.Body.Bytes(), &j); err != nil || got.Code != http.StatusOK {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
		events, err := w.service.Events(t.Context(), j.ID)
		if b, ok := events[0].Body.(sluice.JobSubmitted); err != nil || !ok || b.Submitted.Trace != c.kept {
			t.Errorf("%q: %+v, error %v", c.trace, events[0].Body, err)
		}
	}
}
