package release

import (
	"fmt"
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/target"
)

// Check refuses a release that cannot be put on any host, before anything is asked there.
func Check(kind sluice.ActionKind, r *sluice.Release) error {
	if r == nil {
		return fmt.Errorf("the job says nothing of a release")
	}
	for _, n := range []struct{ what, name string }{{"app", r.App}, {"environment", r.Env}} {
		if !plainName(n.name) {
			return fmt.Errorf("%q cannot name an %s: letters, digits, '_', '-' and '.' are allowed, and a letter or digit begins it", n.name, n.what)
		}
	}
	d := r.Deploy
	switch {
	case kind == sluice.DeployTo && !ValidVersion(r.Version):
		return fmt.Errorf("%q cannot be a version: letters, digits, '_', '-', '+' and '.' are allowed, up to 128, and a letter or digit begins it", r.Version)
	case !validRoot(d.Root):
		return fmt.Errorf("the root %q of the app is no clean absolute path", d.Root)
	case d.OnFailure != "" && d.OnFailure != sluice.FailureHalts && d.OnFailure != sluice.FailureRollsBack:
		return fmt.Errorf("%q cannot follow a failure: expected halt or rollback", d.OnFailure)
	case d.Once != "" && !sluice.ValidOnce(d.Once):
		return fmt.Errorf("%q cannot say where the steps run that run once: expected first, the name of a host, or a tag behind $", d.Once)
	case d.After != "" && !sluice.ValidOnce(d.After):
		return fmt.Errorf("%q cannot say where the steps run that run once after all others: expected last, the name of a host, or a tag behind $", d.After)
	case d.Keep < 0:
		return fmt.Errorf("%d versions cannot be kept", d.Keep)
	case d.User != "" && !userName(d.User), d.Group != "" && !userName(d.Group):
		return fmt.Errorf("%q and %q cannot own files: a user and a group are names or numbers", d.User, d.Group)
	}
	if v := d.Validate; v != nil {
		switch {
		case strings.TrimSpace(v.Run) == "" || !target.Sendable(v.Run):
			return fmt.Errorf("%q cannot validate a release: there is no command in it, or a zero byte", v.Run)
		case v.On == "" || odd(v.On) || v.Timeout < 0:
			return fmt.Errorf("a release cannot be validated on %q within %s", v.On, v.Timeout)
		case v.OnFailure != "" && v.OnFailure != sluice.FailureHalts && v.OnFailure != sluice.FailureRollsBack:
			return fmt.Errorf("%q cannot follow a validation that fails: expected halt or rollback", v.OnFailure)
		}
	}
	for _, s := range d.Services {
		if !serviceName(s.Name) {
			return fmt.Errorf("%q cannot name a service", s.Name)
		}
		if s.By != "systemd" && s.By != "supervisor" && s.By != "service" {
			return fmt.Errorf("the service %s is run by %q: expected systemd, supervisor or service", s.Name, s.By)
		}
	}
	if err := checkTemplates(d); err != nil {
		return err
	}
	for _, b := range d.Balancers {
		switch {
		case odd(b.Name) || odd(b.Pool) || odd(b.Server):
			return fmt.Errorf("the balancer %q has an odd name, pool or server", b.Name)
		case b.Name != "" && b.Driver == "" && b.Pool != "": // what it is, is found in the fleet when the job is made
		case b.Driver != "haproxy" && b.Driver != "nginx" && b.Driver != "exec":
			return fmt.Errorf("%q is no balancer: expected haproxy, nginx or exec", b.Driver)
		case b.At == "" || b.Pool == "" || odd(b.At):
			return fmt.Errorf("the balancer %s says no pool, or has an odd address", b.Driver)
		case b.Sudo != "" && (b.Driver == "haproxy" || !target.ValidUser(b.Sudo)):
			return fmt.Errorf("the balancer %s cannot be spoken with as %q", b.Driver, b.Sudo)
		case b.Driver != "haproxy" && !path.IsAbs(b.At):
			return fmt.Errorf("the balancer %s needs an absolute path, not %q", b.Driver, b.At)
		}
	}
	return nil
}

// Told says in one line what a job does.
func Told(kind sluice.ActionKind, r *sluice.Release) string {
	switch {
	case kind != sluice.RollBack:
		return fmt.Sprintf("deploy %s@%s to %s", r.App, r.Version, r.Env)
	case r.Version == "":
		return fmt.Sprintf("roll %s in %s back", r.App, r.Env)
	}
	return fmt.Sprintf("roll %s in %s back to %s", r.App, r.Env, r.Version)
}

// Lock is the lock that one deploy of an app in an environment has at a time.
func Lock(r *sluice.Release) sluice.Lock { return sluice.Lock(r.App + "/" + r.Env) }

// ValidVersion reports whether a version may name a directory. '~' is kept for what we add to it.
func ValidVersion(v string) bool { return len(v) <= 128 && only(v, "_-+.") && alnum(v[0]) }

func plainName(s string) bool { return len(s) <= 128 && only(s, "_-.") && alnum(s[0]) }
func serviceName(s string) bool {
	return len(s) <= 128 && only(s, "_-.@:") && s[0] != '-' && s[0] != '.'
}
func userName(s string) bool { return len(s) <= 64 && only(s, "_-.") && s[0] != '-' }

// validTree reports whether a name is one that we give: of a version, or of one with a hash behind it.
func validTree(s string) bool {
	version, _, _ := strings.Cut(s, "~")
	return ValidVersion(version) && len(s) <= 200 && only(s, "_-+.~")
}

func only(s, more string) bool {
	for i := range len(s) {
		if !alnum(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// odd text cannot be carried in a line.
func odd(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
}

// bare is a digest without its "sha256:", ok if it is one.
func bare(digest string) (hex string, ok bool) {
	hex, ok = strings.CutPrefix(digest, "sha256:")
	return hex, ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
