package sshconfig

import (
	"fmt"
	"strconv"
	"strings"
)

// Tokens are the values of "%x" in names and paths.
type Tokens map[byte]string

// Expand replaces tokens; "%%" is a percent sign. A token without a value is an error: a name with a hole in
// it would mean something else.
func (t Tokens) Expand(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i == len(s):
			return "", fmt.Errorf("%q ends in a single %%", s)
		case s[i] == '%':
			b.WriteByte('%')
		default:
			value, ok := t[s[i]]
			if !ok {
				return "", fmt.Errorf("%q: the token %%%c is not supported here", s, s[i])
			}
			b.WriteString(value)
		}
	}
	return b.String(), nil
}

// Path expands tokens, "${VARIABLE}" and a leading "~/".
func (t Tokens) Path(s, home string, env func(string) string) (string, error) {
	s, err := t.Expand(s)
	if err != nil {
		return "", err
	}
	if s, err = variables(s, env); err != nil {
		return "", err
	}
	if s == "~" {
		return home, nil
	}
	if rest, ok := strings.CutPrefix(s, "~/"); ok {
		return strings.TrimRight(home, "/") + "/" + rest, nil
	}
	return s, nil
}

func variables(s string, env func(string) string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return "", fmt.Errorf("%q: ${ is not closed", s)
		}
		value := env(name)
		if value == "" {
			return "", fmt.Errorf("%q: the variable %s is not set", s, name)
		}
		b.WriteString(value)
		s = rest
	}
}

// Hop is one jump host.
type Hop struct {
	User string
	Host string
	Port int // 0: not said
}

// ParseHop reads "[user@]host[:port]", also with an IPv6 address in brackets, or as "ssh://" URI.
func ParseHop(s string) (Hop, error) {
	var h Hop
	rest, uri := strings.CutPrefix(s, "ssh://")
	if uri {
		rest = strings.TrimSuffix(rest, "/")
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		h.User, rest = rest[:at], rest[at+1:]
		if h.User == "" {
			return Hop{}, fmt.Errorf("jump host %q: no user before the @", s)
		}
	}
	port := ""
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		var closed bool
		if h.Host, port, closed = strings.Cut(inner, "]"); !closed || port != "" && port[0] != ':' {
			return Hop{}, fmt.Errorf("jump host %q is not [user@]host[:port]", s)
		}
		if port != "" && port == ":" {
			return Hop{}, fmt.Errorf("jump host %q: no port after the colon", s)
		}
		port = strings.TrimPrefix(port, ":")
	} else if strings.Count(rest, ":") > 1 {
		h.Host = rest // an IPv6 address by itself
	} else {
		var colon bool
		if h.Host, port, colon = strings.Cut(rest, ":"); colon && port == "" {
			return Hop{}, fmt.Errorf("jump host %q: no port after the colon", s)
		}
	}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 || port[0] == '+' {
			return Hop{}, fmt.Errorf("jump host %q: %q is not a port from 1 to 65535", s, port)
		}
		h.Port = n
	}
	if !validAddress(h.Host) {
		return Hop{}, fmt.Errorf("jump host %q is not [user@]host[:port]", s)
	}
	return h, nil
}

// validAddress is strict because names reach messages and patterns.
func validAddress(s string) bool {
	if s == "" || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_:%", c) >= 0:
		default:
			return false
		}
	}
	return true
}
