// Package rights keeps who may do what: it asks the rules of core/access at the head of the log, and appends every change
// there. What cannot be appended is not done.
//
// It knows nothing of connections: who asks is handed in, by a secret or by a name that somebody else has proved. What
// was refused is noted by whoever knows what it was about; see [Keeper.Note].
package rights

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/access"
)

// secretPrefix makes a token's secret easy to find where it does not belong, such as in a repository.
const secretPrefix = "sluice_"

const page = 10000

// Keeper answers for one log. It is safe for concurrent use.
type Keeper struct {
	log   sluice.Log
	clock sluice.Clock
	state chan *access.State // holds one: who has it may read on
}

// New reads who may do what.
func New(ctx context.Context, log sluice.Log, clock sluice.Clock) (*Keeper, error) {
	k := &Keeper{log: log, clock: clock, state: make(chan *access.State, 1)}
	k.state <- access.New()
	return k, k.look(ctx, func(*access.State) error { return nil })
}

// look calls f with the state at the head of the log. f must not keep or change it.
func (k *Keeper) look(ctx context.Context, f func(*access.State) error) error {
	var s *access.State
	select {
	case <-ctx.Done():
		return ctx.Err()
	case s = <-k.state:
	}
	defer func() { k.state <- s }()
	for {
		tail, err := k.log.Read(ctx, sluice.AccessNamespace, s.Seq(), page)
		if err != nil {
			return err
		}
		if err := apply(s, tail); err != nil {
			return err
		}
		if len(tail) < page {
			return f(s)
		}
	}
}

func apply(s *access.State, tail []sluice.Event) error {
	for _, e := range tail {
		if err := s.Apply(e); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "who may do what cannot be read from the journal", Err: err}
		}
	}
	return nil
}

// ask is look for somebody who was let in before, and must still be.
func (k *Keeper) ask(ctx context.Context, b access.Bearer, f func(*access.State) error) error {
	return k.look(ctx, func(s *access.State) error {
		if err := s.Live(b, k.clock()); err != nil {
			return err
		}
		return f(s)
	})
}

// Login finds whose secret it is. An error with the code Denied does not say what is wrong with it.
func (k *Keeper) Login(ctx context.Context, secret string) (b access.Bearer, err error) {
	return k.login(ctx, secret, "", sluice.Errorf(sluice.Denied, "the token is not valid, or not any more").WithHint("sluice login"))
}

// Session is Login for the secret that a browser's cookie holds.
func (k *Keeper) Session(ctx context.Context, secret string) (b access.Bearer, err error) {
	return k.login(ctx, secret, sluice.BySession, sluice.Errorf(sluice.Denied, "you are not signed in any more").WithHint("sign in again"))
}

func (k *Keeper) login(ctx context.Context, secret string, kind sluice.TokenKind, refusal error) (b access.Bearer, err error) {
	err = k.look(ctx, func(s *access.State) error {
		var ok bool
		if b, ok = s.Login([]byte(secret), kind, k.clock()); !ok {
			return refusal
		}
		return nil
	})
	return b, err
}

// Token is what is known of the token that somebody shows; the zero token where they show none.
func (k *Keeper) Token(ctx context.Context, b access.Bearer) (t sluice.Token, err error) {
	err = k.ask(ctx, b, func(s *access.State) error {
		t, _ = s.Token(b.Token)
		return nil
	})
	return t, err
}

// Holds says where b may do what.
func (k *Keeper) Holds(ctx context.Context, b access.Bearer) (out []access.Hold, err error) {
	err = k.ask(ctx, b, func(s *access.State) error {
		out = s.Holds(b)
		return nil
	})
	return out, err
}

// Allow returns nil where b may do what is asked, and else an error with the code Denied that says why not.
func (k *Keeper) Allow(ctx context.Context, b access.Bearer, a access.Ask) error {
	return k.ask(ctx, b, func(s *access.State) error { return s.Allow(b, a) })
}

// StillAllow is Allow for what was asked for earlier, when b was let in. An expired token is no reason against it, a revoked one is.
func (k *Keeper) StillAllow(ctx context.Context, b access.Bearer, a access.Ask) error {
	return k.look(ctx, func(s *access.State) error { return s.Allow(b, a) })
}

