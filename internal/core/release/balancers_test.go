package release

import (
	"reflect"
	"strings"
	"testing"

	"sluice"
)

func TestBalancersOfTheFleet(t *testing.T) {
	f := &sluice.Fleet{SSH: sluice.SSH{User: "deploy"}, HostSSH: map[sluice.Host]sluice.SSH{"lb1": {User: "lb", Port: 2222}},
		Balancers: []sluice.NamedBalancer{{Name: "web", Driver: "nginx", Address: "/s", On: "lb1", Sudo: "root", Pools: []sluice.NamedPool{{Name: "shop", Least: sluice.Percent(50)}},
			At: sluice.Position{File: "fleet.yaml", Line: 3, Column: 3}}}}
	of := []sluice.Balancing{
		{Name: "web", Driver: "exec", At: "/mine", On: "web1", SSH: sluice.SSH{User: "root"}, Pool: "shop", Server: "{host}"},
		{Driver: "exec", At: "/x", On: "lb2", SSH: sluice.SSH{User: "root"}, Sudo: "root", Pool: "p"},
		{Driver: "exec", At: "/x", SSH: sluice.SSH{User: "root"}, Pool: "p"},
		{Name: "gone", Driver: "exec", At: "/x", Sudo: "root", Pool: "p"}, // of an earlier job, or made up
	}
	want := []sluice.Balancing{
		{Name: "web", Driver: "nginx", At: "/s", On: "lb1", SSH: sluice.SSH{User: "lb", Port: 2222}, Sudo: "root", Pool: "shop", Server: "{host}", Least: sluice.Percent(50)},
		{Driver: "exec", At: "/x", On: "lb2", SSH: sluice.SSH{User: "deploy"}, Pool: "p"},
		{Driver: "exec", At: "/x", Pool: "p"},
		{Name: "gone", Driver: "exec", At: "/x", Pool: "p"},
	}
	if got, err := Balancers(of, f, nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v", got, err)
	}
	at := []sluice.Position{{File: "app.yaml", Line: 4, Column: 7}, {File: "app.yaml", Line: 5, Column: 7}, {File: "app.yaml", Line: 6, Column: 7}}
	_, err := Balancers([]sluice.Balancing{{Name: "wbe", Pool: "shop"}, {Name: "web", Pool: "shpo"}, {Name: "else", Pool: "x"}}, f, at)
	const says = `app.yaml:4:7: the fleet has no balancer "wbe"
    did you mean web?
app.yaml:5:7: the balancer web has no pool "shpo"
    did you mean shop?
app.yaml:6:7: the fleet has no balancer "else"
    the section balancer of the fleet file says which there are`
	if err == nil || strings.TrimSpace(err.Error()) != says {
		t.Errorf("%v\nwant\n%s", err, says)
	}
}

func TestOddBalancers(t *testing.T) {
	for _, b := range []sluice.Balancing{{Name: "web", Pool: "p", Server: "x\n"}, {Name: "web", Pool: "p\x1b[31m"}, {Name: "w\teb", Pool: "p"}, {Driver: "exec", At: "/x", Pool: "p", Server: "\x7f"}} {
		r := &sluice.Release{App: "a", Env: "e", Version: "1", Deploy: sluice.Deploy{Root: "/srv/a", Balancers: []sluice.Balancing{b}}}
		if err := Check(sluice.DeployTo, r); err == nil || !strings.Contains(err.Error(), "has an odd name, pool or server") {
			t.Errorf("%+v: %v", b, err)
		}
	}
}
