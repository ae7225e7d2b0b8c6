package etcd

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"sluice"
)

// TestJudge: a node takes part that keeps what a majority keep; one that keeps something else is told so only by a majority.
func TestJudge(t *testing.T) {
	here := sum{5, 1}
	same, differs, apart, gone := said{name: "b", sum: here}, said{name: "c", sum: sum{5, 2}}, said{name: "d", sum: sum{6, 1}}, said{name: "e", err: errors.New("refused")}
	other := said{name: "f", sum: sum{5, 3}}
	later, before := said{name: "g", err: rpctypes.ErrFutureRev}, said{name: "h", err: rpctypes.ErrCompacted}
	for what, v := range map[string]struct {
		counts bool
		all    []said
		voters int
		code   sluice.Code // "": it is the same
		says   string
	}{
		"alone":                              {true, nil, 1, "", ""},
		"nobody has answered":                {true, nil, 3, sluice.Contact, "not compared yet"},
		"one of two is the same":             {true, []said{same, gone}, 3, "", ""},
		"one is the same, and one is not":    {true, []said{same, differs}, 3, "", ""},
		"of five, two are the same":          {true, []said{same, same, differs, gone}, 5, "", ""},
		"of five, one is the same":           {true, []said{same, gone, gone, gone}, 5, sluice.Contact, "e does not answer"},
		"both others keep something else":    {true, []said{differs, differs}, 3, sluice.Config, "has changed"},
		"they keep different things":         {true, []said{differs, other}, 3, sluice.Contact, "c keeps something else, f keeps something else"},
		"one of two, and nobody knows which": {true, []said{differs}, 2, sluice.Contact, "c keeps something else"},
		"one differs, and one is away":       {true, []said{differs, gone}, 3, sluice.Contact, "c keeps something else, e does not answer"},
		"the others are at other places":     {true, []said{apart, later}, 3, sluice.Contact, "d is at another place now, g is at another place now"},
		"this one is behind":                 {true, []said{before, before}, 3, sluice.Contact, "h is at another place now"},
		"one that does not count":            {false, []said{same, gone}, 3, sluice.Contact, "e does not answer"},
		"one that does not count, all same":  {false, []said{same, same}, 3, "", ""},
	} {
		err := judge(here, v.counts, v.all, v.voters)
		if sluice.CodeOf(err) != v.code || err != nil && !strings.Contains(err.Error(), v.says) || sluice.IsLasting(err) != (v.code == sluice.Config) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
