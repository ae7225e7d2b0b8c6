package etcd

import (
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"sluice"
)

// TestThroughNoProxy: a node is not started where etcd would go to the others through a web proxy.
func TestThroughNoProxy(t *testing.T) {
	for _, c := range []struct {
		what, certificate string
		env               httpproxy.Config
		bad               string // the node that is named; "": it may start
	}{
		{"nothing is said", "x", httpproxy.Config{}, ""},
		{"a proxy", "x", httpproxy.Config{HTTPSProxy: "http://proxy.example.com:3128"}, "s1.example.com:7660"},
		{"one that is not for them", "x", httpproxy.Config{HTTPSProxy: "http://proxy.example.com:3128", NoProxy: ".example.com,s2.example.net"}, ""},
		{"one that is not for one of them", "x", httpproxy.Config{HTTPSProxy: "http://proxy.example.com:3128", NoProxy: ".example.com"}, "s2.example.net:7660"},
		{"one for what is not encrypted", "x", httpproxy.Config{HTTPProxy: "http://proxy.example.com:3128"}, ""},
		{"the same, and nothing is encrypted", "", httpproxy.Config{HTTPProxy: "http://proxy.example.com:3128"}, "s1.example.com:7660"},
		{"one that is none", "x", httpproxy.Config{HTTPSProxy: "http://[bad"}, "s1.example.com:7660"},
	} {
		cfg := NodeConfig{Certificate: c.certificate, Advertise: "s1.example.com:7660", Nodes: map[string]string{"s1": "s1.example.com:7660", "s2": "s2.example.net:7660"}}
		err := cfg.straight(&c.env)
		if c.bad == "" && err != nil || c.bad != "" && (sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
