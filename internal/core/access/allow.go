package access

import (
	"fmt"
	"maps"
	"slices"

	"sluice"
)

// Ask is a question: may this be done?
type Ask struct {
	Right sluice.Right
	// Namespace is where; "" is the server as a whole.
	Namespace sluice.Namespace
	// Hosts are those that it concerns. None means that it concerns no host in particular: then a grant that is bound
	// to tags is enough only if Anywhere is set.
	Hosts []sluice.Host
	// Anywhere says that a right on any host of the namespace is enough, such as for seeing its list of jobs. It is of no
	// account where Hosts are named.
	Anywhere bool
	// Members are the hosts of a tag; nil where there is no fleet.
	Members func(sluice.Tag) []sluice.Host
}

// Allow answers, with the reason why not; nil is yes.
func (s *State) Allow(b Bearer, a Ask) error {
	token, err := s.bounds(b)
	if err != nil {
		return err
	}
	if len(token.Only) > 0 && !slices.Contains(token.Only, a.Right) {
		return refuse(b, a, "the token %s is for other rights", b.Token)
	}
	if token.Namespace != "" && token.Namespace != a.Namespace {
		return refuse(b, a, "the token %s is for the namespace %s", b.Token, token.Namespace)
	}
	all, open, bound := s.opened(b, a)
	switch {
	case all:
		return nil
	case !bound:
		return refuse(b, a, "no grant allows it")
	case len(a.Hosts) == 0:
		return refuse(b, a, "the grants are for some hosts only, and this concerns all")
	}
	for _, h := range a.Hosts {
		if !open[h] {
			return refuse(b, a, "no grant opens the host %s", h)
		}
	}
	return nil
}

// opened are the hosts that grants open, those that are bound to tags; all is set where there is one that is not, or that need
// not be. bound says that there are bound ones.
func (s *State) opened(b Bearer, a Ask) (all bool, open map[sluice.Host]bool, bound bool) {
	for _, g := range s.grants[b.Principal] {
		if !slices.Contains(s.may(g.Role), a.Right) || g.Namespace != "" && g.Namespace != a.Namespace {
			continue
		}
		if len(g.Tags) == 0 || a.Anywhere && len(a.Hosts) == 0 {
			return true, nil, bound
		}
		bound = true
		if a.Members == nil {
			continue
		}
		for _, t := range g.Tags {
			for _, h := range a.Members(t) {
				if open == nil {
					open = map[sluice.Host]bool{}
				}
				open[h] = true
			}
		}
	}
	return false, open, bound
}

// Hosts says for which hosts of a namespace something may be done: for all, or for some. It is for lists: what one asks for
// by name, [State.Allow] answers.
func (s *State) Hosts(b Bearer, a Ask) (all bool, some map[sluice.Host]bool) {
	token, err := s.bounds(b)
	if err != nil || len(token.Only) > 0 && !slices.Contains(token.Only, a.Right) || token.Namespace != "" && token.Namespace != a.Namespace {
		return false, nil
	}
	a.Hosts, a.Anywhere = nil, false
	all, some, _ = s.opened(b, a)
	return all, some
}

// Namespaces says where somebody may do something at all: all is set for a right everywhere, and some are the namespaces
// that are named, sorted.
func (s *State) Namespaces(b Bearer, r sluice.Right) (all bool, some []sluice.Namespace) {
	token, err := s.bounds(b)
	if err != nil || len(token.Only) > 0 && !slices.Contains(token.Only, r) {
		return false, nil
	}
	set := map[sluice.Namespace]bool{}
	for _, g := range s.grants[b.Principal] {
		if slices.Contains(s.may(g.Role), r) {
			set[g.Namespace] = true
		}
	}
	if ns := token.Namespace; ns != "" {
		if set[""] || set[ns] {
			return false, []sluice.Namespace{ns}
		}
		return false, nil
	}
	all = set[""]
	delete(set, "")
	return all, slices.Sorted(maps.Keys(set))
}

func refuse(b Bearer, a Ask, why string, args ...any) error {
	where := ""
	if a.Namespace != "" {
		where = " in " + string(a.Namespace)
	}
	return sluice.Errorf(sluice.Denied, "%s may not do %s%s: %s", b.Principal, a.Right, where, fmt.Sprintf(why, args...)).
		WithHint("sluice whoami says what %s may do", b.Principal)
}

// Person is one principal, for lists.
type Person struct {
	Principal sluice.Principal
	Removed   bool
	Grants    []sluice.Grant
	Tokens    []sluice.Token   // by id, without their digests
	Ended     []sluice.TokenID // of those, the ones that were put away
}

// People lists who is known, by name.
func (s *State) People() []Person {
	tokens := map[sluice.Principal][]sluice.TokenID{}
	for _, id := range slices.Sorted(maps.Keys(s.tokens)) {
		tokens[s.tokens[id].Principal] = append(tokens[s.tokens[id].Principal], id)
	}
	var out []Person
	for _, p := range slices.Sorted(maps.Keys(s.people)) {
		out = append(out, s.person(p, tokens[p]))
	}
	return out
}

// Person is one who is known; ok is false for anybody else.
func (s *State) Person(p sluice.Principal) (one Person, ok bool) {
	if _, is := s.people[p]; !is {
		return Person{}, false
	}
	var tokens []sluice.TokenID
	for id, t := range s.tokens {
		if t.Principal == p {
			tokens = append(tokens, id)
		}
	}
	slices.Sort(tokens)
	return s.person(p, tokens), true
}

func (s *State) person(p sluice.Principal, tokens []sluice.TokenID) Person {
	one := Person{Principal: p, Removed: !s.people[p], Grants: slices.Clone(s.grants[p])}
	for _, id := range tokens {
		t := s.tokens[id]
		if s.ended(t) {
			one.Ended = append(one.Ended, id)
		}
		t.Digest = ""
		one.Tokens = append(one.Tokens, t)
	}
	return one
}

// Roles lists all roles and what they may do.
func (s *State) Roles() map[sluice.Role][]sluice.Right {
	out := map[sluice.Role][]sluice.Right{}
	for _, roles := range []map[sluice.Role][]sluice.Right{s.roles, builtIn} {
		for r, may := range roles {
			out[r] = slices.Clone(may)
		}
	}
	return out
}
