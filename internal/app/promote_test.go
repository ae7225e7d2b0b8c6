package app_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app"
	"sluice/internal/app/cluster"
	"sluice/internal/front/cli"
)

// heads are the ends of the log of a server that does not run.
func (s *served) heads() []sluice.Head {
	s.t.Helper()
	l, err := sqlitelog.Open(s.t.Context(), sqlitelog.Config{Dir: s.data})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	h, err := l.Heads(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// refusesAppends says why nobody can append to a journal.
func refusesAppends(t *testing.T, dir string) error {
	t.Helper()
	l, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = l.Update(t.Context(), "default", 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: app.Now(), Body: sluice.AccessNoted{Principal: "ann", What: "x"}}}, nil
	})
	return err
}

// runs has a job carried out.
func (s *served) runs(command string) {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Targets: "$web", Command: command})
	if err != nil {
		s.t.Fatal(err)
	}
	if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded {
		s.t.Fatalf("it ended with %+v", b)
	}
}

func local(t *testing.T) *app.Local {
	dir := t.TempDir()
	return &app.Local{Places: app.Places{Home: dir, State: dir, Config: dir}, Env: func(string) string { return "" }, Clock: app.Now}
}

// TestPromote: the log of a server that was alone goes on in a cluster, and in a server that is alone again, with all numbers; what it was
// can be read, and not be appended to. While it runs, nothing of that can be done.
func TestPromote(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	at := twoPorts(t)
	s.start()
	s.apply(localFleet)
	s.runs("echo alone")
	promote := cli.PromoteOptions{Data: s.data, Address: at, Name: "a"}
	if _, err := local(t).Promote(t.Context(), promote); sluice.CodeOf(err) != sluice.Conflict {
		t.Fatalf("a server that runs is promoted: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	was := s.heads()
	done, err := local(t).Promote(t.Context(), promote)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done.Heads, was) {
		t.Errorf("promoted with %v, and it was %v", done.Heads, was)
	}
	if err := refusesAppends(t, done.Before); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("the journal as it was takes an append: %v", err)
	}
	if _, err := local(t).Promote(t.Context(), promote); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("promoted twice: %v", err)
	}
	if err := (&app.Server{Data: s.data, Listen: "127.0.0.1:0", Clock: app.Now, Log: slog.New(slog.DiscardHandler)}).Run(t.Context()); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("it can be alone all the same: %v", err)
	}

	// One that has not begun yet goes back as it came.
	if _, err := local(t).Demote(t.Context(), cli.DemoteOptions{Data: s.data}); err != nil {
		t.Fatalf("back before it began: %v", err)
	}
	if done, err = local(t).Promote(t.Context(), promote); err != nil {
		t.Fatal(err)
	}
	s.set = func(server *app.Server) { server.Cluster = cluster.Config{Address: at, Name: "a"} }
	s.start()
	s.runs("echo in a cluster")
	if _, err := local(t).Demote(t.Context(), cli.DemoteOptions{Data: s.data}); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a server that runs is demoted: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	in := s.heads()
	continues(t, was, in)
	if err := refusesAppends(t, s.data); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("a copy takes an append: %v", err)
	}

	halts := haltsdir.Dir(filepath.Join(s.data, "halts"))
	if err := halts.Put(sluice.KeptHalt{ID: "h1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := local(t).Demote(t.Context(), cli.DemoteOptions{Data: s.data}); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "not appended yet: 1") {
		t.Errorf("a server that keeps a halt goes back: %v", err)
	}
	if err := halts.Remove("h1"); err != nil {
		t.Fatal(err)
	}
	back, err := local(t).Demote(t.Context(), cli.DemoteOptions{Data: s.data})
	if err != nil {
		t.Fatal(err)
	}
	continues(t, in, back.Heads) // another epoch
	s.set = nil
	s.start()
	s.runs("echo alone again")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	continues(t, in, s.heads())
}

// grown is a crowd that begins with a server that was alone, and is promoted; the others join, one after the other. They get what came
// before the cluster from each other, since the engine has none of it.
func grown(t *testing.T, alone *served, names ...sluice.ServerName) *crowd {
	t.Helper()
	c := &crowd{t: t, at: map[sluice.ServerName]string{}, servers: map[sluice.ServerName]*served{}, token: make(chan string, 10), admin: alone.token}
	first := names[0]
	c.at[first] = twoPorts(t)
	if _, err := local(t).Promote(t.Context(), cli.PromoteOptions{Data: alone.data, Address: c.at[first], Name: first}); err != nil {
		t.Fatal(err)
	}
	alone.set = func(server *app.Server) { server.Cluster = cluster.Config{Address: c.at[first], Name: first} }
	alone.start()
	c.names, c.servers[first] = []sluice.ServerName{first}, alone
	c.until(first, "owner")
	for _, name := range names[1:] {
		c.at[name] = twoPorts(t)
		c.join(name)
		c.until(name, "copy")
	}
	return c
}

