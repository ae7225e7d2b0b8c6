package api

import (
	"time"

	"sluice"
)

// Webhook has events sent to a URL, and how that gets on.
type Webhook struct {
	ID         sluice.WebhookID   `json:"webhook"`
	URL        string             `json:"url"`
	Events     []string           `json:"events" doc:"types such as job.finished, or their beginnings such as job.*"`
	Namespaces []sluice.Namespace `json:"namespaces,omitempty" doc:"none: all"`
	Form       sluice.WebhookForm `json:"form,omitempty" doc:"text: a sentence for a chat is sent in the place of the event"`
	By         sluice.Principal   `json:"by" doc:"who set it last"`
	// Secret is shown once: when it is new.
	Secret    string     `json:"secret,omitempty" doc:"what signatures are checked with; only when it is new"`
	Delivered int        `json:"delivered" doc:"events that it has taken since the server started"`
	Last      *time.Time `json:"last,omitempty" doc:"when it took one last, since the server started"`
	Waiting   *time.Time `json:"waiting,omitempty" doc:"time of the oldest event that it has not taken"`
	Tries     int        `json:"tries,omitempty" doc:"of that event"`
	Next      *time.Time `json:"next,omitempty" doc:"when it is tried again"`
	Error     string     `json:"error,omitempty" doc:"of the last try"`
}

// SetWebhook asks for a webhook.
type SetWebhook struct {
	URL        string             `json:"url" minLength:"1" maxLength:"2000"`
	Events     []string           `json:"events" minItems:"1" maxItems:"50" doc:"types such as job.finished, or their beginnings such as job.*"`
	Namespaces []sluice.Namespace `json:"namespaces,omitempty" maxItems:"100" doc:"none: all"`
	Form       sluice.WebhookForm `json:"form,omitempty" enum:"text" doc:"text: a sentence for a chat is sent in the place of the event; then events are of jobs and gates only"`
	NewSecret  bool               `json:"new_secret,omitempty" doc:"make another secret in place of the one that there is"`
}
