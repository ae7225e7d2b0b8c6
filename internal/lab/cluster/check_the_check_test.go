package cluster

import (
	"strings"
	"testing"
	"time"

	"sluice"
)

// The checks find what they are there for.
func TestTheChecksBite(t *testing.T) {
	names := map[string]sluice.ServerName{"10.0.0.1": "s1", "10.0.0.2": "s2", "10.0.0.4": elsewhere}
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	terms := []term{{1, "s1", at(0)}, {2, "s2", at(100)}}
	for name, c := range map[string]struct{ a, b, says string }{
		"all is well":            {"+ 0123456789ab-0-1 10.0.0.1 1\n- 0123456789ab-0-1 - 2\n", "+ 0123456789ab-1-1 10.0.0.2 200\n", ""},
		"twice":                  {"+ 0123456789ab-0-1 10.0.0.1 1\n- 0123456789ab-0-1 - 2\n+ 0123456789ab-0-2 10.0.0.1 3\n", "", "2 times"},
		"too many":               {"+ 0123456789ab-0-1 10.0.0.1 1\n", "+ 0123456789ab-1-1 10.0.0.1 2\n", "2 hosts at once"},
		"after the term":         {"+ 0123456789ab-0-1 10.0.0.1 101\n", "", "s2 owned the log"},
		"by the first, in time":  {"+ 0123456789ab-0-1 10.0.0.1 99\n", "", ""},
		"by a worker":            {"+ 0123456789ab-0-1 10.0.0.4 101\n", "", ""},
		"by nobody that we know": {"+ 0123456789ab-0-1 10.0.0.9 101\n", "", "s2 owned the log"},
		"something else is said": {"+ 0123456789ab 10.0.0.1 99\n", "", "is no attempt"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []mark
			for host, text := range map[string]string{"a": c.a, "b": c.b} {
				text = strings.ReplaceAll(text, "\n", "000000000\n")
				got, err := parse(host, text)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, got...)
			}
			got := strings.Join(wrong(all, terms, names, 1+strings.Count(name, "well")), "; ")
			if c.says == "" && got != "" || !strings.Contains(got, c.says) {
				t.Errorf("%q", got)
			}
		})
	}
	r := func(n uint64, text string) sluice.Record {
		out := sluice.Record{First: n, Last: n, Payload: []byte(text)}
		out.Hash = out.Sum()
		return out
	}
	if got := alike(map[sluice.ServerName][]sluice.Record{"s1": {r(1, "a"), r(2, "b")}, "s2": {r(1, "a")}}); len(got) > 0 {
		t.Errorf("one is the beginning of the other: %q", got)
	}
	if got := alike(map[sluice.ServerName][]sluice.Record{"s1": {r(1, "a"), r(2, "b")}, "s2": {r(1, "x")}}); len(got) == 0 {
		t.Error("they differ")
	}
	there := func(name sluice.WorkerName) promise {
		return promise{string(name) + " is invited", func(e sluice.Event) bool { b, is := e.Body.(sluice.WorkerInvited); return is && b.Worker == name }}
	}
	if got := lost([]promise{there("w1"), there("w2")}, map[sluice.Namespace][]sluice.Event{"access": {{Body: sluice.WorkerInvited{Worker: "w1"}}}}); len(got) != 1 || !strings.Contains(got[0], "w2 is invited") {
		t.Errorf("%q", got)
	}
	a := sluice.NewAttemptID("0123456789ab", 0, 1)
	b := sluice.NewAttemptID("0123456789ab", 1, 1)
	got := strings.Join(told([]mark{{"h", true, b, "", at(1)}}, []sluice.Event{{Body: sluice.TaskStarted{Attempt: a}}, {Body: sluice.TaskFinished{Attempt: a, Outcome: sluice.Succeeded}}}), "; ")
	if !strings.Contains(got, "did not run to its end") || !strings.Contains(got, "does not know of it") {
		t.Errorf("%q", got)
	}
}

// What was found once is not found again, and figures are those of the rounds.
func TestTable(t *testing.T) {
	var out table
	if a, b := out.news([]string{"x", "y"}), out.news([]string{"y", "z"}); len(a) != 2 || len(b) != 1 || b[0] != "z" {
		t.Errorf("%q %q", a, b)
	}
	var many []time.Duration
	for n := range 20 {
		many = append(many, time.Duration(20-n)*time.Second)
	}
	out.rows = []row{{fault: "one", rounds: 1, again: many[:1]}, {fault: "many", rounds: 20, again: many, wrong: []string{"v"}}, {fault: "none"}}
	for _, line := range []string{"| one | 1 | looked at for all | 20.0 s |", "| many | 20 | 1 | p50 10.0 s, p99 20.0 s |", "| none | 0 | looked at for all | - |"} {
		if asked() {
			line = strings.ReplaceAll(line, "looked at for all", "0")
		}
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("%s lacks %s", out.String(), line)
		}
	}
}
