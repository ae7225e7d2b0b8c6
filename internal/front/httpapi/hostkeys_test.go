package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// keyring knows hosts by keys. The zero value shows one of each, and keeps what it is given.
type keyring struct {
	mu         sync.Mutex
	live, most int
	came       chan sluice.Host // nil: nobody waits
	goOn       chan struct{}
	added      []sluice.Host
	full       error  // it is in the way after the record was made
	adds       func() // called when one is added
}

func (k *keyring) Ask(ctx context.Context, h sluice.Host, _ sluice.SSH) (api.HostKey, error) {
	k.mu.Lock()
	k.live++
	k.most = max(k.most, k.live)
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.live--
		k.mu.Unlock()
	}()
	if k.came != nil {
		k.came <- h
		<-k.goOn
	}
	if h == "gone" {
		return api.HostKey{}, errors.New("it does not answer")
	}
	return api.HostKey{Host: h, Address: "[" + string(h) + "]:22", Type: "ssh-ed25519", Key: []byte("of " + h), Fingerprint: "SHA256:" + string(h), State: "new"}, nil
}

func (k *keyring) Add(_ context.Context, _ sluice.SSH, key api.PublicKey, first, then func(api.HostKey) error) (api.HostKey, error) {
	out := api.HostKey{Host: key.Host, Type: key.Type, Key: key.Key, Fingerprint: "SHA256:" + string(key.Host), State: "known"}
	switch string(key.Key) {
	case "known":
		return out, nil
	case "changed":
		return api.HostKey{}, errors.New("THE HOST KEY HAS CHANGED")
	}
	if err := first(out); err != nil {
		return api.HostKey{}, err
	}
	if k.full != nil {
		return api.HostKey{}, k.full
	}
	k.added = append(k.added, key.Host)
	if k.adds != nil {
		k.adds()
	}
	out.State = "added"
	if err := then(out); err != nil {
		k.added = k.added[:len(k.added)-1]
		return api.HostKey{}, err
	}
	return out, nil
}

// learned are the entries of the audit about keys.
func (w *world) learned() (out []string) {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), sluice.AccessNamespace, 0, 10000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if n, ok := e.Body.(sluice.AccessNoted); ok && strings.HasPrefix(n.What, "learned") {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s in %s by %s %s", n.Right, n.What, n.Namespace, n.Principal, n.Refused)))
		}
	}
	return out
}

// trusted are the hosts whose keys all servers trust by the log.
func (w *world) trusted() (out []sluice.Host) {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), sluice.AccessNamespace, 0, 10000)
	must(w.t, err)
	for _, e := range events {
		if n, ok := e.Body.(sluice.AccessNoted); ok && n.Key != nil {
			out = append(out, n.Key.Host)
		}
	}
	return out
}

func keysOf(keys ...string) (out []api.PublicKey) {
	for i, k := range keys {
		out = append(out, api.PublicKey{Host: sluice.Host(fmt.Sprintf("web%d", i+1)), Type: "ssh-ed25519", Key: []byte(k)})
	}
	return out
}

