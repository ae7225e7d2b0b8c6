package app

import (
	"context"
	"net"
	"strings"

	"sluice"
	"sluice/internal/adapter/execbalancer"
	"sluice/internal/adapter/haproxy"
	"sluice/internal/adapter/nginx"
	"sluice/internal/run/drain"
	"sluice/internal/run/onhost"
	"sluice/internal/run/serving"
)

// drains is one for the process: it is what keeps several jobs from taking more out of a pool than may be.
var drains drain.Desk

// newServing is how a worker takes hosts out of service, with the secrets of a job. here reaches this machine; nil where jobs may not
// do that.
func newServing(ssh, here sluice.Transport, secrets sluice.Credentials) *serving.Serving {
	s := &serving.Serving{Desk: &drains, Connect: ssh.Connect}
	s.Balancer = func(b sluice.Balancing, link sluice.Link) (sluice.Balancer, error) {
		return balancerAt(b, link, secrets)
	}
	if here != nil {
		s.Here = func(ctx context.Context) (sluice.Link, error) {
			return here.Connect(ctx, "localhost", sluice.SSH{Transport: "local"})
		}
	}
	return s
}

// balancerAt is a balancer behind a link to its machine.
func balancerAt(b sluice.Balancing, link sluice.Link, secrets sluice.Credentials) (sluice.Balancer, error) {
	run := onhost.Program(link)
	if b.Sudo != "" {
		var secret onhost.Secret
		if secrets != nil {
			secret = func(ctx context.Context) (sluice.Secret, func(bool), error) { return secrets.Sudo(ctx, b.On) }
		}
		run = onhost.Sudo(link, b.Sudo, secret)
	}
	switch b.Driver {
	case "haproxy":
		network := "tcp"
		if strings.HasPrefix(b.At, "/") {
			network = "unix"
		}
		return haproxy.New(func(ctx context.Context) (net.Conn, error) { return link.Dial(ctx, network, b.At) }), nil
	case "nginx":
		return nginx.New(nginx.Config{Run: run, File: b.At}), nil
	case "exec":
		return execbalancer.New(run, []string{b.At}, 0), nil
	}
	return nil, sluice.Errorf(sluice.Config, "%q is no balancer: expected haproxy, nginx or exec", b.Driver)
}

// over is what reaches hosts in place of ssh, or else ssh.
func over(instead, ssh sluice.Transport) sluice.Transport {
	if instead != nil {
		return instead
	}
	return ssh
}
