package httpapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

const accessTag = "access"

// Keeping is what the routes of who may do what need beside [Rights].
type Keeping interface {
	People(ctx context.Context) ([]access.Person, error)
	Person(ctx context.Context, p sluice.Principal) (access.Person, error)
	Roles(ctx context.Context) (map[sluice.Role][]sluice.Right, error)
	Change(ctx context.Context, b access.Bearer, changes ...sluice.Body) error
	MakeToken(ctx context.Context, b access.Bearer, t sluice.Token) (secret string, made sluice.Token, err error)
	Until(life time.Duration) time.Time
}

type me struct{ Body api.Me }

type people struct {
	Body struct {
		People []api.Person `json:"people" doc:"by name"`
	}
}

type roleList struct {
	Body struct {
		Roles []api.Role `json:"roles" doc:"by name"`
	}
}

type tokenList struct {
	Body struct {
		Tokens []api.Token `json:"tokens"`
	}
}

type oneNewToken struct{ Body api.NewToken }

// ByPrincipal is the path of one principal.
type ByPrincipal struct {
	Principal string `path:"principal" maxLength:"64"`
}

type onePerson struct{ Body api.Person }

type toAdd struct {
	Body struct {
		Principal string `json:"principal" minLength:"1" maxLength:"64"`
		Again     bool   `json:"again,omitempty" doc:"it is the same one who was removed"`
	}
}

type toGrant struct {
	Body struct {
		Principal string   `json:"principal" minLength:"1" maxLength:"64"`
		Role      string   `json:"role" minLength:"1" maxLength:"64"`
		Namespace string   `json:"namespace,omitempty" maxLength:"64" doc:"where; everywhere, and for the server itself, if it is not there"`
		Tags      []string `json:"tags,omitempty" maxItems:"100" doc:"only for hosts that carry one of them"`
	}
}

type toDefine struct {
	Role string `path:"role" maxLength:"64"`
	Body struct {
		May []sluice.Right `json:"may" maxItems:"100" doc:"none: the role is gone, and so are the grants of it"`
	}
}

type tokensQuery struct {
	Principal string `query:"principal" maxLength:"64" doc:"whose; default: one's own"`
}

type toMake struct{ Body api.TokenWish }

type toRevoke struct {
	Token string `path:"token" maxLength:"64"`
	Made  bool   `query:"made" doc:"also the lasting ones that were made with it: it was in the wrong hands"`
}

type done struct {
	Body struct {
		Done bool `json:"done"`
	}
}

func isDone() *done {
	out := &done{}
	out.Body.Done = true
	return out
}

