package release

import (
	"sluice"
	"sluice/internal/core/document"
)

// Balancers are the balancers of a deploy with all that the fleet says of them: what those are that it has a name for, and how
// the host of each is reached. at are the places in app.yaml, for messages; nil where nobody knows them any more.
func Balancers(of []sluice.Balancing, f *sluice.Fleet, at []sluice.Position) ([]sluice.Balancing, error) {
	var problems document.Problems
	var out []sluice.Balancing
	for i, b := range of {
		var place sluice.Position
		if i < len(at) {
			place = at[i]
		}
		if b.Name == "" {
			b.Sudo = "" // that is the fleet's to say
		} else {
			found, err := named(b, f)
			switch {
			case err == nil:
				b = found
			case b.Driver == "": // else an earlier job had it from the fleet, and going back must not end here
				err.At = place
				problems.Add(err)
				continue
			default:
				b.Sudo = "" // as of one without a name: whoever submits could have made the name up
			}
		}
		b.SSH = sluice.SSH{}
		if b.On != "" {
			b.SSH = f.SSHFor(b.On)
		}
		out = append(out, b)
	}
	return out, problems.Err()
}

// named is a place in a balancer that the fleet has a name for. Nothing that somebody else says of it counts.
func named(b sluice.Balancing, f *sluice.Fleet) (sluice.Balancing, *sluice.Error) {
	known, there := f.Balancer(b.Name)
	if !there {
		e := sluice.Errorf(sluice.Config, "the fleet has no balancer %q", b.Name)
		names := make([]string, len(f.Balancers))
		for i, n := range f.Balancers {
			names[i] = n.Name
		}
		if e.Hint = document.DidYouMean("", b.Name, names); e.Hint == "" {
			e.Hint = "the section balancer of the fleet file says which there are"
		}
		return b, e
	}
	found, there := known.In(b.Pool, sluice.SSH{})
	if !there {
		e := sluice.Errorf(sluice.Config, "the balancer %s has no pool %q", b.Name, b.Pool)
		names := make([]string, len(known.Pools))
		for i, p := range known.Pools {
			names[i] = p.Name
		}
		if e.Hint = document.DidYouMean("", b.Pool, names); e.Hint == "" {
			e.Hint = "the section balancer of the fleet file says which it has, at " + known.At.String()
		}
		return b, e
	}
	found.Server = b.Server
	return found, nil
}
