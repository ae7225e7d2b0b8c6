package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

// Servers are those of the cluster. It is asked as [Workers] is; what differs is that there is nothing to drain: who owns the log hands it
// on by itself when it ends.
type Servers interface {
	List(ctx context.Context) (api.Cluster, error)
	// Invite lets a server join, in place of a member where replaces is not "".
	Invite(ctx context.Context, by sluice.Principal, name, replaces sluice.ServerName) (api.ServerInvitation, error)
	Remove(ctx context.Context, by sluice.Principal, name sluice.ServerName) error
}

// Halts keeps halts while there is no contact with a majority of the cluster.
type Halts interface {
	// Keep keeps a halt, durably; id, server and time of it are the keeper's. Who may halt was asked before.
	Keep(ctx context.Context, h sluice.KeptHalt) (sluice.KeptHalt, error)
	// All are those that are kept here and not appended yet.
	All() []sluice.KeptHalt
}

type cluster struct{ Body api.Cluster }

// ByServer names a server of the cluster.
type ByServer struct {
	Name string `path:"name" maxLength:"63" doc:"name of a server of the cluster"`
}

type toInviteServer struct {
	ByServer
	Body struct {
		Replaces string `json:"replaces,omitempty" maxLength:"63" doc:"the member that is removed when this one joins"`
	}
}

type serverInvitation struct{ Body api.ServerInvitation }

func (a *API) addCluster() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/servers" + path, Tags: []string{serverTag}, Summary: summary, Errors: errors}
	}
	route(a, sluice.SeeServer, op("list-servers", http.MethodGet, "", "The servers of the cluster: who owns the log, who has how much of it"), listServers)
	route(a, sluice.RunServer, op("invite-server", http.MethodPost, "/{name}/invite", "Let a server join the cluster, also in place of another",
		http.StatusNotFound, http.StatusConflict), inviteServer)
	route(a, sluice.RunServer, op("remove-server", http.MethodDelete, "/{name}", "Refuse a server from now on, or withdraw its invitation",
		http.StatusNotFound, http.StatusConflict), removeServer)
}

// servers asks for the route's right, which is one for the server as a whole.
func (c caller) servers(ctx context.Context) (Servers, error) {
	if err := c.ask(ctx, access.Ask{Right: c.right}); err != nil {
		return nil, err
	}
	if c.api.cfg.Servers == nil {
		return nil, sluice.Errorf(sluice.Config, "this server is alone: it is in no cluster").
			WithHint("sluice server --cluster HOST:PORT makes it the first of one; see docs/cluster.md")
	}
	return c.api.cfg.Servers, nil
}

func listServers(ctx context.Context, c caller, _ *struct{}) (*cluster, error) {
	s, err := c.servers(ctx)
	if err != nil {
		return nil, err
	}
	out := &cluster{}
	if out.Body, err = s.List(ctx); err != nil {
		return nil, err
	}
	out.Body.Members = append([]api.Member{}, out.Body.Members...)
	out.Body.Kept = c.api.keptHalts(func(sluice.KeptHalt) bool { return true })
	return out, nil
}

func inviteServer(ctx context.Context, c caller, in *toInviteServer) (*serverInvitation, error) {
	s, err := c.servers(ctx)
	if err != nil {
		return nil, err
	}
	name, err := sluice.ParseServerName(in.Name)
	if err != nil {
		return nil, err
	}
	var replaces sluice.ServerName
	if in.Body.Replaces != "" {
		if replaces, err = sluice.ParseServerName(in.Body.Replaces); err != nil {
			return nil, err
		}
	}
	i, err := s.Invite(ctx, c.Principal, name, replaces)
	if err != nil {
		return nil, err
	}
	return &serverInvitation{i}, nil
}

func removeServer(ctx context.Context, c caller, in *ByServer) (*done, error) {
	s, err := c.servers(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Remove(ctx, c.Principal, sluice.ServerName(in.Name)); err != nil {
		return nil, err
	}
	return isDone(), nil
}

// staleAgain is after how many seconds it is worth while to ask a server again that had no contact with a majority: about as long as
// another takes to own the log.
const staleAgain = 5

// stale says, of a server that has no contact with a majority, how old its answers are. It answers what would change something itself, and
// returns false then: nothing can be appended, and a wish that is half done would be worse than one that is refused.
func (a *API) stale(w http.ResponseWriter, r *http.Request) bool {
	if a.cfg.Stale == nil {
		return true
	}
	since := a.cfg.Stale(r.Context())
	if since.IsZero() {
		return true
	}
	at := since.UTC().Format(time.RFC3339)
	w.Header().Set(api.StaleHeader, at) // also where it refuses: another server may do better
	switch {
	case IsQuestion(r):
		noteSeen(r.Context(), func(s *seen) { s.old = true })
		return true
	case a.cfg.Halts != nil && IsHalt(r):
		return true
	}
	p := problemOf(sluice.Errorf(sluice.Contact, "this server has had no contact with a majority of the cluster since %s, and without one nothing can be changed", at).
		WithHint("again in %d s, or at another server; sluice server members says who is missing", staleAgain))
	w.Header().Set("Retry-After", strconv.Itoa(staleAgain))
	writeProblem(w, p)
	return false
}

// untilFresh ends what goes on and began without contact to a majority as soon as there is contact: whoever comes again is answered by who
// owns the log. done must be called.
func (a *API) untilFresh(ctx context.Context) (during context.Context, done func()) {
	old := false
	noteSeen(ctx, func(s *seen) { old = s.old })
	if !old || a.cfg.Turns == nil {
		return ctx, func() {}
	}
	turns := a.cfg.Turns() // before it is looked, so that no turn is missed
	during, cancel := context.WithCancel(ctx)
	var waits sync.WaitGroup
	waits.Go(func() {
		for !a.cfg.Stale(context.Background()).IsZero() {
			select {
			case <-turns:
				turns = a.cfg.Turns()
			case <-during.Done():
				return
			}
		}
		cancel()
	})
	return during, func() {
		cancel()
		waits.Wait()
	}
}

// IsQuestion reports whether a request changes nothing.
func IsQuestion(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || questions[r.URL.Path]
}

// questions are sent by POST because they are long, and change nothing.
var questions = map[string]bool{"/api/v1/plan": true, "/api/v1/plan/files": true, "/api/v1/rehearse": true}
