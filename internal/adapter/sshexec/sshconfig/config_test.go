package sshconfig

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sluice"
)

func parseText(t *testing.T, text string) (*File, error) {
	t.Helper()
	return Parse(Source{Name: "config", Data: []byte(text)}, func(string) ([]Source, error) { return nil, nil })
}

func TestErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Host a\n Port x\n", `config:2:2: port: "x" is not a number from 1 to 65535`},
		{"Port 65536\n", "config:1:1: port"},
		{"User\n", `config:1:1: no value after "user"`},
		{"User \"x\n", "config:1:1: a quote is not closed"},
		{"\"User x\n", "config:1:1: a quote is not closed"},
		{"\nMatch\n", `config:2:1: no value after "match"`},
		{"Match host\n", "config:1:1: Match host needs a value"},
		{"Match exec \"true\"\n User x\n", "config:1:1: Match exec is not supported"},
		{"Match host a exec true\n", "config:1:1: Match exec is not supported"},
		{"Match exec true host a\n", "config:1:1: Match exec is not supported"},
		{"IdentitiesOnly maybe\n", `config:1:1: identitiesonly: "maybe" is neither yes nor no`},
		{"HostName %q\n", `config:1:1: hostname: "%q": the token %q is not supported here`},
		{"ConnectTimeout 5x\n", "config:1:1: connecttimeout"},
		{"ConnectTimeout -1\n", "config:1:1: connecttimeout"},
		{"ServerAliveCountMax many\n", "config:1:1: serveralivecountmax"},
	} {
		f, err := parseText(t, c.text)
		if err == nil {
			_, err = Resolve(Query{Host: "a", LocalUser: "me"}, f)
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		} else if sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%q: the error has the code %q", c.text, sluice.CodeOf(err))
		}
	}
}

// A host that a section with exec cannot mean is not troubled by it, whatever the order of the criteria.
func TestExecOfOthersIsNoError(t *testing.T) {
	for _, text := range []string{
		"Match host b exec true\n User x\n", "Match exec true host b\n User x\n", "Match canonical exec true\n User x\n",
		"Match future thing exec true\n User x\n",
	} {
		f, err := parseText(t, text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Resolve(Query{Host: "a", LocalUser: "me"}, f)
		if err != nil || s.User != "" {
			t.Errorf("%q: user %q, error %v", text, s.User, err)
		}
	}
}

func TestUnsupportedMatchesNeverHold(t *testing.T) {
	f, err := parseText(t, "Match canonical\n User a\nMatch final all\n User b\nMatch tagged x\n User c\nMatch !tagged x\n User d\n")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Resolve(Query{Host: "a"}, f); err != nil || s.User != "" {
		t.Errorf("user %q, error %v", s.User, err)
	}
}

func TestWhatIsSetElsewhereWins(t *testing.T) {
	f, err := parseText(t, "Match user fleet\n IdentityFile /k\nHost *\n User file\n Port 1\n HostName file.test\n ProxyJump file\nMatch host 10.0.0.1\n HostKeyAlias seen\n")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(Query{Host: "a", HostName: "10.0.0.1", User: "fleet", Port: 2, Jump: "none"}, f)
	if err != nil {
		t.Fatal(err)
	}
	if s.User != "fleet" || s.Port != 2 || s.HostName != "10.0.0.1" || s.ProxyJump != "none" || len(s.IdentityFile) != 1 || s.HostKeyAlias != "seen" {
		t.Errorf("got %+v", s)
	}
}

func TestFirstFileWins(t *testing.T) {
	user, err := parseText(t, "User u\nIdentityFile /u\n")
	if err != nil {
		t.Fatal(err)
	}
	system, err := parseText(t, "User s\nPort 9\nIdentityFile /s\n")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(Query{Host: "a"}, user, system)
	if err != nil || s.User != "u" || s.Port != 9 || strings.Join(s.IdentityFile, " ") != "/u /s" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestProxyCommandIsReportedWhereItIs(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		jump string
	}{
		{"Host a\n ProxyCommand nc '%h %p\n", 2, ""},
		{"ProxyCommand none\n", 0, "none"},
		{"ProxyJump j\nProxyCommand nc\n", 0, "j"},
		{"ProxyCommand nc\nProxyJump j\n", 1, ""},
		{"Host b\nProxyCommand nc\n", 0, ""},
	} {
		f, err := parseText(t, c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		s, err := Resolve(Query{Host: "a"}, f)
		if err != nil || s.ProxyCommand.Line != c.line || s.ProxyJump != c.jump {
			t.Errorf("%q: command at line %d, jump %q, error %v", c.text, s.ProxyCommand.Line, s.ProxyJump, err)
		}
	}
}

func TestIncludeHasADepth(t *testing.T) {
	loop := func(string) ([]Source, error) {
		return []Source{{Name: "again", Data: []byte("Include again\n")}}, nil
	}
	_, err := Parse(Source{Name: "config", Data: []byte("Include again\n")}, loop)
	if err == nil || !strings.Contains(err.Error(), "deeper than 16") {
		t.Errorf("got %v", err)
	}
}

func TestIncludeSaysWhatCannotBeRead(t *testing.T) {
	broken := errors.New("permission denied")
	_, err := Parse(Source{Name: "config", Data: []byte("\nInclude x\n")}, func(string) ([]Source, error) { return nil, broken })
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "config:2:1: Include x") {
		t.Errorf("got %v", err)
	}
}

func TestTokens(t *testing.T) {
	tokens := Tokens{'h': "host", 'n': "name", 'p': "22", 'r': "remote", 'u': "me", 'd': "/home/me"}
	env := func(name string) string { return map[string]string{"X": "ex"}[name] }
	for _, c := range []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"%d/.ssh/%h-%n-%p-%r-%u", "/home/me/.ssh/host-name-22-remote-me", ""},
		{"~/keys/%h", "/home/me/keys/host", ""},
		{"~", "/home/me", ""},
		{"a~/b", "a~/b", ""},
		{"~other/x", "~other/x", ""},
		{"100%%", "100%", ""},
		{"${X}/${X}", "ex/ex", ""},
		{"%C", "", "the token %C is not supported"},
		{"50%", "", "single %"},
		{"${NONE}", "", "NONE is not set"},
		{"${X", "", "not closed"},
	} {
		got, err := tokens.Path(c.in, "/home/me", env)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q, %v; want %q, %q", c.in, got, err, c.want, c.err)
		}
	}
}