// MaySubmit returns nil where something of a job may start: who it is carried out for may still submit it. An expired
// token is no reason against it, a revoked one is. members may be nil.
func (k *Keeper) MaySubmit(ctx context.Context, by access.Bearer, ns sluice.Namespace, hosts []sluice.Host, members func(sluice.Tag) []sluice.Host) error {
	return k.look(ctx, func(s *access.State) error { return s.MaySubmit(by, ns, hosts, members) })
}

// Namespaces says where b may do something at all; all is set for everywhere. An error with the code Denied says that b
// is not let in any more.
func (k *Keeper) Namespaces(ctx context.Context, b access.Bearer, r sluice.Right) (all bool, some []sluice.Namespace, err error) {
	err = k.ask(ctx, b, func(s *access.State) error {
		all, some = s.Namespaces(b, r)
		return nil
	})
	return all, some, err
}

// Hosts says for which hosts of a namespace b may do something: for all, or for some. An error with the code Denied says that
// b is not let in any more.
func (k *Keeper) Hosts(ctx context.Context, b access.Bearer, a access.Ask) (all bool, some map[sluice.Host]bool, err error) {
	err = k.ask(ctx, b, func(s *access.State) error {
		all, some = s.Hosts(b, a)
		return nil
	})
	return all, some, err
}

// People lists who is known.
func (k *Keeper) People(ctx context.Context) (out []access.Person, err error) {
	err = k.look(ctx, func(s *access.State) error {
		out = s.People()
		return nil
	})
	return out, err
}

// Person is one who is known.
func (k *Keeper) Person(ctx context.Context, p sluice.Principal) (one access.Person, err error) {
	err = k.look(ctx, func(s *access.State) error {
		var ok bool
		if one, ok = s.Person(p); !ok {
			return sluice.Errorf(sluice.NotFound, "nobody is known as %q", p).WithHint("sluice access list")
		}
		return nil
	})
	return one, err
}

// Roles lists all roles and what they may do.
func (k *Keeper) Roles(ctx context.Context) (out map[sluice.Role][]sluice.Right, err error) {
	err = k.look(ctx, func(s *access.State) error {
		out = s.Roles()
		return nil
	})
	return out, err
}

// Note appends to the audit what leaves no event of its own. It depends on nothing, so nothing is made ready for it.
func (k *Keeper) Note(ctx context.Context, n sluice.AccessNoted) error {
	var seq uint64
	if err := k.look(ctx, func(s *access.State) error { seq = s.Seq(); return nil }); err != nil {
		return err
	}
	_, err := k.log.Update(ctx, sluice.AccessNamespace, seq, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: k.clock(), Body: n}}, nil
	})
	return err
}

// append appends what decide makes of the state at the head of the log, as one step. The state is decide's own: what it
// tries there is forgotten, and only what was appended is ever read again.
func (k *Keeper) append(ctx context.Context, decide func(*access.State) ([]sluice.Body, error)) error {
	var s *access.State
	// Not inside look: while an append waits for its turn, others can still ask.
	if err := k.look(ctx, func(now *access.State) error { s = now.Clone(); return nil }); err != nil {
		return err
	}
	_, err := k.log.Update(ctx, sluice.AccessNamespace, s.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
		if err := apply(s, tail); err != nil {
			return nil, err
		}
		bodies, err := decide(s)
		if err != nil {
			return nil, err
		}
		now := k.clock()
		events := make([]sluice.Event, len(bodies))
		for i, b := range bodies {
			events[i] = sluice.Event{Time: now, Body: b}
		}
		return events, nil
	})
	return err
}

// Change appends changes in the name of b, if b may make them all and all fit, one after the other: all of them or none.
func (k *Keeper) Change(ctx context.Context, b access.Bearer, changes ...sluice.Body) error {
	return k.append(ctx, func(s *access.State) ([]sluice.Body, error) {
		if err := s.Live(b, k.clock()); err != nil {
			return nil, err
		}
		may := func(c sluice.Body) error { return s.MayChange(b, c) }
		return try(s, b.Principal, may, changes)
	})
}

