package sshconfig

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The real OpenSSH client is the judge: for each configuration and host, `ssh -G` and Resolve must agree on
// how the host is reached. Only files are compared that it accepts.
var oracle = []struct {
	name   string
	config string
	hosts  []string
}{
	{"empty", "", []string{"a", "A.Example.COM"}},
	{"first value wins", "Host a\n Port 2201\n User one\nHost *\n Port 2202\n User two\n", []string{"a", "b"}},
	{"before any host", "User early\nHost a\n User late\n", []string{"a", "b"}},
	{"patterns", "Host web? !web3 db*\n User p\n", []string{"web1", "web3", "db", "db12", "web12", "xdb"}},
	{"only negated", "Host !a\n User p\n", []string{"a", "b"}},
	{"negated last", "Host * !*.test\n User p\n", []string{"x.test", "x"}},
	{"case of keywords", "hOsT a\n pOrT 77\n USER x\n", []string{"a"}},
	{"case of hosts", "Host Web\n User upper\nHost web\n User lower\n", []string{"Web", "web"}},
	{"equals", "Host=a\nPort = 77\nUser=x\nHostName =h.test\n", []string{"a", "b"}},
	{"quotes", "Host \"a\" 'b'\n User \"with blank\"\n IdentityFile \"/k/a b\"\n IdentityFile /k/a\\ b2\n", []string{"a", "b"}},
	{"comments", "# one\n   # two\nHost a # not b\n User x # trailing\n", []string{"a", "b", "#"}},
	{"hostname token", "Host *.lan\n HostName %h.example.com\nHost p\n HostName a%%b\n", []string{"x.lan", "p"}},
	{"identity files add up", "IdentityFile /k/1\nHost a\n IdentityFile /k/2\n IdentityFile /k/1\nHost *\n IdentityFile /k/3\n", []string{"a", "b"}},
	{"jump", "Host a\n ProxyJump u@j1:2222,j2\nHost b\n ProxyJump ssh://u@j3:99\nHost c\n ProxyJump [::1]:7\n", []string{"a", "b", "c", "d"}},
	{"jump none", "Host a\n ProxyJump none\nHost *\n ProxyJump j\n", []string{"a", "b"}},
	{"command none first", "Host a\n ProxyCommand none\nHost *\n ProxyJump j\n", []string{"a", "b"}},
	{"jump before command", "Host a\n ProxyJump j\nHost *\n ProxyCommand nc %h %p\n", []string{"a"}},
	{"match host", "Match host a,b\n User x\nMatch host !a,*\n Port 77\n", []string{"a", "b", "c"}},
	{"match sees hostname", "Host a\n HostName real.test\nMatch host real.test\n User x\nMatch originalhost a\n Port 78\n", []string{"a", "real.test", "b"}},
	{"match sees hostname token", "Host a\n HostName %h.test\nMatch host a.test\n User x\n", []string{"a", "b"}},
	{"match user", "Host a\n User bob\nMatch user bob\n Port 77\nMatch !user bob\n Port 78\n", []string{"a", "b"}},
	{"match all", "Host a\n User x\nMatch all\n Port 79\n", []string{"a", "b"}},
	{"match several", "Match host a user root\n Port 80\nMatch originalhost a !user root\n Port 81\n", []string{"a"}},
	{"match equals", "Match host=a\n User x\n", []string{"a", "b"}},
	{"match not canonical", "Match !canonical host a\n User x\n", []string{"a", "b"}},
	{"include in a section", "Host a\n Include %DIR%/inner\nHost b\n User b\nHost *\n Port 90\n", []string{"a", "b", "inner"}},
	{"include glob", "Include %DIR%/glob*\nHost *\n User last\n", []string{"a", "b", "c"}},
	{"include nothing", "Include %DIR%/none-*\nUser x\n", []string{"a"}},
	{"unknown keywords", "IgnoreUnknown Foo*\nFooBar x\nUser x\n", []string{"a"}},
	{"tabs and carriage returns", "Host\ta\r\n\tUser\tx\r\n\tPort\t81\r\n", []string{"a"}},
	{"known hosts", "UserKnownHostsFile /k/one /k/two\nGlobalKnownHostsFile /g\nHostKeyAlias al\n", []string{"a"}},
	{"times", "ConnectTimeout 1m30\nServerAliveInterval 7\nServerAliveCountMax 2\n", []string{"a"}},
	{"choices", "IdentitiesOnly yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication yes\n", []string{"a"}},
	{"later choices lose", "IdentitiesOnly no\nIdentitiesOnly yes\n", []string{"a"}},
}

