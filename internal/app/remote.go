package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/front/cli"
	"sluice/internal/front/remote"
	"sluice/internal/run/control"
	"sluice/internal/run/tree"
)

// dialTimeout bounds the connecting to a server, by TCP and by TLS; amongTimeout does where there is another one to go to.
const (
	dialTimeout  = 10 * time.Second
	amongTimeout = 2 * time.Second
)

// Remote is the way to a server.
func (l *Local) Remote(s cli.Server) (control.Desk, func() error, error) {
	c, closing, err := reach(s)
	if err != nil {
		return nil, nil, err
	}
	sealer := func(workers []string) (*client.Sealer, error) {
		if err := closeMemory(); err != nil {
			return nil, err
		}
		u, err := url.Parse(s.URLs()[0])
		if err != nil {
			return nil, err
		}
		t := &Trusted{Dir: l.Places.Config, Server: u.Host, Fingerprints: workers, Confirm: l.Confirm, Tell: func(text string) {
			fmt.Fprintln(os.Stderr, text)
		}}
		return t.Sealer(l.Clock)
	}
	return remote.New(remote.Config{Client: c, Who: l.who(), Sealer: sealer, Unpack: unpackFetched}), closing, nil
}

// greet asks a server whether it takes the token.
func greet(ctx context.Context, s cli.Server) error {
	c, closing, err := reach(s)
	if err != nil {
		return err
	}
	return errors.Join(c.Greet(ctx), closing())
}

func reach(s cli.Server) (*client.Client, func() error, error) {
	servers := s.URLs()
	for _, one := range servers {
		u, err := url.Parse(one)
		if err != nil {
			return nil, nil, sluice.Errorf(sluice.Usage, "%q is no URL of a server", one)
		}
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return nil, nil, sluice.Errorf(sluice.Usage, "without TLS the token would be seen by everybody on the way to %s", u.Host).
				WithHint("https://%s", u.Host)
		}
	}
	within := dialTimeout
	if len(servers) > 1 {
		within = amongTimeout
	}
	dialer := &net.Dialer{Timeout: within}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: within, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	var err error
	if s.CAFile != "" {
		if t.TLSClientConfig.RootCAs, err = authorities(s.CAFile); err != nil {
			return nil, nil, err
		}
	}
	if t.TLSClientConfig.Certificates, err = ownCertificate(os.Getenv); err != nil {
		return nil, nil, err
	}
	c, err := client.New(strings.Join(servers, ","), string(s.Token.Reveal()), &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}) // the token goes nowhere else
	if c != nil {
		c.HaltKept = s.HaltKept
		if s.Stale != nil {
			c.Stale = func(since time.Time) { s.Stale(c.At(), since) }
		}
	}
	return c, func() error { t.CloseIdleConnections(); c.Close(); return nil }, err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// authorities are the system's, and those of a file.
func authorities(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	text, err := os.ReadFile(file)
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = errors.New("there is no certificate in it")
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the certificates of " + file, Err: err}
	}
	return pool, nil
}

// fetchedDir, in the data of a server, has what its jobs fetched.
const fetchedDir = "fetched"

// fetchDir is where a job of a server puts what it fetches.
func (s *Server) fetchDir(id sluice.JobID) string {
	return filepath.Join(s.Data, fetchedDir, string(id))
}

// fetched packs what a job fetched from a host, under its path there. In a cluster an earlier owner of the log may have got it.
func (s *Server) fetched(ctx context.Context, o sluice.Outputs, w io.Writer, j *sluice.Job, h sluice.Host) error {
	if err := s.bringFetched(ctx, o, j.ID); err != nil {
		return err
	}
	return tree.Pack(w, filepath.Join(s.fetchDir(j.ID), string(h)))
}

// unpackFetched puts what a server fetched from a host where it would be if it had been fetched from here:
// dir/HOST/source. It is there as a whole, or not at all.
func unpackFetched(r io.Reader, dir string, h sluice.Host, source string) (err error) {
	source = filepath.Clean(strings.TrimLeft(source, "/"))
	if !filepath.IsLocal(source) {
		return fmt.Errorf("%q is no path that can be fetched", source)
	}
	dest := filepath.Join(dir, string(h), source)
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dest), ".sluice-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if _, err := tree.Unpack(r, temp, tree.DefaultLimits()); err != nil {
		return err
	}
	from := filepath.Join(temp, source)
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if err := os.RemoveAll(dest); err != nil {
			return err
		}
	}
	return os.Rename(from, dest)
}

// contexts are the servers that the person logged in to, in a file that nobody else can read.
type contexts struct{ path string }

type contextFile struct {
	Current  string        `json:"current,omitempty"`
	Contexts []savedServer `json:"contexts"`
}

type savedServer struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	Token  string `json:"token"`
	CAFile string `json:"ca_file,omitempty"`
}

// Load reads them.
func (c contexts) Load() ([]cli.Context, string, error) {
	fail := func(err error) ([]cli.Context, string, error) {
		return nil, "", &sluice.Error{Code: sluice.Config, Text: "the servers that you logged in to", Err: err,
			Hint: "--server URL goes without them; so does --server local"}
	}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return fail(err)
	}
	var f contextFile
	if err := json.Unmarshal(text, &f); err != nil {
		return fail(fmt.Errorf("%s: %w", c.path, err))
	}
	out := make([]cli.Context, len(f.Contexts))
	for i, s := range f.Contexts {
		out[i] = cli.Context{Name: s.Name, Server: cli.Server{URL: s.Server, Token: sluice.NewSecret([]byte(s.Token)), CAFile: s.CAFile}}
	}
	return out, f.Current, nil
}

// Save writes them.
func (c contexts) Save(list []cli.Context, current string) error {
	f := contextFile{Current: current, Contexts: []savedServer{}}
	for _, x := range list {
		f.Contexts = append(f.Contexts, savedServer{x.Name, x.URL, string(x.Token.Reveal()), x.CAFile})
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "keeping the server", Err: err}
	}
	return ownFile(c.path, append(text, '\n'), "keeping the server")
}
