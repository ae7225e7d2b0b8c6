package hostkeys

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// Verdict is why a key is refused.
type Verdict int

const (
	Unknown     Verdict = iota + 1 // nothing is known of the host
	Changed                        // other keys are known
	Revoked                        // the key, or what signed it, was revoked
	Weak                           // the key is too short or of a kind that is not trusted any more
	Certificate                    // a trusted authority signed it, but the certificate is not valid for this host now
)

// Refused says why a host's key is not trusted.
type Refused struct {
	Verdict Verdict
	Name    string // as known_hosts files call the host
	Offered ssh.PublicKey
	Known   []Entry         // Changed: the keys that would be right
	At      sluice.Position // Revoked: the line
	Reason  error           // Weak, Certificate
}

func (e *Refused) Error() string {
	switch e.Verdict {
	case Unknown:
		return fmt.Sprintf("no host key is known for %s", e.Name)
	case Changed:
		return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED. It may be another machine in its place, listening. "+
			"It shows %s %s; known is %s. If the change is meant, remove the old line and enrol the host again",
			e.Name, e.Offered.Type(), ssh.FingerprintSHA256(e.Offered), e.known())
	case Revoked:
		return fmt.Sprintf("the host key of %s (%s %s) is revoked in %s:%d", e.Name, e.Offered.Type(),
			ssh.FingerprintSHA256(e.Offered), e.At.File, e.At.Line)
	}
	return fmt.Sprintf("the host key of %s (%s) is refused: %s", e.Name, e.Offered.Type(), e.Reason)
}

func (e *Refused) Unwrap() error { return e.Reason }

func (e *Refused) known() string {
	var parts []string
	for _, k := range e.Known {
		parts = append(parts, fmt.Sprintf("%s %s (%s:%d)", k.Key.Type(), ssh.FingerprintSHA256(k.Key), k.File, k.Line))
	}
	return strings.Join(parts, ", ")
}

// Host is what is known of one host, and what is revoked for all.
type Host struct {
	Name      string // as [Name] makes it
	Principal string // what a certificate must be made out for
	Entries   []Entry
	Lists     []*DB // asked for revoked keys
}

// Find gathers what files know of a host. Where a port off the usual one is not known by itself, the host's
// keys are right for it, too, as in OpenSSH. An alias is looked up as it is.
func Find(files []*DB, host string, port int, alias string) Host {
	h := Host{Name: Name(host, port), Principal: strings.ToLower(host), Lists: files}
	if alias != "" {
		h.Name, h.Principal = strings.ToLower(alias), strings.ToLower(alias)
	}
	names := []string{h.Name}
	if plain := Name(host, 22); alias == "" && plain != h.Name {
		names = append(names, plain)
	}
	for _, name := range names {
		for _, db := range files {
			h.Entries = append(h.Entries, db.Lookup(name)...)
		}
		if len(h.Entries) > 0 {
			break
		}
	}
	return h
}

// Check returns nil, or a [*Refused].
func (h Host) Check(key ssh.PublicKey, now time.Time) error {
	refuse := func(v Verdict, reason error) error {
		return &Refused{Verdict: v, Name: h.Name, Offered: key, Reason: reason}
	}
	for _, db := range h.Lists {
		if at, ok := db.Revoked(key); ok {
			return &Refused{Verdict: Revoked, Name: h.Name, Offered: key, At: at}
		}
	}
	for _, k := range parts(key) {
		if err := Strong(k); err != nil {
			return refuse(Weak, err)
		}
	}
	plain := key
	if cert, ok := key.(*ssh.Certificate); ok {
		if h.trusts(cert.SignatureKey, true) {
			if err := h.checkCert(cert, now); err != nil {
				return refuse(Certificate, err)
			}
			return nil
		}
		plain = cert.Key // the host proved that it has it
	}
	if h.trusts(plain, false) {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(h.Entries), func(e Entry) bool { return e.CA })
	if len(known) == 0 {
		return refuse(Unknown, nil)
	}
	return &Refused{Verdict: Changed, Name: h.Name, Offered: plain, Known: known}
}

func (h Host) trusts(key ssh.PublicKey, ca bool) bool {
	wire := key.Marshal()
	return slices.ContainsFunc(h.Entries, func(e Entry) bool { return e.CA == ca && bytes.Equal(e.Key.Marshal(), wire) })
}

func (h Host) checkCert(cert *ssh.Certificate, now time.Time) error {
	if cert.CertType != ssh.HostCert {
		return fmt.Errorf("it is a certificate for users")
	}
	if cert.Signature == nil || cert.Signature.Format == ssh.KeyAlgoRSA || cert.Signature.Format == keyDSA {
		return fmt.Errorf("its certificate is signed with SHA-1")
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return now }}
	return checker.CheckCert(h.Principal, cert)
}

// keyDSA is the type of DSA keys, which are refused.
const keyDSA = "ssh-dss"

// minRSA is the floor for the length of RSA keys.
const minRSA = 2048

// Strong refuses keys that are too weak to prove anything, of hosts and of users.
func Strong(key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if key.Type() == keyDSA {
		return fmt.Errorf("DSA keys are not trusted any more")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return fmt.Errorf("it is an RSA key of %d bits; at least %d are needed", r.N.BitLen(), minRSA)
		}
	}
	return nil
}

// Algorithms orders the algorithms for host keys so that a host shows a key that is known, if it has one:
// certificates where an authority is known, then the kinds of known keys, then the rest, whose keys Check
// will refuse with the right words.
func (h Host) Algorithms(allowed []string) []string {
	certs := slices.ContainsFunc(h.Entries, func(e Entry) bool { return e.CA })
	rank := func(algo string) int {
		if isCert(algo) {
			return 0
		}
		for _, e := range h.Entries {
			if !e.CA && keyType(algo) == e.Key.Type() {
				return 1
			}
		}
		return 2
	}
	out := make([]string, 0, len(allowed))
	for want := range 3 {
		for _, algo := range allowed {
			if rank(algo) == want && (want > 0 || certs) {
				out = append(out, algo)
			}
		}
	}
	return out
}

func isCert(algo string) bool { return strings.Contains(algo, "-cert-v01@") }

// keyType is the type of the keys that sign with an algorithm.
func keyType(algo string) string {
	if algo == ssh.KeyAlgoRSASHA256 || algo == ssh.KeyAlgoRSASHA512 {
		return ssh.KeyAlgoRSA
	}
	return algo
}
