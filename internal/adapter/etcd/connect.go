package etcd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"sluice"
)

// ConnectConfig says how an etcd that exists is reached.
type ConnectConfig struct {
	// Endpoints are its members, https://HOST:PORT. Without TLS only this machine is reached.
	Endpoints []string
	// CA is a file with the authorities by which its certificates are proved; "" is those of the system.
	CA string
	// Cert and Key are files with what is shown to it; "" is nothing.
	Cert, Key string
	// User and Password are for an etcd that asks for them.
	User, Password string
	// Prefix is what all keys begin with, as in [Config].
	Prefix string
}

const (
	// reach bounds the making of a connection, and each question at the start.
	reach = 5 * time.Second
	// A connection on which nothing comes is asked for life, and given up: a firewall may have forgotten it.
	lifeSign, lifeWait = 5 * time.Second, 3 * time.Second
	// trial is the lease of the key that is written to see whether that is allowed.
	trial = 10
	// leastQuota is what an etcd has to take in at least.
	leastQuota = 128 << 20
)

// least is the oldest version that is used.
var least = [2]int{3, 5}

// Connect reaches an etcd that exists, and proves that a log can be kept there: that it is who it is to be, of a version that is known, with
// room, and that below the prefix it may be read and written. The caller closes the client.
func Connect(ctx context.Context, cfg ConnectConfig) (_ *clientv3.Client, err error) {
	if cfg.Prefix == "" {
		cfg.Prefix = defaultPrefix
	}
	hosts, secure, err := endpoints(cfg.Endpoints)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(cfg.Prefix); err != nil {
		return nil, err
	}
	if (cfg.User == "") != (cfg.Password == "") {
		return nil, sluice.Errorf(sluice.Usage, "a user of etcd needs a password, and a password a user")
	}
	var proof *tls.Config
	if secure {
		proof, err = trust(cfg)
	} else if cfg.CA != "" || cfg.Cert != "" || cfg.Key != "" {
		err = sluice.Errorf(sluice.Usage, "certificates are given for etcd, and its address begins with http://").WithHint("write https://")
	}
	if err != nil {
		return nil, err
	}
	if err := knock(ctx, hosts, proof); err != nil {
		return nil, err
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: cfg.Endpoints, TLS: proof, Username: cfg.User, Password: cfg.Password, Context: context.WithoutCancel(ctx),
		DialTimeout: reach, DialKeepAliveTime: lifeSign, DialKeepAliveTimeout: lifeWait, MaxCallSendMsgSize: 2 * maxRequest, Logger: zap.NewNop()})
	if err != nil {
		return nil, cfg.explain("logging in", err)
	}
	if err := errors.Join(cfg.members(ctx, c), cfg.tryOut(ctx, c)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// endpoints reads addresses: of all with TLS, or all without on this machine.
func endpoints(urls []string) (hosts []string, secure bool, err error) {
	if len(urls) == 0 {
		return nil, false, sluice.Errorf(sluice.Usage, "there is no address of etcd")
	}
	for i, text := range urls {
		bad := func(why string) error {
			return sluice.Errorf(sluice.Usage, "address %d of etcd %s", i+1, why).WithHint("an address is https://HOST:PORT")
		}
		u, err := url.Parse(text)
		switch {
		case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.Port() == "":
			return nil, false, bad("is none")
		case u.User != nil:
			return nil, false, bad("has a user in it, which others would see")
		case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			return nil, false, bad("has more than a host and a port")
		case u.Scheme == "http" && !here(u.Hostname()):
			return nil, false, bad("is of another machine and has no TLS, so that everybody between could read and change the log")
		case i > 0 && secure != (u.Scheme == "https"):
			return nil, false, bad("differs from the first: all with TLS, or all without")
		}
		secure = u.Scheme == "https"
		hosts = append(hosts, u.Host)
	}
	return hosts, secure, nil
}

// here reports whether a host is this machine.
func here(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkPrefix has keys of different kinds, and of others, apart.
func checkPrefix(prefix string) error {
	if len(prefix) < 2 || !strings.HasSuffix(prefix, "/") {
		return sluice.Errorf(sluice.Usage, "the prefix %q for keys in etcd does not end with a slash", prefix).WithHint("for example %s", defaultPrefix)
	}
	return nil
}

// trust reads the files for TLS.
func trust(cfg ConnectConfig) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Config, Text: "the authorities of etcd cannot be read", Err: err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, &sluice.Error{Code: sluice.Config, At: sluice.Position{File: cfg.CA}, Text: "there is no certificate in it, and an authority of etcd was expected"}
		}
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, sluice.Errorf(sluice.Usage, "a certificate for etcd needs its key, and a key its certificate")
	}
	if cfg.Cert == "" {
		return c, nil
	}
	if _, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, At: sluice.Position{File: cfg.Cert}, Text: "the certificate for etcd cannot be used", Err: err}
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // it may be renewed
		pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
		return &pair, err
	}
	return c, nil
}