// TestPromotedGrows: a server that was alone becomes the first of three. The others have all that came before the cluster, also what nobody
// understands; later they go by the log alone.
func TestPromotedGrows(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	s.apply(localFleet)
	s.runs("echo alone")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s.journal(sluice.DefaultNamespace, sluice.Event{Time: app.Now(), Body: novelty{"blue"}})
	c := grown(t, s, "a", "b", "c")
	c.servers["b"].runs("echo in a cluster")
	for _, name := range []sluice.ServerName{"c", "b", "a"} {
		if err := c.servers[name].stop(); err != nil {
			t.Fatal(err)
		}
		events := journalOf(t, c.servers[name].data, sluice.DefaultNamespace)
		if i := slices.IndexFunc(events, func(e sluice.Event) bool { return e.Body.Type() == (novelty{}).Type() }); i < 0 {
			t.Errorf("%s does not have what was there before the cluster: %d events", name, len(events))
		} else if b, err := json.Marshal(events[i]); err != nil || !strings.Contains(string(b), `"colour":"blue"`) {
			t.Errorf("%s has it as %s, error %v", name, b, err)
		}
		verified(t, c.servers[name].data)
		if seat, err := os.ReadFile(filepath.Join(c.servers[name].data, "cluster.json")); err != nil || strings.Contains(string(seat), `"others"`) {
			t.Errorf("%s goes by those that let it in, for ever: %s, error %v", name, seat, err)
		}
	}
}

// continues says whether a log has all that it had, and more.
func continues(t *testing.T, was, now []sluice.Head) {
	t.Helper()
	more := false
	for _, h := range was {
		i := slices.IndexFunc(now, func(n sluice.Head) bool { return n.Namespace == h.Namespace })
		if i < 0 || now[i].Seq < h.Seq {
			t.Errorf("%s had %d events: %v", h.Namespace, h.Seq, now)
			continue
		}
		more = more || now[i].Seq > h.Seq
	}
	if !more {
		t.Errorf("nothing was appended to %v", was)
	}
}

// TestRecover: what one server has of a cluster goes on in a new epoch, halted; and the data of the engine are out of the way.
func TestRecover(t *testing.T) {
	for _, alone := range []bool{false, true} {
		s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
		s.start()
		s.apply(localFleet)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		at := twoPorts(t)
		if _, err := local(t).Promote(t.Context(), cli.PromoteOptions{Data: s.data, Address: at, Name: "a"}); err != nil {
			t.Fatal(err)
		}
		inCluster := func(server *app.Server) { server.Cluster = cluster.Config{Address: at, Name: "a"} }
		s.set = inCluster
		s.start()
		gate := filepath.Join(t.TempDir(), "gate")
		j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "until test -e " + gate + "; do sleep 0.05; done"})
		if err != nil {
			t.Fatal(err)
		}
		s.until(j.ID, func(e sluice.Event) bool { _, is := e.Body.(sluice.TaskStarted); return is })
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		was := s.heads()
		done, err := local(t).Recover(t.Context(), cli.RecoverOptions{Data: s.data, Alone: alone})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(done.Halted, []sluice.JobID{j.ID}) || done.Epoch == 0 {
			t.Errorf("recovered %+v", done)
		}
		if s.set = inCluster; alone {
			s.set = nil
		}
		s.start()
		v, err := s.client.Job(t.Context(), string(j.ID))
		if err != nil || v.State != "halted" {
			t.Errorf("the job is %+v, error %v", v.State, err)
		}
		s.apply(strings.Replace(localFleet, "1-4", "1-5", 1))
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		continues(t, was, s.heads())
	}
}

