package cluster

import (
	"testing"

	"sluice/internal/adapter/etcd"
	"sluice/internal/core/member"
)

// TestStrangers: a node goes whose server is no member any more, also one that never started; whoever is a member stays, by its name or by
// its address.
func TestStrangers(t *testing.T) {
	known := []member.Known{{Name: "a", Joined: true, Address: "10.0.0.1:7659"}, {Name: "b", Joined: true, Address: "B.example.com:7659"},
		{Name: "invited", Address: "10.0.0.9:7659"}}
	for _, c := range []struct {
		node etcd.Member
		goes bool
	}{
		{etcd.Member{Name: "a", Address: "10.0.0.1:7660"}, false},
		{etcd.Member{Name: "b", Address: "b.example.com:7660"}, false}, // however its address is written
		{etcd.Member{Address: "10.0.0.1:7660"}, false},                 // it has not started yet
		{etcd.Member{Name: "c", Address: "10.0.0.3:7660"}, true},
		{etcd.Member{Address: "10.0.0.3:7660"}, true},
		{etcd.Member{Name: "old", Address: "10.0.0.1:7660"}, true}, // the member came in its place
		{etcd.Member{Name: "invited", Address: "10.0.0.9:7660"}, true},
	} {
		if got := strangers([]etcd.Member{c.node}, known); len(got) == 1 != c.goes {
			t.Errorf("%+v: %v", c.node, got)
		}
	}
}
