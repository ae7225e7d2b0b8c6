package etcd

import (
	"maps"
	"net/url"
	"slices"

	"golang.org/x/net/http/httpproxy"

	"sluice"
)

// straight refuses an environment in which etcd would go to other nodes through a proxy: it takes the one for web pages, and cannot be told
// not to. What nodes say to each other must not depend on that, nor pass it.
func (cfg NodeConfig) straight(env *httpproxy.Config) error {
	through := env.ProxyFunc()
	for _, hostport := range append(slices.Sorted(maps.Values(cfg.Nodes)), cfg.Advertise) {
		proxy, err := through(&url.URL{Scheme: cfg.scheme(), Host: hostport})
		if err == nil && proxy == nil {
			continue
		}
		e := sluice.Errorf(sluice.Config, "by the environment, servers would be reached through a web proxy: %s is one of them", hostport).
			WithHint("put the hosts of all servers of the cluster into NO_PROXY, or start the server without HTTPS_PROXY and HTTP_PROXY")
		e.Err = err
		return e
	}
	return nil
}
