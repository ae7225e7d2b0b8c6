package steward_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
)

// TestALastingErrorOfOneNamespaceEndsThatOne, and is told once; the others go on.
func TestALastingErrorOfOneNamespaceEndsThatOne(t *testing.T) {
	ofProd := sluice.Errorf(sluice.Contact, "a record was changed").Lasts()
	ofProd.Of = "prod"
	t.Run("a drive", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard()
			y.submit(t, "prod", jobID(1))
			y.submit(t, "prod", jobID(2))
			y.submit(t, "lab", jobID(3))
			y.open(t.Context())
			y.ends(jobID(1), ofProd)
			time.Sleep(10 * retry)
			synctest.Wait()
			same(t, "still driven", y.driven(), []sluice.JobID{jobID(2), jobID(3)})
			same(t, "drives", y.times(jobID(1)), 1)
			if n := strings.Count(y.trouble(), "a record was changed"); n != 1 {
				t.Errorf("told %d times: %s", n, y.trouble())
			}
			same(t, "Run returned", y.close(), error(nil))
		})
	})
	t.Run("the reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard()
			y.submit(t, "lab", jobID(3))
			y.submit(t, "prod", jobID(1))
			y.bad = func(_ context.Context, ns sluice.Namespace) error {
				if ns == "prod" {
					return ofProd
				}
				return nil
			}
			y.open(t.Context())
			time.Sleep(10 * retry)
			synctest.Wait()
			same(t, "driven", y.driven(), []sluice.JobID{jobID(3)})
			if n := strings.Count(y.trouble(), "nothing of the namespace prod"); n != 1 {
				t.Errorf("told %d times: %s", n, y.trouble())
			}
			same(t, "Run returned", y.close(), error(nil))
		})
	})
}
