package cli

import (
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/live"
	"sluice/internal/run/control"
)

// What hosts had is what they get, a job for each release; what is so still is left alone, and nothing is made up.
func TestLikenesses(t *testing.T) {
	on := func(app string, h sluice.Host, version, config string, how ...func(*control.Live)) control.Live {
		l := control.Live{Namespace: "default", Origin: sluice.JobID("job" + version + config), State: live.State{Place: live.Place{App: app, Env: "production", Host: h},
			Known: true, Live: sluice.Installed{Version: version}, Config: config}}
		for _, f := range how {
			f(&l)
		}
		return l
	}
	unknown := func(l *control.Live) { l.Known, l.Why, l.Last = false, live.Running, "later" }
	failed := func(l *control.Live) { l.Failed = true }
	hand := func(l *control.Live) { l.Changed = true }
	orphan := func(l *control.Live) { l.Origin = "" }
	elsewhere := func(l *control.Live) { l.Namespace = "test" }
	for name, c := range map[string]struct {
		was, now []control.Live
		want     string // "app version hosts", with an exclamation mark where it had failed
		err      string
	}{
		"as it was":                    {[]control.Live{on("a", "h1", "1", "")}, []control.Live{on("a", "h1", "1", "")}, "", ""},
		"another version":              {[]control.Live{on("a", "h1", "1", ""), on("a", "h2", "1", "")}, []control.Live{on("a", "h1", "2", ""), on("a", "h2", "1", "")}, "a 1 h1", ""},
		"another configuration":        {[]control.Live{on("a", "h1", "1", "c")}, []control.Live{on("a", "h1", "1", "d")}, "a 1 h1", ""},
		"it has failed since":          {[]control.Live{on("a", "h1", "1", "")}, []control.Live{on("a", "h1", "1", "", failed)}, "a 1 h1", ""},
		"it is not known now":          {[]control.Live{on("a", "h1", "1", "")}, []control.Live{on("a", "h1", "1", "", unknown)}, "a 1 h1", ""},
		"it is gone now":               {[]control.Live{on("a", "h1", "1", "")}, nil, "a 1 h1", ""},
		"it had failed then":           {[]control.Live{on("a", "h1", "1", "", failed)}, nil, "a 1 h1!", ""},
		"several releases and apps":    {[]control.Live{on("a", "h1", "1", ""), on("a", "h2", "2", ""), on("a", "h3", "1", ""), on("b", "h1", "1", "")}, nil, "a 1 h[1,3], a 2 h2, b 1 h1", ""},
		"nothing was live":             {[]control.Live{on("a", "h1", "", "")}, []control.Live{on("a", "h1", "1", "")}, "", ""},
		"nothing is on record":         {nil, []control.Live{on("a", "h1", "1", "")}, "", "no deploy of that is on record for that time"},
		"it was not known":             {[]control.Live{on("a", "h1", "1", "", unknown)}, nil, "", "it was not known what h1 had of a then: an attempt is running (job later)"},
		"a hand had changed it":        {[]control.Live{on("a", "h1", "1", "", hand)}, nil, "", "h1 had 1 of a then, and no deploy of that is on record"},
		"nobody on record deployed it": {[]control.Live{on("a", "h1", "1", "", orphan)}, nil, "", "no deploy of that is on record"},
		"of several namespaces":        {[]control.Live{on("a", "h1", "1", ""), on("a", "h1", "1", "", elsewhere)}, nil, "", "several namespaces: default, test"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := likenesses(c.was, c.now)
			var got []string
			for _, k := range list {
				mark := ""
				if k.failed {
					mark = "!"
				}
				got = append(got, k.app+" "+k.version+" "+fleet.Fold(k.hosts)+mark)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && err != nil || strings.Join(got, ", ") != c.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