// TestDemoteElsewhere: a server whose log is in an etcd that others run is alone again, when it is the only one and has all of the log, and
// leaves nothing there; what others keep in that etcd stays. Then the same etcd can be used anew.
func TestDemoteElsewhere(t *testing.T) {
	engine := existing(t)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{engine}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if _, err := etcd.Put(t.Context(), "/others/x", "y"); err != nil {
		t.Fatal(err)
	}
	keys := func() (out []string) {
		t.Helper()
		got, err := etcd.Get(t.Context(), "/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range got.Kvs {
			out = append(out, string(kv.Key))
		}
		return out
	}
	c := newCrowdOn(t, func(server *app.Server) { server.Cluster.Engine.Endpoints = []string{engine} }, "a", "b")
	a, b := c.servers["a"], c.servers["b"]
	a.apply(localFleet)
	a.runs("echo in a cluster")
	demote := cli.DemoteOptions{Data: a.data, Engine: cli.EngineOptions{URLs: []string{engine}}}
	refused := func(what string, o cli.DemoteOptions, code sluice.Code, says string) {
		t.Helper()
		if _, err := local(t).Demote(t.Context(), o); sluice.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("while it runs", demote, sluice.Conflict, "a server runs on")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	c.names = []sluice.ServerName{"b"}
	c.until("b", "owner")
	refused("another one owns the log", demote, sluice.Conflict, "the server b, at "+c.at["b"]+", owns the log now")
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	refused("another one is a member", demote, sluice.Conflict, "the cluster has other servers, too: b")
	a.start()
	c.names = []sluice.ServerName{"a"}
	c.until("a", "owner")
	if err := a.client.RemoveServer(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	refused("it is not said where the log is", cli.DemoteOptions{Data: a.data}, sluice.Config, "an etcd elsewhere")
	other := existing(t)
	refused("another etcd", cli.DemoteOptions{Data: a.data, Engine: cli.EngineOptions{URLs: []string{other}}}, sluice.Contact, "lost")
	in := a.heads()
	if n := len(keys()); n < 4 {
		t.Errorf("the log is not there: %q", keys())
	}
	back, err := local(t).Demote(t.Context(), demote)
	if err != nil {
		t.Fatal(err)
	}
	continues(t, in, back.Heads) // another epoch
	if got := keys(); !slices.Equal(got, []string{"/others/x"}) {
		t.Errorf("left in the etcd: %q", got)
	}
	a.set = nil
	a.start()
	a.runs("echo alone again")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	continues(t, in, a.heads())

	// It goes back there. A command that is killed at its end is given again.
	at := twoPorts(t)
	if _, err := local(t).Promote(t.Context(), cli.PromoteOptions{Data: a.data, Address: at, Name: "a"}); err != nil {
		t.Fatal(err)
	}
	a.set = func(server *app.Server) {
		server.Cluster = cluster.Config{Address: at, Name: "a"}
		server.Cluster.Engine.Endpoints = []string{engine}
	}
	a.start()
	a.runs("echo in a cluster again")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	seat, err := os.ReadFile(filepath.Join(a.data, "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local(t).Demote(t.Context(), demote); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.data, "cluster.json"), seat, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local(t).Demote(t.Context(), demote); err != nil {
		t.Errorf("given again: %v", err)
	}
	a.set = nil
	a.start()
	a.runs("true")
}

// TestBackupOfACluster: a backup of one of its servers becomes a server that is alone, and that one the first of another cluster.
func TestBackupOfACluster(t *testing.T) {
	c := newCrowd(t, "a")
	a := c.servers["a"]
	a.apply(localFleet)
	a.runs("echo kept")
	kept := a.backup("a passphrase")
	r := &served{t: t, data: filepath.Join(t.TempDir(), "data"), token: a.token}
	if _, err := a.local().Restore(t.Context(), cli.RestoreOptions{Data: r.data, In: bytes.NewReader(kept), Passphrase: word("a passphrase")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cluster.json", "etcd", "journal.copy", "servers-ca.pem", "certificates"} {
		if _, err := os.Stat(filepath.Join(r.data, name)); !os.IsNotExist(err) {
			t.Errorf("%s was restored, too: %v", name, err)
		}
	}
	r.start()
	r.runs("true")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	at := twoPorts(t)
	if _, err := local(t).Promote(t.Context(), cli.PromoteOptions{Data: r.data, Address: at, Name: "z"}); err != nil {
		t.Fatal(err)
	}
	r.set = func(server *app.Server) { server.Cluster = cluster.Config{Address: at, Name: "z"} }
	r.start()
	r.runs("true")
	got, err := r.client.Cluster(t.Context())
	if err != nil || len(got.Members) != 1 || got.Members[0].Name != "z" {
		t.Errorf("the servers are %+v, error %v", got.Members, err)
	}
}
