package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/webhook"
)

// WebhookReport is how a webhook gets on in this process.
type WebhookReport struct {
	Delivered           int
	Waiting, Next, Last time.Time // zero: never, or none
	Tries               int
	Error               string
}

// Webhooks keeps webhooks.
type Webhooks interface {
	List(ctx context.Context) ([]webhook.Hook, error)
	Report(id sluice.WebhookID) WebhookReport
	Set(ctx context.Context, w sluice.Webhook, renew bool, by sluice.Principal) (sluice.Secret, error)
	Remove(ctx context.Context, id sluice.WebhookID, by sluice.Principal) error
	Test(ctx context.Context, id sluice.WebhookID) error
}

type byWebhook struct {
	ID string `path:"webhook" maxLength:"32" doc:"name of a webhook: small letters, digits and -"`
}

type webhookList struct {
	Body struct {
		Webhooks []api.Webhook `json:"webhooks"`
	}
}

type oneWebhook struct{ Body api.Webhook }

type toSetWebhook struct {
	Name string `path:"webhook" maxLength:"32" doc:"name of a webhook: small letters, digits and -"`
	Body api.SetWebhook
}

const webhookTag = "webhooks"

// addWebhooks: they are the server's, whatever namespaces they are about, and who sets one decides where events go.
func (a *API) addWebhooks() {
	if a.cfg.Webhooks == nil {
		return
	}
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/webhooks" + path, Tags: []string{webhookTag}, Summary: summary, Errors: errors}
	}
	route(a, sluice.SeeServer, op("list-webhooks", http.MethodGet, "", "The webhooks, and how they get on"), listWebhooks)
	route(a, sluice.RunServer, op("set-webhook", http.MethodPut, "/{webhook}", "Make or change a webhook", http.StatusConflict), setWebhook)
	route(a, sluice.RunServer, op("remove-webhook", http.MethodDelete, "/{webhook}", "Send a webhook nothing any more", http.StatusNotFound), removeWebhook)
	route(a, sluice.RunServer, op("test-webhook", http.MethodPost, "/{webhook}/test", "Send a webhook an event that is none, once and now",
		http.StatusNotFound, http.StatusConflict), testWebhook)
}

// whole asks for the route's right on the server as a whole.
func (c caller) whole(ctx context.Context) error { return c.ask(ctx, access.Ask{Right: c.right}) }

func (c caller) webhookOf(h webhook.Hook) api.Webhook {
	r := c.api.cfg.Webhooks.Report(h.ID)
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return api.Webhook{ID: h.ID, URL: h.URL, Events: h.Events, Namespaces: h.Namespaces, Form: h.Form, By: h.By, Delivered: r.Delivered,
		Last: at(r.Last), Waiting: at(r.Waiting), Tries: r.Tries, Next: at(r.Next), Error: r.Error}
}

func listWebhooks(ctx context.Context, c caller, _ *struct{}) (*webhookList, error) {
	if err := c.whole(ctx); err != nil {
		return nil, err
	}
	list, err := c.api.cfg.Webhooks.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &webhookList{}
	out.Body.Webhooks = make([]api.Webhook, len(list))
	for i, h := range list {
		out.Body.Webhooks[i] = c.webhookOf(h)
	}
	return out, nil
}

func setWebhook(ctx context.Context, c caller, in *toSetWebhook) (*oneWebhook, error) {
	if err := c.whole(ctx); err != nil {
		return nil, err
	}
	w := sluice.Webhook{ID: sluice.WebhookID(in.Name), URL: in.Body.URL, Events: in.Body.Events, Namespaces: in.Body.Namespaces, Form: in.Body.Form}
	secret, err := c.api.cfg.Webhooks.Set(ctx, w, in.Body.NewSecret, c.Principal)
	if err != nil {
		return nil, err
	}
	// Who set it is handed the secret; nobody ever reads it again.
	out := &oneWebhook{c.webhookOf(webhook.Hook{Webhook: w, By: c.Principal})}
	out.Body.Secret = string(secret.Reveal())
	return out, nil
}

func removeWebhook(ctx context.Context, c caller, in *byWebhook) (*struct{}, error) {
	if err := c.whole(ctx); err != nil {
		return nil, err
	}
	return nil, c.api.cfg.Webhooks.Remove(ctx, sluice.WebhookID(in.ID), c.Principal)
}

func testWebhook(ctx context.Context, c caller, in *byWebhook) (*struct{}, error) {
	if err := c.whole(ctx); err != nil {
		return nil, err
	}
	return nil, c.api.cfg.Webhooks.Test(ctx, sluice.WebhookID(in.ID))
}
