package webhookhttp

import "testing"

// TestGuard: the rule itself, where nothing need be connected to.
func TestGuard(t *testing.T) {
	a, err := parseAllowed([]string{"chat.internal", "10.1.0.0/16", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, address string
		ok            bool
	}{
		{"x.example.com", "93.184.216.34:443", true},
		{"x.example.com", "[2606:2800:220:1::1]:443", true},
		{"x.example.com", "10.1.2.3:443", true},
		{"x.example.com", "[::ffff:10.1.2.3]:443", true},
		{"x.example.com", "10.2.2.3:443", false},
		{"CHAT.internal", "10.2.2.3:443", true},
		{"chat.internal", "[fd00::7]:443", true},
		{"chat.internal", "127.0.0.1:443", false},
		{"chat.internal", "169.254.169.254:80", false},
		{"chat.internal.evil.example.com", "10.2.2.3:443", false},
		{"x.example.com", "[::1]:443", true},
		{"x.example.com", "[fe80::1%eth0]:443", false},
		{"x.example.com", "nonsense", false},
		{"x.example.com", "name:443", false},
	} {
		if err := a.check(c.host, c.address); (err == nil) != c.ok {
			t.Errorf("%s at %s: %v", c.host, c.address, err)
		}
	}
}
