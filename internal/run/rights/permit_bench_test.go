package rights_test

import (
	"context"
	"fmt"
	"testing"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/access"
	"sluice/internal/run/recent"
	"sluice/internal/run/rights"
)

// BenchmarkMay: many jobs of one namespace are carried out side by side; each asks before each of its steps, and each step
// is some events that all the others come by.
func BenchmarkMay(b *testing.B) {
	for _, jobs := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(jobs), func(b *testing.B) {
			disk, err := sqlitelog.Open(b.Context(), sqlitelog.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer disk.Close()
			l := recent.Log(disk)
			k, root := founded(b, l)
			change(b, k, root, added("ann"), given("ann", access.Operator, "prod"))
			p := &rights.Permit{Keeper: k, Log: l, Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
				return func(sluice.Tag) []sluice.Host { return nil }, nil
			}}
			var all []*sluice.Job
			for i := range jobs {
				all = append(all, &sluice.Job{ID: sluice.JobID(fmt.Sprintf("%012d", i)), Namespace: "prod", By: "ann", Targets: []sluice.Host{"web1"}})
			}
			var head uint64
			step := func(j *sluice.Job) {
				var err error
				head, err = l.Update(b.Context(), "prod", head, func([]sluice.Event) (out []sluice.Event, _ error) {
					for range 20 {
						out = append(out, sluice.Event{Time: clock(), Job: j.ID, Body: sluice.TaskStarted{Host: "web1", Attempt: "a"}})
					}
					return out, nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			for i := range 2 * jobs {
				step(all[i%jobs])
			}
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				step(all[i%jobs])
				b.StartTimer()
				if err := p.May(b.Context(), all[i%jobs]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
