package sshexec

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
)

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// `true` on 500 addresses of one sshd: connecting, one session, closing. The processor time is that of the
// client alone.
func BenchmarkTrue(b *testing.B) {
	const hosts = 500
	h := newHome(b)
	s := startSSHD(b, h, "LogLevel INFO", "MaxStartups 2000")
	var known strings.Builder
	for i := range hosts {
		fmt.Fprintf(&known, "[%s]:%d %s", address(i), s.port, s.hostPu)
	}
	h.write(b, ".ssh/known_hosts", known.String())
	for _, concurrency := range []int{64, 256} {
		b.Run(fmt.Sprintf("concurrency=%d", concurrency), func(b *testing.B) {
			begun, used := time.Now(), cpu(b)
			n := 0
			for b.Loop() {
				tr := h.transport(b, func(c *Config) {
					c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
						var d net.Dialer
						return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", s.port))
					}
				})
				runOnAll(b, tr, s.port, hosts, concurrency)
				_ = tr.Close()
				n += hosts
			}
			b.ReportMetric(float64((cpu(b)-used).Microseconds())/float64(n)/1000, "cpu-ms/host")
			b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "hosts/s")
		})
	}
}

func address(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250, i%250+1) }

func runOnAll(b *testing.B, tr *Transport, port, hosts, concurrency int) {
	places := make(chan struct{}, concurrency)
	var wg sync.WaitGroup
	for i := range hosts {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			l, err := tr.Connect(b.Context(), sluice.Host(fmt.Sprint("h", i)), sluice.SSH{Address: address(i), Port: port})
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = l.Close() }()
			session, err := l.Start(b.Context(), "true", false)
			if err != nil {
				b.Error(err)
				return
			}
			_ = session.Stdin().Close()
			_, _ = io.Copy(io.Discard, onlyReader{session.Stdout()})
			_, _ = io.Copy(io.Discard, onlyReader{session.Stderr()})
			if status, err := session.Wait(); err != nil || status.Code != 0 {
				b.Error(status, err)
			}
		})
	}
	wg.Wait()
}
