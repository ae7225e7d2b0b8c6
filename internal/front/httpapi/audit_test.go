package httpapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/access"
	"sluice/internal/core/audit"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/rights"
)

// noRecords are the chains of a log that has none.
type noRecords struct{}

func (noRecords) Records(context.Context, map[sluice.Namespace]uint64, func(sluice.Record) error) error {
	return nil
}
func (noRecords) Heads(context.Context) ([]sluice.Head, error) { return nil, nil }
func (noRecords) HashAt(context.Context, sluice.Namespace, uint64) (h sluice.ChainHash, ok bool, err error) {
	return h, false, nil
}

// headsOf show what they are given, and keep what they are handed.
type headsOf struct {
	show []sluice.SeenHead
	got  []sluice.SeenHead
	from string
}

func (h *headsOf) Heads(context.Context) ([]sluice.SeenHead, error) { return slices.Clone(h.show), nil }
func (h *headsOf) Witness(_ context.Context, from string, heads []sluice.SeenHead) error {
	h.got, h.from = heads, from
	return nil
}
func (h *headsOf) Standing(context.Context) (api.Standing, error) {
	return api.Standing{Epoch: 3, Unfit: h.got}, nil
}
func (h *headsOf) Repair(_ context.Context, by, reason string) (sluice.LogRepaired, error) {
	return sluice.LogRepaired{Epoch: 4, By: by, Reason: reason}, nil
}

// onDisk puts a real journal behind the API.
func onDisk(t *testing.T) (w *world, heads *headsOf) {
	w = newWorld(t)
	journal, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = journal.Close() })
	w.service.Log = journal
	if w.keeper, err = rights.New(t.Context(), journal, clock); err != nil {
		t.Fatal(err)
	}
	secret, err := w.keeper.First(t.Context(), "root", "")
	if err != nil {
		t.Fatal(err)
	}
	if w.admin, err = w.keeper.Login(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	heads = &headsOf{show: []sluice.SeenHead{{Head: sluice.Head{Namespace: "lab", Seq: 1}}, {Head: sluice.Head{Namespace: "prod", Seq: 2}, Epoch: 1, Sign: "ab"},
		{Head: sluice.Head{Namespace: sluice.AccessNamespace, Seq: 3}}}}
	w.api = httpapi.New(httpapi.Config{Desk: func(p sluice.Principal) *control.Service { return w.service.As(string(p)) }, Rights: w.keeper, Clock: hours(),
		Trouble: func(text string) { t.Errorf("trouble: %s", text) }, Chains: journal, Trail: journal, Keeping: w.keeper, Heads: heads, Version: "test",
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			return func(tag sluice.Tag) []sluice.Host { return w.fleet.Tags[tag] }, nil
		}})
	w.server.Close()
	w.server = httptest.NewServer(w.api)
	t.Cleanup(w.server.Close)
	return w, heads
}

// Whoever exports proves what comes, and reads who did what, this export included.
func TestExport(t *testing.T) {
	w, _ := onDisk(t)
	job := w.submit("web1", "web2")
	auditor := w.client(w.token("eve", sluice.Grant{Role: access.Admin}))
	if _, err := auditor.HaltAll(t.Context(), "", "the house burns"); err != nil {
		t.Fatal(err)
	}
	proof, err := audit.New()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	err = auditor.Records(t.Context(), func(r sluice.Record) error {
		events, err := proof.Add(r)
		for _, e := range events {
			if entry, ok := audit.Of(r.Namespace, e); ok {
				lines = append(lines, entry.String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{"eve  GET /api/v1/audit/records  from 127.0.0.1", "eve  job " + string(job) + "  halted it: the house burns",
		"ann  job " + string(job) + "  submitted \"true\" for 2 hosts", "root  gave eve the role admin"} {
		if !strings.Contains(all, want) {
			t.Errorf("nowhere %q in\n%s", want, all)
		}
	}
	stop := errors.New("enough")
	if err := auditor.Records(t.Context(), func(sluice.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
	if j, err := auditor.Job(t.Context(), string(job)); err != nil || j.State != "halted" || j.Halted.Rule != sluice.RuleOperator {
		t.Errorf("%+v, error %v", j, err)
	}
}

// Heads go to whoever may see something in their namespace; what is handed back comes with a name.
func TestHeads(t *testing.T) {
	w, heads := onDisk(t)
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	got, err := ann.HandBack(t.Context(), heads.show[1:2])
	if err != nil || !slices.Equal(got, heads.show[1:]) {
		t.Errorf("shown %v, error %v", got, err)
	}
	if !slices.Equal(heads.got, heads.show[1:2]) || !strings.HasPrefix(heads.from, "ann at 127.0.0.1:") {
		t.Errorf("handed %v from %q", heads.got, heads.from)
	}
	if _, err := ann.Standing(t.Context()); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("the standing: %v", err)
	}
	if _, err := ann.Repair(t.Context(), "r"); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a repair: %v", err)
	}
	root := w.client(w.token("admin", sluice.Grant{Role: access.Admin}))
	if s, err := root.Standing(t.Context()); err != nil || s.Epoch != 3 || len(s.Unfit) != 1 {
		t.Errorf("%+v, error %v", s, err)
	}
	if r, err := root.Repair(t.Context(), "a disk was lost"); err != nil || r.By != "admin" || r.Epoch != 4 {
		t.Errorf("%+v, error %v", r, err)
	}
	if got, err := root.HandBack(t.Context(), nil); err != nil || len(got) != 3 {
		t.Errorf("shown %v, error %v", got, err)
	}
}
