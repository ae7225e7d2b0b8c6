package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"sluice"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
)

// waitForOwner bounds what a request waits for somebody to own the log.
const waitForOwner = 6 * time.Second

// waitAtStart bounds what a question waits for, while this server does not know yet whether there is a majority.
const waitAtStart = 2 * time.Second

// own reports whether every server answers a request by itself, whoever owns the log: it is about this server, or the same everywhere.
func own(r *http.Request) bool {
	switch p := r.URL.Path; {
	case p == "/healthz", p == "/readyz", p == "/metrics", p == "/ui", strings.HasPrefix(p, "/ui/"), p == "/":
		return true
	}
	return false
}

// reads reports whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// answerAsCopy answers requests while another server owns the log, or nobody does: they are handed on to the owner. Without a majority,
// or where nobody can own the log, this server says what it has, and since when it may be old.
func (c *cluster) answerAsCopy(here http.Handler) doors.Answers {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if own(r) {
			here.ServeHTTP(w, r)
			return true
		}
		life := r.Context() // ends with this life, too
		over := time.NewTimer(waitForOwner)
		defer over.Stop()
		begun := time.NewTimer(waitAtStart)
		defer begun.Stop()
		early := true
		for {
			v := c.outlook.now()
			switch {
			case v.cut != nil && v.early && early: // who asks waits a little, as the others may be about to come
			case v.cut != nil, v.ownerless(c.s.Clock()) && reads(r):
				here.ServeHTTP(w, answeredAsOld(r, c.staleBy(v))) // which says how old that is
				return true
			case v.another(c.seat.Name):
				err := c.handOn(w, r, v.owner)
				if err == nil {
					return true
				}
				if sluice.CodeOf(err) == sluice.Config { // their versions are too far apart, and nothing gets better by waiting
					httpapi.Refuse(w, err)
					return true
				}
				c.outlook.doubt()
			}
			select {
			case <-life.Done():
				return false // the next life answers, or who asked has gone
			case <-v.turns:
			case <-time.After(lookSoon):
			case <-begun.C:
				early = !reads(r) // what would be refused waits longer
			case <-over.C:
				if v.cut != nil || v.ownerless(c.s.Clock()) && httpapi.IsHalt(r) {
					here.ServeHTTP(w, answeredAsOld(r, c.staleBy(v))) // which refuses what would change something, and keeps a halt
					return true
				}
				httpapi.Refuse(w, sluice.Errorf(sluice.Contact, "no server owns the log now; nothing was changed").WithHint("try again in a moment; sluice server members says how the servers are"))
				return true
			}
		}
	}
}

// proof is what a connection proved of who sent a request, on its way to the owner.
type proof struct {
	Principal sluice.Principal `json:"principal,omitempty"`
	From      string           `json:"from,omitempty"`
	Note      bool             `json:"note,omitempty"`
	Refused   string           `json:"refused,omitempty"`
}

// handOn has the owner answer a request. If it returns an error, nothing was done, and nothing answered.
func (c *cluster) handOn(w http.ResponseWriter, r *http.Request, owner sluice.Owner) error {
	peer, err := c.neighbours.of(owner.Name, owner.Address)
	if err != nil {
		c.s.Log.Warn("the owner of the log cannot be asked", "owner", owner.Name, "why", err)
		return err
	}
	p := proof{}
	proved, err := c.s.Prove(r.Context(), r.TLS)
	p.Principal, p.From, p.Note = proved.Principal, proved.From, proved.Note
	if err != nil {
		p.Refused = err.Error()
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	out := &heard{ResponseWriter: w}
	err = peer.Hand(out, r, peerwire.From{Remote: r.RemoteAddr, Secure: r.TLS != nil, Proof: text})
	if err == nil && out.status/100 == 2 && proved.Note {
		proved.Noted() // or it would not have been done
	}
	return err
}

// heard remembers with which status a request was answered.
type heard struct {
	http.ResponseWriter
	status int
}

func (h *heard) WriteHeader(status int) {
	h.status = status
	h.ResponseWriter.WriteHeader(status)
}

func (h *heard) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// HandedProof is what another server says that a connection to it proved.
func HandedProof(ctx context.Context) (p httpapi.Proof, is bool, err error) {
	from, is := peerwire.HandedOn(ctx)
	if !is {
		return p, false, nil
	}
	var got proof
	if err := json.Unmarshal(from.Proof, &got); err != nil {
		return p, true, sluice.Errorf(sluice.Denied, "what another server says of the sender cannot be read")
	}
	p = httpapi.Proof{Principal: got.Principal, From: got.From, Note: got.Note}
	if got.Refused != "" {
		return p, true, sluice.Errorf(sluice.Denied, "%s", got.Refused)
	}
	return p, true, nil
}
