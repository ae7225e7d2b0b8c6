package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
)

// heard is a server of a cluster that keeps what it was asked.
type heard struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	does  http.HandlerFunc
}

func hears(t *testing.T, does http.HandlerFunc) *heard {
	h := &heard{does: does}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v1/")+" "+r.Header.Get("Idempotency-Key")))
	h.mu.Unlock()
	h.does(w, r)
}

func (h *heard) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// dies takes a request and ends without an answer.
func dies(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func answers(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, `{"id":"0123456789ab","events":[]}`)
}

func ill(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(api.Problem{Status: http.StatusServiceUnavailable, Code: string(sluice.Contact), Detail: "there is no majority"})
}

func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func of(t *testing.T, servers ...string) *Client {
	c, err := New(strings.Join(servers, ","), "secret", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	c.retry = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

// TestWhichServerIsAsked: a change is made at one server at most, unless it has a key of its own; a question is asked of all.
func TestWhichServerIsAsked(t *testing.T) {
	skip := func(c *Client) error {
		_, err := c.Skip(t.Context(), "0123456789ab", []sluice.Host{"h"}, "why")
		return err
	}
	keyed := func(c *Client) error {
		_, err := c.SubmitOnce(t.Context(), api.Submit{Command: "true"}, "key")
		return err
	}
	unkeyed := func(c *Client) error { _, err := c.Submit(t.Context(), api.Submit{Command: "true"}); return err }
	asks := func(c *Client) error { _, err := c.Job(t.Context(), "0123456789ab"); return err }
	halts := func(c *Client) error { _, err := c.Halt(t.Context(), "0123456789ab", "why"); return err }
	puts := func(c *Client) error {
		b, err := c.Put(t.Context(), strings.NewReader("some text"))
		if sluice.CodeOf(err) == sluice.Contact && b.Digest == "" && strings.Contains(err.Error(), "something else") {
			return nil // it answers all in the same way
		}
		return err
	}
	for _, v := range []struct {
		what          string
		first         http.HandlerFunc // nil: nobody is there
		do            func(*Client) error
		first1, other []string
		fails         bool
	}{
		{"a change, and the first is gone", nil, skip, nil, []string{"POST jobs/0123456789ab/skip"}, false},
		{"a change whose answer is lost", dies, skip, []string{"POST jobs/0123456789ab/skip"}, nil, true},
		{"a change that is refused there", ill, skip, []string{"POST jobs/0123456789ab/skip"}, nil, true},
		{"a job without a key whose answer is lost", dies, unkeyed, []string{"POST jobs"}, nil, true},
		{"a job with a key whose answer is lost", dies, keyed, []string{"POST jobs key"}, []string{"POST jobs key"}, false},
		{"a halt whose answer is lost", dies, halts, []string{"POST jobs/0123456789ab/halt"}, []string{"POST jobs/0123456789ab/halt"}, false},
		{"a question whose answer is lost", dies, asks, []string{"GET jobs/0123456789ab"}, []string{"GET jobs/0123456789ab"}, false},
		{"a question where it has no majority", ill, asks, []string{"GET jobs/0123456789ab"}, []string{"GET jobs/0123456789ab"}, false},
		{"a file, and the first is gone", nil, puts, nil, []string{"POST blobs"}, false},
		{"a file whose answer is lost", dies, puts, []string{"POST blobs"}, nil, true},
	} {
		second := hears(t, answers)
		at := nobody(t)
		first := &heard{}
		if v.first != nil {
			first = hears(t, v.first)
			at = first.URL
		}
		c := of(t, at, second.URL)
		err := v.do(c)
		if v.fails != (err != nil) || err != nil && sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %v", v.what, err)
		}
		if got := first.list(); !slices.Equal(got, v.first1) {
			t.Errorf("%s: the first is asked %q", v.what, got)
		}
		if got := second.list(); !slices.Equal(got, v.other) {
			t.Errorf("%s: the other is asked %q", v.what, got)
		}
		if err == nil && c.At() != second.URL {
			t.Errorf("%s: the next request goes to %s", v.what, c.At())
		}
	}
}

// TestTheOneThatAnsweredIsAskedNext, and who could not be reached is named where nobody answers.
func TestTheOneThatAnsweredIsAskedNext(t *testing.T) {
	first, second := hears(t, dies), hears(t, answers)
	c := of(t, first.URL, second.URL)
	for range 5 {
		if _, err := c.Job(t.Context(), "0123456789ab"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(first.list()); n != 1 {
		t.Errorf("the first is asked %d times", n)
	}
	a, b := nobody(t), nobody(t)
	_, err := of(t, a, b).Job(t.Context(), "0123456789ab")
	for _, at := range []string{a, b} {
		if name := strings.TrimPrefix(at, "http://"); sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	for _, bad := range []string{"http://a:1,", "http://a:1,b:1", ","} {
		if _, err := New(bad, "secret", nil); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestWatchGoesOnAtAnother: from the last event that was seen, each once.
func TestWatchGoesOnAtAnother(t *testing.T) {
	var after []string
	serve := func(from, to int, end bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			after = append(after, r.Header.Get("Last-Event-Id"))
			w.Header().Set("Content-Type", "text/event-stream")
			for i := from; i <= to; i++ {
				e := sluice.Event{Seq: uint64(i), Job: "0123456789ab", Body: sluice.TaskStep{Host: "h", Attempt: "0123456789ab-0-1", Step: "x"}}
				if end && i == to {
					e.Body = sluice.JobFinished{Outcome: sluice.Succeeded}
				}
				text, err := json.Marshal(e)
				if err != nil {
					t.Error(err)
				}
				fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, text)
			}
			if end {
				fmt.Fprint(w, "event: end\ndata: {}\n\n")
			}
			_ = http.NewResponseController(w).Flush()
			if !end {
				dies(w, r)
			}
		}
	}
	first, second := hears(t, serve(1, 3, false)), hears(t, serve(3, 5, true))
	var seqs []uint64
	lost := 0
	last, err := of(t, first.URL, second.URL).Watch(t.Context(), "0123456789ab", WatchOptions{Observe: func(e sluice.Event) { seqs = append(seqs, e.Seq) }, Lost: func(error) { lost++ }})
	if err != nil || last.Seq != 5 || !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5}) || lost != 1 {
		t.Errorf("events %v, lost %d times, the last %+v, error %v", seqs, lost, last, err)
	}
	if !slices.Equal(after, []string{"0", "3"}) {
		t.Errorf("asked for events after %q", after)
	}
}

// TestEachServerProvesItsName: one that does not prove who it is gets nothing, not even the token, and the next one is asked.
func TestEachServerProvesItsName(t *testing.T) {
	other := httptest.NewUnstartedServer(http.HandlerFunc(answers))
	stranger := &heard{does: answers}
	strange := httptest.NewUnstartedServer(stranger)
	strange.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	other.StartTLS()
	t.Cleanup(strange.Close)
	t.Cleanup(other.Close)
	roots := x509.NewCertPool()
	roots.AddCert(other.Certificate())
	c, err := New(strange.URL+","+other.URL, "secret", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Skip(t.Context(), "0123456789ab", nil, "why"); err != nil || c.At() != other.URL || len(stranger.list()) > 0 {
		t.Errorf("error %v, at %s; the stranger heard %q", err, c.At(), stranger.list())
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