// try makes changes to a state, each of which must be allowed and fit where those before it are made.
func try(s *access.State, by sluice.Principal, may func(sluice.Body) error, changes []sluice.Body) ([]sluice.Body, error) {
	out := make([]sluice.Body, len(changes))
	for i, c := range changes {
		c, ok := access.Signed(c, by)
		if !ok {
			return nil, sluice.Errorf(sluice.Usage, "%T is no change of who may do what", changes[i])
		}
		if err := may(c); err != nil {
			return nil, err
		}
		if err := s.Check(c); err != nil {
			return nil, err
		}
		if err := s.Apply(sluice.Event{Body: c}); err != nil {
			return nil, err
		}
		out[i] = c
	}
	return out, nil
}

// MakeToken makes a token and returns its secret, which is nowhere else.
func (k *Keeper) MakeToken(ctx context.Context, b access.Bearer, t sluice.Token) (secret string, made sluice.Token, err error) {
	if !t.Expires.IsZero() && !k.clock().Before(t.Expires) {
		return "", sluice.Token{}, sluice.Errorf(sluice.Usage, "a token that ends at %s would never be valid", t.Expires.Format(time.RFC3339))
	}
	t.Parent, t.Lasting = b.Token, t.Lasting || t.Principal != b.Principal
	secret, t = newSecret(t)
	if err := k.Change(ctx, b, sluice.TokenMade{Token: t}); err != nil {
		return "", sluice.Token{}, err
	}
	return secret, t, nil
}

// First makes the first administrator with a token, if nobody is known yet; "" says that somebody is. A secret with an
// error is one of which it is not known whether it is valid: nobody can be made the first again if it is.
func (k *Keeper) First(ctx context.Context, p sluice.Principal, label string) (secret string, err error) {
	secret, t := newSecret(sluice.Token{Principal: p, Label: label})
	made, err := k.first(ctx, p, t)
	switch {
	case !made:
		return "", err
	case err == nil:
		return secret, nil
	}
	// It may have been appended all the same, and then it is the only way in.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	switch _, refused := k.Login(ctx, secret); {
	case refused == nil:
		return secret, nil
	case sluice.CodeOf(refused) == sluice.Denied:
		return "", err
	}
	return secret, err
}

// HandFirst is First for somebody who keeps the secret before it is valid: a process that is killed between the two leaves
// one that opens nothing, and the next start hands over another. If hand fails, nobody is made.
func (k *Keeper) HandFirst(ctx context.Context, p sluice.Principal, label string, hand func(secret string) error) error {
	empty := false
	err := k.look(ctx, func(s *access.State) error {
		empty = s.Empty()
		return nil
	})
	if err != nil || !empty {
		return err
	}
	secret, t := newSecret(sluice.Token{Principal: p, Label: label})
	if err := hand(secret); err != nil {
		return err
	}
	made, err := k.first(ctx, p, t)
	if err == nil && !made {
		return sluice.Errorf(sluice.Conflict, "another process has made the first administrator; the token that was handed over opens nothing")
	}
	return err
}

// first appends the first administrator, if nobody is known yet.
func (k *Keeper) first(ctx context.Context, p sluice.Principal, t sluice.Token) (made bool, err error) {
	err = k.append(ctx, func(s *access.State) (_ []sluice.Body, err error) {
		if !s.Empty() {
			return nil, nil
		}
		made = true
		anybody := func(sluice.Body) error { return nil }
		return try(s, p, anybody, []sluice.Body{sluice.PrincipalAdded{Principal: p},
			sluice.GrantGiven{Grant: sluice.Grant{Principal: p, Role: access.Admin}}, sluice.TokenMade{Token: t}})
	})
	return made, err
}

// settle is how long to ask the log whether it took what it gave an error for.
const settle = 5 * time.Second

// newSecret gives a token its id and digest.
func newSecret(t sluice.Token) (string, sluice.Token) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // does not fail
	secret := secretPrefix + base64.RawURLEncoding.EncodeToString(b)
	t.ID, t.Digest, t.Expires = sluice.TokenID(strings.ToLower(rand.Text()[:10])), access.Digest([]byte(secret)), t.Expires.UTC()
	return secret, t
}

// Until is the end of a token that lives for some time from now; 0 is for ever.
func (k *Keeper) Until(life time.Duration) time.Time {
	if life == 0 {
		return time.Time{}
	}
	return k.clock().Add(life)
}
