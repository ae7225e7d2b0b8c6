package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
)

// HostKeys are those that the server's own worker knows hosts by.
type HostKeys interface {
	// Ask asks a host for its key, and does not log in. An error says why there is none that could be added.
	Ask(ctx context.Context, h sluice.Host, s sluice.SSH) (api.HostKey, error)
	// Add makes a key known, and none in place of another. Before it does, first is handed what will be known; an error of
	// it ends there. Then is handed what is known; an error of it makes it unknown again. Neither is called for a key that is
	// known already.
	Add(ctx context.Context, s sluice.SSH, key api.PublicKey, first, then func(api.HostKey) error) (api.HostKey, error)
}

// keysAtOnce is how many hosts are asked for their keys at once, whoever asks.
const keysAtOnce = 16

type toAskKeys struct{ Body api.AskHostKeys }

type toAddKeys struct{ Body api.AddHostKeys }

type hostKeyList struct {
	Body struct {
		Keys []api.HostKey `json:"keys" doc:"one for each host, in their order"`
	}
}

// addHostKeys: which keys the server trusts is about the server as a whole, as who its workers are.
func (a *API) addHostKeys() {
	op := func(id, path, summary, text string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/api/v1/hosts/keys" + path, Tags: []string{"hosts"}, Summary: summary,
			Description: text, MaxBodyBytes: fleet.MaxBundle + maxBody}
	}
	route(a, sluice.RunServer, op("ask-host-keys", "", "Ask hosts for their keys",
		"The server asks, without logging in, and adds none. It is about hosts that the server's own worker reaches."), askKeys)
	route(a, sluice.RunServer, op("add-host-keys", "/add", "Know hosts by these keys from now on",
		"They go to the known_hosts of the user that the server runs as. A key that differs from a known one is never put in its place; one that is revoked or weak is refused. Each is in the audit before it is added, and again when it is, which has all servers of a cluster trust it: where that cannot be, it ends there, and the key is not trusted."), addKeys)
}

// keys asks for the route's right, and finds the fleet that says how hosts are reached.
func (c caller) keys(ctx context.Context, ns sluice.Namespace, sent any, hosts []string) (sluice.Namespace, *sluice.Fleet, error) {
	if err := c.whole(ctx); err != nil {
		return ns, nil, err
	}
	if c.api.cfg.HostKeys == nil {
		return ns, nil, sluice.Errorf(sluice.Config, "this server knows no hosts by their keys")
	}
	for _, h := range hosts {
		if !sluice.ValidHost(h) {
			return ns, nil, sluice.Errorf(sluice.Usage, "%q is no name of a host", h)
		}
	}
	desk := c.desk()
	loaded, _, given, err := c.loaded(ctx, desk, api.Submit{Namespace: ns, Fleet: sent, Targets: strings.Join(hosts, ",")})
	if err != nil {
		return ns, nil, err
	}
	f := loaded.Fleet()
	switch {
	case ns == "":
		ns = f.Namespace
	case given != nil && f.Namespace != ns:
		return ns, nil, sluice.Errorf(sluice.Usage, "namespace: the fleet is for %s, not for %s", f.Namespace, ns)
	}
	_, err = c.bound(ctx, desk, ns, given)
	return ns, f, err
}

func askKeys(ctx context.Context, c caller, in *toAskKeys) (*hostKeyList, error) {
	names := make([]string, len(in.Body.Hosts))
	for i, h := range in.Body.Hosts {
		names[i] = string(h)
	}
	_, f, err := c.keys(ctx, in.Body.Namespace, in.Body.Fleet, names)
	if err != nil {
		return nil, err
	}
	out := &hostKeyList{}
	out.Body.Keys = make([]api.HostKey, len(in.Body.Hosts))
	var asking sync.WaitGroup
	for i, h := range in.Body.Hosts {
		asking.Go(func() { out.Body.Keys[i] = c.askKey(ctx, h, f.SSHFor(h)) })
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, sluice.Errorf(sluice.Contact, "the server is about to stop")
	}
	return out, nil
}

// askKey waits for its turn.
func (c caller) askKey(ctx context.Context, h sluice.Host, s sluice.SSH) api.HostKey {
	select {
	case c.api.asking <- struct{}{}:
	case <-ctx.Done():
		return api.HostKey{Host: h, Error: ctx.Err().Error()}
	}
	defer func() { <-c.api.asking }()
	key, err := c.api.cfg.HostKeys.Ask(ctx, h, s)
	if err != nil {
		return api.HostKey{Host: h, Error: err.Error()}
	}
	return key
}

func addKeys(ctx context.Context, c caller, in *toAddKeys) (*hostKeyList, error) {
	names := make([]string, len(in.Body.Keys))
	for i, k := range in.Body.Keys {
		names[i] = string(k.Host)
	}
	ns, f, err := c.keys(ctx, in.Body.Namespace, in.Body.Fleet, names)
	if err != nil {
		return nil, err
	}
	// A log that went backwards may give rights that were taken back: whom to trust is not for now.
	if err := c.api.cfg.Ready(ctx); err != nil {
		return nil, &sluice.Error{Code: sluice.Contact, Text: "no key is added now", Err: err}
	}
	out := &hostKeyList{}
	for _, k := range in.Body.Keys {
		added, err := c.addKey(ctx, ns, f.SSHFor(k.Host), k)
		if err != nil {
			return nil, err
		}
		out.Body.Keys = append(out.Body.Keys, added)
	}
	return out, nil
}

// addKey adds a key that is on record. The error is that it cannot be. The other servers of a cluster trust what the record has as a key: so
// it has none before this server could keep it.
func (c caller) addKey(ctx context.Context, ns sluice.Namespace, s sluice.SSH, k api.PublicKey) (api.HostKey, error) {
	note := c.note(ns)
	var unnoted error
	noted := false
	added, err := c.api.cfg.HostKeys.Add(ctx, s, k, func(learned api.HostKey) error {
		note.What = fmt.Sprintf("learned the key of %s: %s %s", k.Host, learned.Type, learned.Fingerprint)
		unnoted = c.api.cfg.Rights.Note(ctx, note)
		noted = unnoted == nil
		return unnoted
	}, func(learned api.HostKey) error {
		trusted := note
		trusted.What = fmt.Sprintf("had the servers trust the key of %s: %s %s", k.Host, learned.Type, learned.Fingerprint)
		trusted.Key = &sluice.LearnedKey{Host: k.Host, SSH: s, Type: learned.Type, Key: k.Key}
		unnoted = c.api.cfg.Rights.Note(ctx, trusted)
		return unnoted
	})
	if err == nil {
		return added, nil
	}
	if noted { // the record must not say what is not so
		note.Refused = err.Error()
		if err := c.api.cfg.Rights.Note(ctx, note); err != nil {
			return added, err
		}
	}
	if unnoted != nil {
		return added, unnoted
	}
	return api.HostKey{Host: k.Host, Type: k.Type, Error: err.Error()}, nil
}