func (a *API) addAccess() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/" + path, Tags: []string{accessTag}, Summary: summary, Errors: errors}
	}
	const wrong, none = http.StatusConflict, http.StatusNotFound
	route(a, "", op("whoami", http.MethodGet, "whoami", "Who one is here, and what one may do"), whoami)
	route(a, sluice.SeeAccess, op("list-people", http.MethodGet, "access/people", "Who is known, with grants and tokens"), listPeople)
	route(a, sluice.SeeAccess, op("get-person", http.MethodGet, "access/people/{principal}", "One who is known, with grants, tokens and rights", none), getPerson)
	route(a, sluice.GiveAccess, op("add-principal", http.MethodPost, "access/people", "Make somebody known, without any right", none, wrong),
		func(ctx context.Context, c caller, in *toAdd) (*done, error) {
			return c.change(ctx, "", sluice.PrincipalAdded{Principal: sluice.Principal(in.Body.Principal), Again: in.Body.Again})
		})
	route(a, sluice.GiveAccess, op("remove-principal", http.MethodDelete, "access/people/{principal}", "Take all grants and tokens of somebody back", none, wrong),
		func(ctx context.Context, c caller, in *ByPrincipal) (*done, error) {
			return c.change(ctx, "", sluice.PrincipalRemoved{Principal: sluice.Principal(in.Principal)})
		})
	route(a, sluice.GiveAccess, op("give-grant", http.MethodPost, "access/grants", "Give somebody a role", none, wrong),
		func(ctx context.Context, c caller, in *toGrant) (*done, error) {
			return c.change(ctx, sluice.Namespace(in.Body.Namespace), sluice.GrantGiven{Grant: in.grant()})
		})
	route(a, sluice.GiveAccess, op("take-grant", http.MethodPost, "access/grants/take", "Take a role back", none, wrong),
		func(ctx context.Context, c caller, in *toGrant) (*done, error) {
			return c.change(ctx, sluice.Namespace(in.Body.Namespace), sluice.GrantTaken{Grant: in.grant()})
		})
	route(a, sluice.SeeAccess, op("list-roles", http.MethodGet, "access/roles", "All roles, and what they may do"), listRoles)
	route(a, sluice.GiveAccess, op("define-role", http.MethodPut, "access/roles/{role}", "Say what a role may do", none, wrong),
		func(ctx context.Context, c caller, in *toDefine) (*done, error) {
			return c.change(ctx, "", sluice.RoleDefined{Role: sluice.Role(in.Role), May: in.Body.May})
		})
	route(a, "", op("list-tokens", http.MethodGet, "tokens", "One's own tokens; with access.see those of others"), listTokens)
	route(a, "", op("make-token", http.MethodPost, "tokens", "Make a token; for others, or a lasting one, with access.give", none, wrong), makeToken)
	route(a, "", op("revoke-token", http.MethodDelete, "tokens/{token}", "End a token and what was made with it; one of others with access.give", none),
		func(ctx context.Context, c caller, in *toRevoke) (*done, error) {
			c.right = sluice.GiveAccess
			return c.change(ctx, "", sluice.TokenRevoked{ID: sluice.TokenID(in.Token), Made: in.Made})
		})
}

func (in *toGrant) grant() sluice.Grant {
	g := sluice.Grant{Principal: sluice.Principal(in.Body.Principal), Role: sluice.Role(in.Body.Role), Namespace: sluice.Namespace(in.Body.Namespace)}
	for _, t := range in.Body.Tags {
		g.Tags = append(g.Tags, sluice.Tag(t))
	}
	return g
}

// change makes a change of who may do what. Whether the caller may is asked in the same step; a refusal goes to the audit.
func (c caller) change(ctx context.Context, ns sluice.Namespace, change sluice.Body) (*done, error) {
	if err := c.refused(ctx, ns, c.api.cfg.Keeping.Change(ctx, c.Bearer, change)); err != nil {
		return nil, err
	}
	out := &done{}
	out.Body.Done = true
	return out, nil
}

// refused notes an error that is a refusal.
func (c caller) refused(ctx context.Context, ns sluice.Namespace, err error) error {
	if sluice.CodeOf(err) != sluice.Denied {
		return err
	}
	note := c.note(ns)
	note.Refused = err.Error()
	if noted := c.api.cfg.Rights.Note(ctx, note); noted != nil {
		return noted
	}
	return err
}

func (c caller) tokenOf(t sluice.Token) api.Token {
	out := api.Token{ID: t.ID, Principal: t.Principal, Label: t.Label, Only: t.Only, Namespace: t.Namespace, Parent: t.Parent, Lasting: t.Lasting, Kind: t.Kind}
	if !t.Expires.IsZero() {
		out.Expires, out.Expired = &t.Expires, !c.api.cfg.Clock().Before(t.Expires)
	}
	return out
}

func (c caller) personOf(p access.Person) api.Person {
	out := api.Person{Principal: p.Principal, Removed: p.Removed, Grants: p.Grants, Tokens: []api.Token{}}
	if out.Grants == nil {
		out.Grants = []sluice.Grant{}
	}
	now := c.api.cfg.Clock()
	for _, t := range p.Tokens {
		if t.Kind == sluice.BySession && now.Sub(t.Expires) > sessionListed {
			continue
		}
		one := c.tokenOf(t)
		one.Ended = slices.Contains(p.Ended, t.ID)
		out.Tokens = append(out.Tokens, one)
	}
	return out
}

func holdsOf(list []access.Hold) []api.Hold {
	out := make([]api.Hold, len(list))
	for i, h := range list {
		out[i] = api.Hold{Right: h.Right, Everywhere: h.Everywhere}
		for _, p := range h.Places {
			out[i].Places = append(out[i].Places, api.Place{Namespace: p.Namespace, Tags: p.Tags})
		}
	}
	return out
}

