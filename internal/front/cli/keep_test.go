package cli

import (
	"testing"
	"time"

	"sluice"
)

func TestKeepOptions(t *testing.T) {
	for _, c := range []struct {
		flags keepFlags
		want  KeepOptions
		bad   bool
	}{
		{},
		{flags: keepFlags{jobs: "90d", output: "36h", size: "20GiB", archive: "/a"}, want: KeepOptions{Jobs: 2160 * time.Hour, Output: 36 * time.Hour, OutputBytes: 20 << 30, Archive: "/a"}},
		{flags: keepFlags{size: "500MB"}, want: KeepOptions{OutputBytes: 500e6}},
		{flags: keepFlags{size: "7 B"}, want: KeepOptions{OutputBytes: 7}},
		{flags: keepFlags{size: "7"}, want: KeepOptions{OutputBytes: 7}},
		{flags: keepFlags{archive: "/a"}, bad: true},
		{flags: keepFlags{jobs: "0d"}, bad: true}, {flags: keepFlags{jobs: "-1d"}, bad: true}, {flags: keepFlags{jobs: "d"}, bad: true},
		{flags: keepFlags{jobs: "99999999999d"}, bad: true}, {flags: keepFlags{jobs: "soon"}, bad: true}, {flags: keepFlags{output: "0"}, bad: true},
		{flags: keepFlags{size: "0"}, bad: true}, {flags: keepFlags{size: "-1GiB"}, bad: true}, {flags: keepFlags{size: "GiB"}, bad: true},
		{flags: keepFlags{size: "99999999999TiB"}, bad: true}, {flags: keepFlags{size: "1.5GiB"}, bad: true}, {flags: keepFlags{size: "much"}, bad: true},
	} {
		got, err := c.flags.options()
		if c.bad != (sluice.CodeOf(err) == sluice.Usage) || !c.bad && (err != nil || got != c.want) {
			t.Errorf("%+v: %+v, error %v", c.flags, got, err)
		}
	}
}
