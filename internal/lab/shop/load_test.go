package shop

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTheLoadCountsHonestly: a server that fails in every way that there is, and no failure is taken for an answer.
func TestTheLoadCountsHonestly(t *testing.T) {
	page := "A shop, version 7, on here\n"
	good := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Version: 7\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
	for name, c := range map[string]struct {
		answer string
		reset  bool
		want   string
		by     string
	}{
		"well":               {good, false, "", "7"},
		"cut off":            {good[:len(good)-3], false, "cut off", "7 (failed)"},
		"cut in the headers": {good[:17], false, "cut off", ""},
		"nothing":            {"", false, "closed without an answer", ""},
		"reset":              {"", true, "reset", ""},
		"status":             {strings.Replace(good, "200", "503", 1), false, "status 503", "7 (failed)"},
		"no version":         {strings.Replace(good, "X-", "Y-", 1), false, "an odd answer", ""},
		"of two versions":    {strings.Replace(good, "on: 7", "on: 8", 1), false, "an odd answer", "8 (failed)"},
		"never":              {"never", false, "no answer in time", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				if c.answer == "never" {
					_, _ = conn.Read(make([]byte, 1)) // until the other side has enough
					return
				}
				_, _ = conn.Write([]byte(c.answer))
				if c.reset {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
			}()
			load := &Load{cfg: LoadConfig{URL: "http://" + l.Addr().String(), Limit: time.Minute}, start: time.Now(), now: Count{By: map[string]int{}, Failed: map[string]int{}}}
			if c.answer == "never" {
				load.cfg.Limit = 20 * time.Millisecond
			}
			tr := &http.Transport{DisableKeepAlives: true}
			defer tr.CloseIdleConnections()
			load.once(t.Context(), tr, "/")
			<-asked
			got := load.now
			if got.Asked != 1 || got.Failures() != map[bool]int{true: 0, false: 1}[c.want == ""] || c.want != "" && got.Failed[c.want] != 1 || c.by != "" && got.By[c.by] != 1 {
				t.Errorf("it counts %s", got)
			}
		})
	}
}

// TestTheLoadIsRefused: where nobody listens, every request fails, and says so.
func TestTheLoadIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	load := StartLoad(t.Context(), LoadConfig{URL: "http://" + address, Rate: 200, Clients: 4, Slow: 1})
	for load.Count().Asked < 20 {
		if t.Context().Err() != nil {
			t.Fatal("it does not ask")
		}
	}
	if c := load.Stop(); c.Failed["refused"] != c.Asked || len(c.By) != 0 {
		t.Errorf("it counts %s", c)
	}
}