// person is one of those who are known.
func (c caller) person(ctx context.Context, name sluice.Principal) (api.Person, error) {
	p, err := c.api.cfg.Keeping.Person(ctx, name)
	if err != nil {
		return api.Person{}, err
	}
	return c.personOf(p), nil
}

func whoami(ctx context.Context, c caller, _ *struct{}) (*me, error) {
	p, err := c.person(ctx, c.Principal)
	if err != nil {
		return nil, err
	}
	holds, err := c.api.cfg.Rights.Holds(ctx, c.Bearer)
	if err != nil {
		return nil, err
	}
	out := &me{api.Me{Principal: c.Principal, Grants: p.Grants, Rights: holdsOf(holds)}}
	for _, t := range p.Tokens {
		if t.ID == c.Token {
			out.Body.Token = &t
		}
	}
	return out, nil
}

func getPerson(ctx context.Context, c caller, in *ByPrincipal) (*onePerson, error) {
	if err := c.may(ctx, "", nil); err != nil {
		return nil, err
	}
	p, err := c.person(ctx, sluice.Principal(in.Principal))
	if err != nil {
		return nil, err
	}
	if !p.Removed {
		holds, err := c.api.cfg.Rights.Holds(ctx, access.As(p.Principal))
		if err != nil {
			return nil, err
		}
		p.Rights = holdsOf(holds)
	}
	return &onePerson{p}, nil
}

func listPeople(ctx context.Context, c caller, _ *struct{}) (*people, error) {
	if err := c.may(ctx, "", nil); err != nil {
		return nil, err
	}
	list, err := c.api.cfg.Keeping.People(ctx)
	if err != nil {
		return nil, err
	}
	out := &people{}
	out.Body.People = make([]api.Person, len(list))
	for i, p := range list {
		out.Body.People[i] = c.personOf(p)
	}
	return out, nil
}

func listRoles(ctx context.Context, c caller, _ *struct{}) (*roleList, error) {
	if err := c.may(ctx, "", nil); err != nil {
		return nil, err
	}
	roles, err := c.api.cfg.Keeping.Roles(ctx)
	if err != nil {
		return nil, err
	}
	out := &roleList{}
	for _, r := range slices.Sorted(maps.Keys(roles)) {
		out.Body.Roles = append(out.Body.Roles, api.Role{Role: r, May: roles[r]})
	}
	return out, nil
}

func listTokens(ctx context.Context, c caller, in *tokensQuery) (*tokenList, error) {
	whose := sluice.Principal(in.Principal)
	if whose == "" {
		whose = c.Principal
	}
	if whose != c.Principal {
		c.right = sluice.SeeAccess
		if err := c.may(ctx, "", nil); err != nil {
			return nil, err
		}
	}
	p, err := c.person(ctx, whose)
	if err != nil {
		return nil, err
	}
	out := &tokenList{}
	out.Body.Tokens = p.Tokens
	return out, nil
}

func makeToken(ctx context.Context, c caller, in *toMake) (*oneNewToken, error) {
	c.right = sluice.GiveAccess
	t := sluice.Token{Principal: in.Body.Principal, Label: in.Body.Label, Only: in.Body.Only, Namespace: in.Body.Namespace, Lasting: in.Body.Lasting}
	if t.Principal == "" {
		t.Principal = c.Principal
	}
	if in.Body.Expires != "" {
		life, err := time.ParseDuration(in.Body.Expires)
		if err != nil || life <= 0 {
			return nil, sluice.Errorf(sluice.Usage, "expires: %q is no time such as 90m or 720h", in.Body.Expires)
		}
		t.Expires = c.api.cfg.Keeping.Until(life)
	}
	secret, made, err := c.api.cfg.Keeping.MakeToken(ctx, c.Bearer, t)
	if err := c.refused(ctx, t.Namespace, err); err != nil {
		return nil, err
	}
	return &oneNewToken{api.NewToken{Token: c.tokenOf(made), Secret: secret}}, nil
}
