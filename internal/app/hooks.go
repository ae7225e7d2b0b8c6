package app

import (
	"math/rand/v2"
	"path/filepath"

	"sluice"
	"sluice/internal/adapter/webhookfiles"
	"sluice/internal/adapter/webhookhttp"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/courier"
)

// hooks are the webhooks as the API asks for them.
type hooks struct{ *courier.Courier }

// Report is how a webhook gets on.
func (h hooks) Report(id sluice.WebhookID) httpapi.WebhookReport {
	return httpapi.WebhookReport(h.Courier.Report(id))
}

// courier makes what delivers webhooks. It delivers nothing before it runs.
func (s *Server) courier(log sluice.Log, counted func(result string)) (*courier.Courier, error) {
	files, err := webhookfiles.New(filepath.Join(s.Data, "webhooks"))
	if err != nil {
		return nil, err
	}
	poster, err := webhookhttp.New(webhookhttp.Config{Allow: s.WebhookAllow, HTTP: s.WebhookHTTP, Version: Version})
	if err != nil {
		return nil, err
	}
	return courier.New(courier.Config{Log: log, Files: files, Clock: s.Clock, Post: poster.Post, Insecure: s.WebhookHTTP,
		Chance: rand.Float64, Counted: counted,
		Trouble: func(text string, id sluice.WebhookID) { s.Log.Warn(text, "webhook", id) }}), nil
}
