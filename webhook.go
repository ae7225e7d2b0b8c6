package sluice

import "regexp"

// WebhookNamespace is the sequence of events of the server's webhooks, in the log beside those of the namespaces. No fleet
// can be named so.
const WebhookNamespace Namespace = ".webhooks"

// WebhookID names a webhook: 1 to 32 small letters, digits and '-', of which the first is no '-'.
type WebhookID string

var webhookForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// ParseWebhookID checks a name. Names reach file names.
func ParseWebhookID(s string) (WebhookID, error) {
	if !webhookForm.MatchString(s) {
		return "", Errorf(Usage, "%q is no name of a webhook: 1 to 32 small letters, digits and - are, of which the first is no -", s)
	}
	return WebhookID(s), nil
}

// Webhook has events sent to a URL. Its secret is not in the log.
type Webhook struct {
	ID  WebhookID `json:"webhook"`
	URL string    `json:"url"`
	// Events are types such as "job.finished", or their beginnings such as "job.*"; "*" is all.
	Events []string `json:"events"`
	// Namespaces are those whose events are sent; none stands for all.
	Namespaces []Namespace `json:"namespaces,omitzero"`
	// Form is what is sent for an event.
	Form WebhookForm `json:"form,omitzero"`
}

// WebhookForm is what a webhook is sent.
type WebhookForm string

const (
	WebhookEvents     WebhookForm = ""      // the event itself
	WebhookText       WebhookForm = "text"  // a sentence for a chat
	WebhookEventsName             = "event" // how people say WebhookEvents
)

// WebhookSet makes a webhook, or changes it.
type WebhookSet struct {
	Webhook
	By Principal `json:"by"`
}

// WebhookRemoved ends a webhook. What it had not sent yet is not sent any more.
type WebhookRemoved struct {
	ID WebhookID `json:"webhook"`
	By Principal `json:"by"`
}

// WebhookGaveUp says that an event could not be delivered for so long that it is not tried any more.
type WebhookGaveUp struct {
	ID     WebhookID `json:"webhook"`
	In     Namespace `json:"in"`    // namespace of the event
	Event  uint64    `json:"event"` // its number there
	What   string    `json:"what"`  // its type
	Tries  int       `json:"tries"` // by the process that gave it up
	Reason string    `json:"reason"`
}

func (WebhookSet) Type() string     { return "webhook.set" }
func (WebhookRemoved) Type() string { return "webhook.removed" }
func (WebhookGaveUp) Type() string  { return "webhook.gave_up" }