// TestHostKeys: hosts are asked for keys, which changes nothing; what is added is on record before it is.
func TestHostKeys(t *testing.T) {
	k := &keyring{}
	w := newWorldWith(t, func(c *httpapi.Config) { c.HostKeys = k })
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	asked, err := ann.AskHostKeys(t.Context(), api.AskHostKeys{Namespace: "prod", Hosts: []sluice.Host{"web1", "gone", "web2"}})
	must(t, err)
	if asked[0].State != "new" || asked[0].Fingerprint != "SHA256:web1" || string(asked[2].Key) != "of web2" || asked[1].Host != "gone" || asked[1].Error != "it does not answer" {
		t.Errorf("%+v", asked)
	}
	if len(k.added)+len(w.learned()) > 0 {
		t.Errorf("asking added %v, and noted %q", k.added, w.learned())
	}
	k.adds = func() {
		if is := w.learned(); len(is) != len(k.added) {
			t.Errorf("when %v are added, the audit has %q", k.added, is)
		}
		if is := w.trusted(); len(is) != len(k.added)-1 {
			t.Errorf("when %v are added, those of %q are trusted by all servers", k.added, is)
		}
	}
	added, err := ann.AddHostKeys(t.Context(), api.AddHostKeys{Namespace: "prod", Keys: keysOf("one", "known", "changed", "four")})
	must(t, err)
	var states []string
	for _, a := range added {
		states = append(states, string(a.Host)+" "+a.State+a.Error)
	}
	if want := []string{"web1 added", "web2 known", "web3 THE HOST KEY HAS CHANGED", "web4 added"}; !slices.Equal(states, want) {
		t.Errorf("%q", states)
	}
	want := []string{"server.run learned the key of web1: ssh-ed25519 SHA256:web1 in prod by ann", "server.run learned the key of web4: ssh-ed25519 SHA256:web4 in prod by ann"}
	if got := w.learned(); !slices.Equal(got, want) {
		t.Errorf("the audit has %q", got)
	}

	if got := w.trusted(); !slices.Equal(got, []sluice.Host{"web1", "web4"}) {
		t.Errorf("all servers trust those of %q", got)
	}

	// What was noted and did not come to be is noted, too, and no server trusts it.
	k.full = errors.New("the disk is full")
	added, err = ann.AddHostKeys(t.Context(), api.AddHostKeys{Keys: keysOf("one")})
	if err != nil || !strings.Contains(added[0].Error, "full") {
		t.Errorf("%+v, error %v", added, err)
	}
	if got := w.learned(); len(got) != 4 || got[3] != "server.run learned the key of web1: ssh-ed25519 SHA256:web1 in default by ann the disk is full" {
		t.Errorf("the audit has %q", got)
	}
	if got := w.trusted(); len(got) != 2 {
		t.Errorf("all servers trust those of %q", got)
	}
}

// unnoted are rights that can take no notes.
type unnoted struct{ httpapi.Rights }

func (unnoted) Note(context.Context, sluice.AccessNoted) error {
	return sluice.Errorf(sluice.Conflict, "the log is full")
}

// keyless are rights that take no note with a key.
type keyless struct{ httpapi.Rights }

func (k keyless) Note(ctx context.Context, n sluice.AccessNoted) error {
	if n.Key != nil {
		return sluice.Errorf(sluice.Conflict, "the log is full")
	}
	return k.Rights.Note(ctx, n)
}

// TestHostKeysAreOnRecordOrNotAdded: no key is trusted that the log does not have, or while the log is not to be relied on.
func TestHostKeysAreOnRecordOrNotAdded(t *testing.T) {
	for name, set := range map[string]func(*httpapi.Config){
		"full":    func(c *httpapi.Config) { c.Rights = unnoted{c.Rights} },
		"full by": func(c *httpapi.Config) { c.Rights = keyless{c.Rights} },
		"alarm": func(c *httpapi.Config) {
			c.Ready = func(context.Context) error { return errors.New("the log went backwards") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keyring{}
			w := newWorldWith(t, func(c *httpapi.Config) { c.HostKeys = k; set(c) })
			ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
			_, err := ann.AddHostKeys(t.Context(), api.AddHostKeys{Keys: keysOf("one", "two")})
			if sluice.CodeOf(err) == "" || !strings.Contains(err.Error(), "the log") || len(k.added) > 0 {
				t.Errorf("error %v, %v are added", err, k.added)
			}
			if got := w.learned(); name == "full by" && (len(got) != 2 || !strings.HasSuffix(got[1], "the log is full")) {
				t.Errorf("the audit has %q", got)
			}
		})
	}
}

