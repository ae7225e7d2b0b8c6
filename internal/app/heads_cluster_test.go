package app_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/app"
)

// shows is a server that shows where its log ends, and keeps what is handed back.
type shows struct {
	seq    uint64
	handed []sluice.SeenHead
}

func (s *shows) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in api.Heads
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.handed = in.Heads
	_ = json.NewEncoder(w).Encode(api.Heads{Heads: []sluice.SeenHead{{Head: sluice.Head{Namespace: "prod", Seq: s.seq}, Sign: "ab"}}})
}

// TestServersHaveOneLog: what one server of a cluster has shown is handed back to another one, and missed there; whoever was named alone
// before is one of them.
func TestServersHaveOneLog(t *testing.T) {
	a, b := &shows{seq: 5}, &shows{seq: 5}
	atA, atB := httptest.NewServer(a), httptest.NewServer(b)
	defer atA.Close()
	defer atB.Close()
	person := app.Places{State: t.TempDir()}
	remember := func(servers ...string) error {
		c, err := client.New(strings.Join(servers, ","), "secret", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return app.Remember(t.Context(), c, person)
	}
	expect := func(what string, s *shows, handed uint64, err error, lost bool) {
		t.Helper()
		if len(s.handed) != 1 || s.handed[0].Seq != handed {
			t.Errorf("%s: it is handed %+v, want event %d", what, s.handed, handed)
		}
		if lost != (sluice.CodeOf(err) == sluice.Contact && strings.Contains(err.Error(), "lost part of its log")) || !lost && err != nil {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if err := remember(atA.URL); err != nil {
		t.Fatal(err)
	}
	b.seq = 7
	expect("the other one, that has more", b, 5, remember(atB.URL, atA.URL), false)
	a.seq = 6
	expect("the first one, that has less", a, 7, remember(atA.URL, atB.URL), true)
	expect("the same, named alone", a, 7, remember(atA.URL), true)
	a.seq = 8
	expect("the first one, that has all", a, 7, remember(atA.URL, atB.URL), false)
	expect("the other one, alone", b, 8, remember(atB.URL), true)
	other := &shows{seq: 1}
	atOther := httptest.NewServer(other)
	defer atOther.Close()
	if err := remember(atOther.URL); err != nil || len(other.handed) > 0 {
		t.Errorf("one of another cluster is handed %v, error %v", other.handed, err)
	}
}
