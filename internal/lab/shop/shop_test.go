package shop

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// large is the variable that says how many requests the large proof has.
const large = "SLUICE_SHOP_REQUESTS"

// size is how large the proof is: small, or as SLUICE_SHOP_REQUESTS says.
func size() (hosts int, share string, rate, requests int) {
	if n, err := strconv.Atoi(os.Getenv(large)); err == nil && n > 0 {
		return 20, "25%", 1100, n
	}
	return 6, "50%", 300, 20_000
}

// broken is a catalogue that no shop can read: /health says so, and every page is an error.
const broken = `{"goods": [`

// TestNobodyNotices: versions come, one is bad, they go back, a worker is killed in the middle, and of those who ask meanwhile
// nobody gets anything but a whole page of a good version. SLUICE_SHOP_REQUESTS=200000 makes it the large one: 20 hosts, and a
// load of more than 1,000 requests a second until so many were asked.
func TestNobodyNotices(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it deploys again and again")
	}
	for _, b := range []Balancer{HAProxy, Nginx} {
		t.Run(b.Name, func(t *testing.T) {
			if os.Getenv(large) == "" {
				t.Parallel() // they share nothing but the processors
			}
			nobodyNotices(t, b)
		})
	}
}

func nobodyNotices(t *testing.T, b Balancer) {
	hosts, share, rate, requests := size()
	full, went := os.Getenv(large) != "", 0
	s := Open(t, b, hosts, share)
	s.Push("1.0", "", "")
	s.Push("2.0", "", "")
	s.Push("3.0", "catalogue.json", broken)
	s.Push("4.0", "", "")
	s.Deploy(0, "1.0")
	load := s.Load(rate)
	// well is what holds after each chapter: everybody has the version, and nobody has noticed.
	well := func(chapter, version string, on int) {
		t.Helper()
		c := load.Count()
		t.Logf("%s: %s", chapter, c)
		if got := s.Live(); got[version] != on {
			t.Errorf("%s: live are %v", chapter, got)
		}
		if c.Failures() > 0 || c.By["3.0"]+c.By["3.0 (failed)"] > 0 {
			t.Fatalf("%s: somebody has noticed", chapter)
		}
	}

	deploy := s.Deploy(0, "2.0")
	well("a deploy", "2.0", hosts)
	t.Logf("from the swing until a host is well: least, median, most %v", s.Activation(deploy))

	if full || b.Name == Nginx.Name { // the small one has little time, and sees each way back once
		bad := s.Deploy(3, "3.0", "--max-failures", "1")
		well("a bad version", "3.0", hosts-s.Live()["2.0"])
		if s.Live()["3.0"] < 2 {
			t.Errorf("live are %v: the bad version got nowhere, and proves nothing", s.Live())
		}
		s.Sluice(0, "rollback", bad, "--yes", "-q")
		well("the way back of a bad version", "2.0", hosts)
	}
	if full || b.Name == HAProxy.Name {
		s.Deploy(3, "3.0", "--max-failures", "1", "--on-failure", "rollback")
		well("a bad version that goes back by itself", "2.0", hosts)
		for _, h := range s.Web { // it was there, or nothing is proved
			kept, err := h.Exec(t.Context(), "ls /srv/shop/versions")
			if err != nil {
				t.Fatal(err)
			}
			went += strings.Count(kept, "3.0")
		}
		if went < 2 {
			t.Errorf("the bad version was on %d hosts: it got nowhere, and proves nothing", went)
		}
	}

	job := s.Deploy(0, "4.0", "--detach")
	s.until("some hosts have it, and some are on their way", func() bool {
		out, err := s.try("status", job, "-o", "json")
		return err == nil && strings.Contains(out, `"succeeded"`) && s.Running("w1") > 0
	})
	s.KillWorker("w1")
	s.Work("w1")
	s.Sluice(0, "watch", job, "-q")
	well("a deploy with a worker killed", "4.0", hosts)

	if full { // the small one has seen a way back
		s.Sluice(0, "rollback", job, "--yes", "-q")
		well("the way back of a good version", "2.0", hosts)
	}

	s.until("all has been asked", func() bool { return load.Count().Asked >= requests })
	c := load.Stop()
	t.Logf("%s, %d hosts: %s", b.Name, hosts, c)
	if c.Failures() > 0 || c.Asked < requests || c.By["1.0"] == 0 || c.By["2.0"] == 0 || c.By["4.0"] == 0 {
		t.Errorf("it counts %s", c)
	}
}

// TestWithoutBalancersTheyNotice: the same, where Sluice may not speak to the balancer and nobody looks whether a version is
// well. It shows that the proof is one: the load sees what goes wrong.
func TestWithoutBalancersTheyNotice(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it deploys")
	}
	s := Open(t, HAProxy, 3, "1")
	about := s.read("shop/app.yaml")
	from, to := strings.Index(about, "  balancers:"), strings.Index(about, "  waits:")
	about = about[:from] + about[to:]
	s.Push("1.0", "app.yaml", about)
	s.Push("2.0", "app.yaml", about)
	s.Deploy(0, "1.0")
	s.until("HAProxy has found them", func() bool {
		c := s.Load(50)
		defer c.Stop()
		s.until("it is asked", func() bool { return c.Count().Asked > 9 })
		return c.Count().Failures() == 0
	})
	load := s.Load(300)
	s.until("it is asked", func() bool { return load.Count().Asked > 100 })
	s.Deploy(0, "2.0")
	c := load.Stop()
	t.Logf("without balancers: %s", c)
	if c.Failures() == 0 {
		t.Error("services were restarted under the load, and nobody noticed: does it count at all?")
	}
}