var oracleFiles = map[string]string{
	"inner":  "User inner\nHost inner\n Port 91\nHost a\n IdentityFile /k/inner\n",
	"glob-1": "Host a\n User g1\n",
	"glob-2": "Host b\n User g2\nHost *\n Port 92\n",
}

func TestAgreesWithOpenSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh to compare with")
	}
	me, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range oracle {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range oracleFiles {
				write(t, filepath.Join(dir, name), text)
			}
			path := filepath.Join(dir, "config")
			write(t, path, strings.ReplaceAll(c.config, "%DIR%", dir))
			f := load(t, path)
			for _, host := range c.hosts {
				s, err := Resolve(Query{Host: host, LocalUser: strings.TrimSpace(string(me))}, f)
				if err != nil {
					t.Errorf("host %s: %v", host, err)
					continue
				}
				want := askSSH(t, path, host)
				for key, got := range asPrinted(t, s, strings.TrimSpace(string(me))) {
					if !slices.Equal(got, want[key]) && (len(got) > 0 || !isDefault(key)) {
						t.Errorf("host %s: %s is %q, but ssh says %q", host, key, got, want[key])
					}
				}
			}
		})
	}
}

// isDefault says that ssh prints a built-in list where the files say nothing.
func isDefault(key string) bool {
	switch key {
	case "identityfile", "userknownhostsfile", "globalknownhostsfile", "connecttimeout", "serveraliveinterval",
		"serveralivecountmax", "identitiesonly", "passwordauthentication", "kbdinteractiveauthentication", "pubkeyauthentication":
		return true
	}
	return false
}

func asPrinted(t *testing.T, s Settings, me string) map[string][]string {
	port, user := s.Port, s.User
	if port == 0 {
		port = 22
	}
	if user == "" {
		user = me
	}
	out := map[string][]string{
		"hostname": {s.HostName}, "user": {user}, "port": {strconv.Itoa(port)},
		"identityfile": s.IdentityFile, "proxyjump": nil, "hostkeyalias": nil,
		"userknownhostsfile": s.UserKnownHostsFile, "globalknownhostsfile": s.GlobalKnownHostsFile,
		"connecttimeout": printed(int(s.ConnectTimeout.Seconds())), "serveraliveinterval": printed(int(s.ServerAliveInterval.Seconds())),
		"serveralivecountmax": printed(s.ServerAliveCountMax), "identitiesonly": yesNo(s.IdentitiesOnly),
		"passwordauthentication": yesNo(s.PasswordAuthentication), "kbdinteractiveauthentication": yesNo(s.KbdInteractive),
		"pubkeyauthentication": yesNo(s.PubkeyAuthentication),
	}
	if s.HostKeyAlias != "" {
		out["hostkeyalias"] = []string{s.HostKeyAlias}
	}
	if s.ProxyJump != "" && s.ProxyJump != "none" {
		out["proxyjump"] = hops(t, s.ProxyJump)
	}
	return out
}

func printed(n int) []string {
	if n == 0 {
		return nil
	}
	return []string{strconv.Itoa(n)}
}

func yesNo(c Choice) []string {
	switch c {
	case Yes:
		return []string{"yes"}
	case No:
		return []string{"no"}
	}
	return nil
}

func hops(t *testing.T, list string) (out []string) {
	for _, text := range strings.Split(list, ",") {
		h, err := ParseHop(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s@%s", h.User, net.JoinHostPort(h.Host, strconv.Itoa(h.Port))))
	}
	return out
}

func askSSH(t *testing.T, config, host string) map[string][]string {
	cmd := exec.Command("ssh", "-G", "-F", config, host)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("ssh -G: %v\n%s", err, stderr.String())
	}
	out := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "userknownhostsfile", "globalknownhostsfile":
			out[key] = strings.Fields(value)
		case "proxyjump":
			out[key] = hops(t, value)
		default:
			out[key] = append(out[key], map[string]string{"true": "yes", "false": "no"}[value])
			if last := len(out[key]) - 1; out[key][last] == "" {
				out[key][last] = value
			}
		}
	}
	return out
}

func load(t *testing.T, path string) *File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(Source{Name: path, Data: data}, readGlob)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readGlob(pattern string) (out []Source, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, Source{Name: name, Data: data})
	}
	return out, nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
