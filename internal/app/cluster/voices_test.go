package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/core/member"
)

// TestTooFarToOwn: a server that is too far away from the others does not own the log, and does once they speak as it does; who was not
// heard, or is no member, is in nobody's way.
func TestTooFarToOwn(t *testing.T) {
	const far = peerwire.Protocol + 2
	of := func(names ...sluice.ServerName) (out []member.Known) {
		for _, name := range names {
			out = append(out, member.Known{Name: name, Joined: true})
		}
		return append(out, member.Known{Name: "invited"})
	}
	for what, one := range map[string]struct {
		members []member.Known
		far     []string
		owns    bool
	}{
		"alone":                {of("a"), nil, true},
		"nobody is far":        {of("a", "b", "c"), nil, true},
		"one of three is":      {of("a", "b", "c"), []string{"c"}, true},
		"two of three are":     {of("a", "b", "c"), []string{"b", "c"}, false},
		"one of two is":        {of("a", "b"), []string{"b"}, false},
		"one that was away":    {of("a", "b"), []string{"z", "invited"}, true},
		"two of four are":      {of("a", "b", "c", "d"), []string{"b", "c"}, false},
		"two of five are":      {of("a", "b", "c", "d", "e"), []string{"b", "c"}, true},
		"it does not itself":   {of("a", "b", "c"), []string{"a", "b"}, true},
		"as far as one may be": {of("a", "b"), nil, true},
	} {
		var said bytes.Buffer
		v := &voices{}
		log := slog.New(slog.NewTextHandler(&said, nil))
		v.heard("b", peerwire.Protocol+1, log)
		for _, name := range one.far {
			v.heard(name, far, log)
			v.heard(name, far, log)
		}
		err := enough(one.members, "a", v.apart)
		if one.owns != (err == nil) || err != nil && sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%s: %v", what, err)
		}
		if n := strings.Count(said.String(), "speaks version"); n != len(one.far) {
			t.Errorf("%s: it was said %d times: %s", what, n, said.String())
		}
		for _, name := range one.far {
			v.heard(name, peerwire.Protocol, log)
		}
		if err := enough(one.members, "a", v.apart); err != nil {
			t.Errorf("%s: later: %v", what, err)
		}
	}
}
