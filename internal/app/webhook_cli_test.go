package app_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/front/cli"
)

// TestWebhookCommands: what a person types, against a real server and a real receiver.
func TestWebhookCommands(t *testing.T) {
	hook, hookURL := receive(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), set: func(a *app.Server) {
		a.WebhookAllow, a.WebhookHTTP = []string{"127.0.0.1"}, true
	}}
	s.start()
	run := func(args ...string) (status int, out, errs string) {
		var stdout, stderr bytes.Buffer
		status = cli.Main(context.Background(), cli.World{Args: append([]string{"webhook"}, args...),
			Env: func(name string) string {
				return map[string]string{"SLUICE_SERVER": "http://" + s.address, "SLUICE_TOKEN": s.token}[name]
			},
			Stdout: &stdout, Stderr: &stderr, Clock: app.Now,
			Client: func(cli.Server) (*client.Client, func() error, error) {
				return s.client, func() error { return nil }, nil
			}})
		return status, stdout.String(), stderr.String()
	}
	for _, c := range []struct {
		args   string
		status int
		says   string // of both
	}{
		{"list", 0, "There are no webhooks"},
		{"set chat " + hookURL + "/in --events job.* --namespace default", 0, "shown this once:\n  slwh_"},
		{"set chat " + hookURL + "/in --events job.*", 0, "Set chat.\nNext: sluice webhook test chat"},
		{"test chat", 0, "chat took it."},
		{"list", 0, "has all"},
		{"list -o json", 0, `"webhook":"chat"`},
		{"set room " + hookURL + "/room --form text", 0, "Set room."},
		{"test room", 0, "room took it."},
		{"list -o json", 0, `"form":"text"`},
		{"list", 0, "job.submitted,job.halted,job.finished,gate.waiting (text)"},
		{"set room " + hookURL + "/room --form text --events *", 2, "of what happens to jobs"},
		{"set room " + hookURL + "/room --form xml", 2, `body.form expected value to be one of "text"`},
		{"set Chat https://x/", 2, "no name of a webhook"},
		{"set chat ftp://x/", 2, "by https"},
		{"set other http://10.0.0.1/", 0, "slwh_"},
		{"test other", 2, "where this server sends nothing"},
		{"test nobody", 2, `there is no webhook "nobody"`},
		{"remove chat", 0, "Removed chat."},
		{"remove", 2, "takes the name of a webhook"},
	} {
		status, out, errs := run(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("webhook %s: status %d, %s%s", c.args, status, out, errs)
		}
	}
	if got := hook.String(); !strings.Contains(got, "webhook.test") || !strings.Contains(got, `{"text":"Sluice tries the webhook room, and nothing has happened."}`) {
		t.Errorf("the receiver got %s", hook)
	}
}
