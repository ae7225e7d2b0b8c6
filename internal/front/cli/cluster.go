package cli

import (
	"bytes"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sluice"
)

// ClusterOptions say how a server takes part in a cluster.
type ClusterOptions struct {
	// Address is HOST:PORT, where the other servers reach this one; the port after it is etcd's. "": it is alone.
	Address string
	Name    sluice.ServerName // of this server in the cluster
	// JoinFile has the token to join with, which counts once; it may be gone afterwards. "": there is none.
	JoinFile string
	// Engine is an etcd that exists already; without URLs the servers make one up.
	Engine EngineOptions
}

// EngineOptions say how an etcd is reached.
type EngineOptions struct {
	URLs []string
	// CAFile has the authorities to trust it by, in place of the system's; Certificate and Key show who this server is.
	CAFile, Certificate, Key string
	User                     string
	Password                 sluice.Secret
}

// clusterFlags are what is typed of these.
type clusterFlags struct {
	address, name, join            string
	engines                        []string
	ca, certificate, key, userFile string
}

func (f *clusterFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.address, "cluster", "", "take part in a cluster: `HOST:PORT` is where the other servers reach this one; the port after it is etcd's")
	fs.StringVar(&f.name, "name", "", "`name` of this server in the cluster (default: the name of this machine)")
	fs.StringVar(&f.join, "join", "", "`file` with the token that sluice server members add made, to join with, once")
	f.addEngine(fs)
}

func (f *clusterFlags) addEngine(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.engines, "engine", nil, "`URL` of an etcd that exists already, in place of one in the servers; several with commas")
	fs.StringVar(&f.ca, "engine-ca", "", "`file` of authorities to trust that etcd by (default: the system's)")
	fs.StringVar(&f.certificate, "engine-cert", "", "`file` with the certificate to show to it")
	fs.StringVar(&f.key, "engine-key", "", "`file` with its key")
	fs.StringVar(&f.userFile, "engine-user", "", "`file` with USER:PASSWORD to log in to it with")
}

// options checks them. What is about a cluster is refused where there is none.
func (f *clusterFlags) options(a *app) (o ClusterOptions, err error) {
	for _, only := range []struct {
		flag  string
		given bool
	}{{"--name", f.name != ""}, {"--join", f.join != ""}, {"--engine", len(f.engines) > 0}} {
		if only.given && f.address == "" {
			return o, sluice.Errorf(sluice.Usage, "%s is for a server of a cluster", only.flag).WithHint("--cluster HOST:PORT")
		}
	}
	if o.Engine, err = f.engine(a); err != nil || f.address == "" {
		return o, err
	}
	o.Address, o.JoinFile = f.address, f.join
	if err := reachable(f.address); err != nil {
		return o, err
	}
	o.Name, err = f.serverName(a)
	return o, err
}

// serverName is the one that is given, or that of the machine.
func (f *clusterFlags) serverName(a *app) (sluice.ServerName, error) {
	if f.name != "" {
		name, err := sluice.ParseServerName(f.name)
		if err != nil {
			return "", sluice.Errorf(sluice.Usage, "--name: %v", err)
		}
		return name, nil
	}
	host, err := a.Hostname()
	if err != nil {
		return "", (&sluice.Error{Code: sluice.Usage, Text: "the name of this machine", Err: err}).WithHint("--name NAME")
	}
	name, err := sluice.ParseServerName(strings.ToLower(host))
	if err != nil {
		return "", sluice.Errorf(sluice.Usage, "the name of this machine: %v", err).WithHint("--name NAME")
	}
	return name, nil
}

// reachable reports what is no address for other servers, with a port behind it for etcd.
func reachable(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	switch ip := net.ParseIP(host); {
	case err != nil || bad != nil || n == 0 || host == "":
		return sluice.Errorf(sluice.Usage, "--cluster: %q is not HOST:PORT", address).WithHint("such as s1.example.com:7659")
	case ip != nil && ip.IsUnspecified():
		return sluice.Errorf(sluice.Usage, "--cluster: others cannot reach a server at %s", address).WithHint("a name or an address of this machine, such as s1.example.com:%s", port)
	case n == 65535:
		return sluice.Errorf(sluice.Usage, "--cluster: there is no port after %s, which etcd needs", port)
	}
	return nil
}

// engine checks how an etcd is reached.
func (f *clusterFlags) engine(a *app) (o EngineOptions, err error) {
	for _, only := range []struct{ flag, text string }{{"--engine-ca", f.ca}, {"--engine-cert", f.certificate}, {"--engine-key", f.key}, {"--engine-user", f.userFile}} {
		if only.text != "" && len(f.engines) == 0 {
			return o, sluice.Errorf(sluice.Usage, "%s is for an etcd that exists already", only.flag).WithHint("--engine URL")
		}
	}
	if (f.certificate == "") != (f.key == "") {
		return o, sluice.Errorf(sluice.Usage, "--engine-cert and --engine-key belong together")
	}
	secure := false
	for i, text := range f.engines {
		u, err := engineURL(text)
		if err != nil {
			return o, err
		}
		tls := u.Scheme == "https"
		if i > 0 && tls != secure {
			return o, sluice.Errorf(sluice.Usage, "--engine: some of the URLs have TLS, and some do not")
		}
		secure = tls
		o.URLs = append(o.URLs, u.Scheme+"://"+u.Host)
	}
	if !secure && (f.ca != "" || f.certificate != "") {
		return o, sluice.Errorf(sluice.Usage, "--engine-ca and --engine-cert are for an etcd with TLS").WithHint("--engine https://...")
	}
	o.CAFile, o.Certificate, o.Key = f.ca, f.certificate, f.key
	if f.userFile == "" {
		return o, nil
	}
	text, err := a.Files.Read(f.userFile)
	if err != nil {
		return o, &sluice.Error{Code: sluice.Usage, Text: "--engine-user", Err: err}
	}
	line := bytes.TrimRight(text, "\r\n")
	user, password, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(user) == 0 || len(password) == 0 || bytes.ContainsAny(line, "\r\n\x00") {
		return o, sluice.Errorf(sluice.Usage, "--engine-user: %s has no USER:PASSWORD in one line", f.userFile) // what it has is not shown
	}
	o.User, o.Password = string(user), sluice.NewSecret(password)
	return o, nil
}

// engineURL never repeats what may have a password in it.
func engineURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil:
		return nil, sluice.Errorf(sluice.Usage, "--engine: others on this machine can see a password in a URL").WithHint("--engine-user FILE")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, sluice.Errorf(sluice.Usage, "--engine takes URLs such as https://etcd1.example.com:2379")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, sluice.Errorf(sluice.Usage, "--engine: without TLS everybody on the way to %s could read and change the log", u.Host).WithHint("https://%s", u.Host)
	}
	return u, nil
}
