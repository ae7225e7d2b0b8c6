package config

import (
	"slices"
	"strings"
	"testing"
)

// TestOrder holds the order to that of yoconfigurator, written down here by hand.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		f    For
		want string
	}{
		{For{App: "shop", Environment: "prod"},
			"S:hostname S:common S:common-prod S:common-overrides A:shop-default A:shop-prod S:shop S:shop-prod S:shop-overrides"},
		{For{App: "shop", Environment: "prod", Cluster: "eu", Host: "web1", Local: true},
			"S:hostname S:hostname/web1 S:hostname-local S:common S:common-prod S:common-prod-eu S:common-local S:common-overrides " +
				"A:shop-default A:shop-prod A:shop-prod-eu S:shop S:shop-prod S:shop-prod-eu A:shop-local S:shop-local S:shop-overrides"},
	} {
		var got []string
		for _, s := range c.f.order() {
			where := "A:"
			if s.shared {
				where = "S:"
			}
			got = append(got, where+s.name)
		}
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.f, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []For{
		{App: "common", Environment: "prod"}, {App: "hostname", Environment: "prod"}, {App: "configuration", Environment: "prod"},
		{App: "a", Environment: "default"}, {App: "a", Environment: "local"}, {App: "a", Environment: "overrides"},
		{App: "../a", Environment: "prod"}, {App: "a/b", Environment: "prod"}, {App: "", Environment: "prod"}, {App: "a", Environment: ""},
		{App: "-a", Environment: "prod"}, {App: ".a", Environment: "prod"}, {App: "a", Environment: "prod", Cluster: "e/u"},
		{App: "a", Environment: "prod", Host: "../x"}, {App: App(strings.Repeat("a", 65)), Environment: "prod"},
	} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if err := (For{App: "www.shop_2", Environment: "prod-1", Cluster: "default", Host: "web1.example.com"}).check(); err != nil {
		t.Error(err)
	}
}