func TestParseHop(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Hop
	}{
		{"j", Hop{Host: "j"}},
		{"u@j:22", Hop{User: "u", Host: "j", Port: 22}},
		{"a@b@j", Hop{User: "a@b", Host: "j"}},
		{"ssh://u@j:99/", Hop{User: "u", Host: "j", Port: 99}},
		{"[::1]:22", Hop{Host: "::1", Port: 22}},
		{"[::1]", Hop{Host: "::1"}},
		{"fe80::1%eth0", Hop{Host: "fe80::1%eth0"}},
	} {
		if got, err := ParseHop(c.in); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
	for _, bad := range []string{"", "u@", "@j", "j:", "j:0", "j:65536", "j:x", "j:+1", "[::1", "[::1]x", "[::1]:", "-oProxyCommand=x", "j;id", "j k", "$(id)", "j/k"} {
		if got, err := ParseHop(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]time.Duration{"5": 5 * time.Second, "1m30": 90 * time.Second, "2h": 2 * time.Hour, "1W": 7 * 24 * time.Hour, "none": 0, "0": 0} {
		var got time.Duration
		if err := seconds(&got, in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, c := range oracle {
		f.Add(c.config, "a")
	}
	f.Add("Match exec \"x\" host=a\n ProxyCommand 'x\n", "a")
	f.Add("Include x y \"z\nHost", "*")
	f.Add("HostName %%%h\nPort=99999999999999999999\nConnectTimeout 99999999999w\n", "b")
	f.Fuzz(func(t *testing.T, text, host string) {
		included := 0
		parsed, err := Parse(Source{Name: "fuzz", Data: []byte(text)}, func(string) ([]Source, error) {
			if included++; included > 20 {
				return nil, errors.New("enough")
			}
			return []Source{{Name: "inner", Data: []byte(text)}}, nil
		})
		if err != nil {
			if sluice.CodeOf(err) != sluice.Config {
				t.Fatalf("not an error for people: %v", err)
			}
			return
		}
		s, err := Resolve(Query{Host: host, LocalUser: "me"}, parsed)
		if err != nil {
			return
		}
		if s.Port < 0 || s.Port > 65535 || s.ConnectTimeout < 0 || s.ServerAliveInterval < 0 {
			t.Fatalf("out of range: %+v", s)
		}
		again, err := Resolve(Query{Host: host, HostName: "set", User: "set", Port: 1, Jump: "set", LocalUser: "me"}, parsed)
		if err == nil && (again.User != "set" || again.Port != 1 || again.HostName != "set" || again.ProxyJump != "set") {
			t.Fatalf("a file won over what was set: %+v", again)
		}
	})
}