// knock sees whether one of the hosts answers as it should; what etcd's client says of one that does not is hard to read.
func knock(ctx context.Context, hosts []string, proof *tls.Config) error {
	var all []error
	for _, h := range hosts {
		one, done := context.WithTimeout(ctx, reach)
		err := knockAt(one, h, proof)
		done()
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	for _, err := range all { // what somebody has to mend says more than what may be over in a moment
		if sluice.CodeOf(err) == sluice.Config {
			return err
		}
	}
	return all[0]
}

func knockAt(ctx context.Context, host string, proof *tls.Config) error {
	away := func(err error) error {
		return &sluice.Error{Code: sluice.Contact, Text: fmt.Sprintf("etcd at %s cannot be reached", host), Err: err}
	}
	wrong := func(text string, err error) *sluice.Error {
		return &sluice.Error{Code: sluice.Config, Text: fmt.Sprintf("etcd at %s %s", host, text), Err: err}
	}
	line, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return away(err)
	}
	defer line.Close()
	stop := context.AfterFunc(ctx, func() { _ = line.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if proof == nil {
		if asks := speaksTLS(ctx, line, host); asks {
			return wrong("wants TLS, and its address begins with http://", nil).WithHint("write https://, and give its authority")
		}
		return nil
	}
	c := proof.Clone()
	c.ServerName, _, _ = net.SplitHostPort(host)
	c.NextProtos = []string{"h2"}
	safe := tls.Client(line, c)
	err = safe.HandshakeContext(ctx)
	if err == nil {
		err = greeted(safe)
	}
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		plain   tls.RecordHeaderError
		alert   tls.AlertError
		refusal *net.OpError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return wrong("has a certificate of an authority that is not known here", err).WithHint("give the file with its authority")
	case errors.As(err, &name):
		return wrong("has a certificate for another name", err)
	case errors.As(err, &invalid):
		return wrong("has a certificate that is not valid", err)
	case errors.As(err, &alert), errors.As(err, &refusal) && refusal.Op == "remote error":
		if proof.GetClientCertificate == nil {
			return wrong("wants a certificate to be shown", err).WithHint("give a certificate and its key")
		}
		return wrong("does not take the certificate that it is shown", err)
	case errors.As(err, &plain), speaksPlain(ctx, host):
		return wrong("speaks no TLS", nil).WithHint("have it listen with TLS; without it only an etcd on this machine is used")
	}
	return away(err)
}

// speaksTLS reports whether somebody begins TLS when asked to. Nothing is trusted for that.
func speaksTLS(ctx context.Context, line net.Conn, host string) bool {
	name, _, _ := net.SplitHostPort(host)
	one, done := context.WithTimeout(ctx, time.Second)
	defer done()
	err := tls.Client(line, &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}).HandshakeContext(one) //nolint:gosec // only asked whether it is there; nothing is said over it
	var alert tls.AlertError
	var refusal *net.OpError
	return err == nil || errors.As(err, &alert) || errors.As(err, &refusal) && refusal.Op == "remote error"
}

// speaksPlain reports whether somebody answers without TLS.
func speaksPlain(ctx context.Context, host string) bool {
	line, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer line.Close()
	_ = line.SetDeadline(time.Now().Add(time.Second))
	return greeted(line) == nil
}

// greeted has the other side answer: only then it is known whether it takes what it was shown.
func greeted(line net.Conn) error {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" // of HTTP/2, with no settings
	if _, err := io.WriteString(line, preface); err != nil {
		return err
	}
	frame := make([]byte, 9)
	if _, err := io.ReadFull(line, frame); err != nil {
		return err
	}
	if frame[3] != 4 { // its settings come first
		return errors.New("it speaks something else than etcd")
	}
	return nil
}