// TestHostKeysAFewAtOnce: however many ask, so many hosts are asked at once and no more.
func TestHostKeysAFewAtOnce(t *testing.T) {
	const atOnce, each = 16, 30
	k := &keyring{came: make(chan sluice.Host), goOn: make(chan struct{})}
	w := newWorldWith(t, func(c *httpapi.Config) { c.HostKeys = k })
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	var hosts []sluice.Host
	for i := range each {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			keys, err := ann.AskHostKeys(t.Context(), api.AskHostKeys{Hosts: hosts})
			if err != nil || keys[each-1].Host != hosts[each-1] {
				t.Errorf("%+v, error %v", keys, err)
			}
		})
	}
	for range atOnce {
		<-k.came
	}
	for range 20 { // meanwhile whoever would come too early has come
		if _, err := ann.Me(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 2*each - atOnce {
		k.goOn <- struct{}{}
		<-k.came
	}
	for range atOnce {
		k.goOn <- struct{}{}
	}
	asking.Wait()
	if k.most != atOnce {
		t.Errorf("%d at once", k.most)
	}
}

// TestHostKeysAsk: what is wrong with a request is said before any host is asked.
func TestHostKeysAsk(t *testing.T) {
	w := newWorldWith(t, func(c *httpapi.Config) { c.HostKeys = nil })
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	_, err := ann.AskHostKeys(t.Context(), api.AskHostKeys{Hosts: []sluice.Host{"web1"}})
	wantCode(t, "a server without any", err, sluice.Config)
	w = newWorld(t)
	ann = w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	_, err = ann.AskHostKeys(t.Context(), api.AskHostKeys{Hosts: []sluice.Host{"-oProxyCommand=id"}})
	wantCode(t, "no name", err, sluice.Usage)
	_, err = ann.AddHostKeys(t.Context(), api.AddHostKeys{Keys: []api.PublicKey{{Host: "web[1-2]", Type: "ssh-ed25519", Key: []byte("x")}}})
	wantCode(t, "an expression", err, sluice.Usage)
	_, err = ann.AskHostKeys(t.Context(), api.AskHostKeys{Hosts: slices.Repeat([]sluice.Host{"web1"}, 201)})
	wantCode(t, "too many", err, sluice.Usage)
}

// TestHostKeysByAFleetOfOnesOwn: who sends a fleet says where the server connects to, which takes the right to apply one.
func TestHostKeysByAFleetOfOnesOwn(t *testing.T) {
	k := &keyring{}
	w := newWorldWith(t, func(c *httpapi.Config) { c.HostKeys = k })
	must(t, w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: "runner", May: []sluice.Right{sluice.RunServer}, By: "root"}))
	bob := w.client(w.token("bob", sluice.Grant{Role: "runner"}))
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	own := bundle(t, "namespace: prod\nhost: {web1: {address: 192.0.2.1}}\n")
	ask := api.AskHostKeys{Fleet: own, Hosts: []sluice.Host{"web1"}}
	_, err := bob.AskHostKeys(t.Context(), ask)
	wantCode(t, "bob asks by a fleet of his own", err, sluice.Denied)
	add := api.AddHostKeys{Fleet: own, Keys: keysOf("one")}
	_, err = bob.AddHostKeys(t.Context(), add)
	wantCode(t, "bob adds by a fleet of his own", err, sluice.Denied)
	if len(k.added) > 0 {
		t.Errorf("%v are added", k.added)
	}
	_, err = bob.AskHostKeys(t.Context(), api.AskHostKeys{Namespace: "prod", Hosts: ask.Hosts})
	must(t, err)
	_, err = ann.AskHostKeys(t.Context(), ask)
	must(t, err)
	_, err = ann.AddHostKeys(t.Context(), add)
	must(t, err)
	if got := w.learned(); len(got) != 1 || !strings.Contains(got[0], "in prod by ann") {
		t.Errorf("the audit has %q", got)
	}
	ask.Namespace = "lab"
	_, err = ann.AskHostKeys(t.Context(), ask)
	wantCode(t, "a fleet for another namespace", err, sluice.Usage)
}