// members looks at all members at once; one that answers is enough.
func (cfg ConnectConfig) members(ctx context.Context, c *clientv3.Client) error {
	ctx, done := context.WithTimeout(ctx, reach)
	defer done()
	all, away := make([]*clientv3.StatusResponse, len(cfg.Endpoints)), make([]error, len(cfg.Endpoints))
	var asked sync.WaitGroup
	for i, at := range cfg.Endpoints {
		asked.Go(func() {
			var err error
			all[i], err = c.Status(ctx, at)
			away[i] = cfg.explain("asking "+at+" how it is", err)
		})
	}
	asked.Wait()
	answered := false
	for i, at := range cfg.Endpoints {
		if away[i] == nil {
			answered = true
			if err := fit(at, all[i]); err != nil {
				return err
			}
		}
	}
	if !answered {
		return errors.Join(away...)
	}
	return nil
}

// fit says what is in the way of using a member.
func fit(at string, is *clientv3.StatusResponse) error {
	if !recent(is.Version) {
		return sluice.Errorf(sluice.Config, "etcd at %s is version %s, and at least %d.%d is needed", at, is.Version, least[0], least[1])
	}
	if is.DbSizeQuota > 0 && is.DbSizeQuota < leastQuota { // those before 3.6 do not say
		return sluice.Errorf(sluice.Config, "etcd at %s has a quota of %d MiB, and at least %d MiB is needed", at, is.DbSizeQuota>>20, leastQuota>>20).
			WithHint("etcd's --quota-backend-bytes sets it")
	}
	for _, text := range is.Errors {
		switch {
		case strings.Contains(text, "NOSPACE"):
			return sluice.Errorf(sluice.Contact, "etcd at %s is full", at).WithHint("etcd's documentation says how to make room: compact, defragment, disarm the alarm")
		case strings.Contains(text, "CORRUPT"):
			return sluice.Errorf(sluice.Contact, "etcd at %s says that what its members have differs", at).WithHint("etcd's documentation says what to do")
		}
	}
	return nil
}

// recent reports whether a version, such as 3.5.17, is known here.
func recent(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (x > least[0] || x == least[0] && y >= least[1])
}

// tryOut reads and writes below the prefix, as the log will.
func (cfg ConnectConfig) tryOut(ctx context.Context, c *clientv3.Client) error {
	ctx, done := context.WithTimeout(ctx, 2*reach)
	defer done()
	if _, err := again(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return c.Get(ctx, cfg.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	}); err != nil {
		return cfg.explain("reading below "+cfg.Prefix, err)
	}
	if cfg.User != "" { // a password that nobody asks for is a sign that everybody may write
		got, err := again(ctx, func(ctx context.Context) (*clientv3.AuthStatusResponse, error) { return c.AuthStatus(ctx) })
		if err == nil && !got.Enabled {
			return sluice.Errorf(sluice.Config, "etcd asks nobody for a password, and the user %s is given: whoever reaches it could change the log", cfg.User).
				WithHint("turn its authentication on, or leave out the user")
		}
	}
	lease, err := again(ctx, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) { return c.Grant(ctx, trial) })
	if err != nil {
		return cfg.explain("asking for a lease", err)
	}
	key := cfg.Prefix + "trial/" + rand.Text()
	_, err = again(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, "", clientv3.WithLease(lease.ID))).Commit()
	})
	if err == nil {
		_, err = again(ctx, func(ctx context.Context) (*clientv3.DeleteResponse, error) {
			return c.Delete(ctx, cfg.Prefix+"trial/", clientv3.WithRange(key+"\x00"))
		})
	}
	one, done := context.WithTimeout(ctx, firstTry)
	_, _ = c.Revoke(one, lease.ID) // it ends by itself, too
	done()
	return cfg.explain("writing below "+cfg.Prefix, err)
}

// explain says what an error of etcd means. It has no password in it.
func (cfg ConnectConfig) explain(doing string, err error) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return sluice.Errorf(sluice.Denied, "etcd does not know the user %s with this password", cfg.User)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return sluice.Errorf(sluice.Denied, "etcd wants a user and a password, and none was given")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		who := "the user " + cfg.User
		if cfg.User == "" {
			who = "this server"
		}
		return sluice.Errorf(sluice.Denied, "%s: etcd does not let %s", doing, who).
			WithHint("etcdctl role grant-permission ROLE readwrite %s --prefix=true, for a role of the user", cfg.Prefix)
	}
	return contact(doing, err)
}
