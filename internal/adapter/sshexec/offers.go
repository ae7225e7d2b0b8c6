package sshexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

// offer is a key that a host may be shown.
type offer struct {
	signer ssh.Signer
	label  string // where it comes from, for messages
	path   string // of the file, "" for a key of the agent
}

// gathered are the offers for one login, in order, and why some keys are not among them.
type gathered struct {
	offers []offer
	notes  []string
	locked string // a key that could not be opened for want of a passphrase
	close  func()
}

// gather lists the keys to show to a host. What came with the job goes first; then named identities, those that the agent holds before
// those that stand in files; then what else the agent holds, certificates first; then the usual files. So an
// agent full of keys does not use up a host's patience before the right one.
func (t *Transport) gather(ctx context.Context, d *destination) (*gathered, error) {
	g := &gathered{close: func() {}}
	g.add(t.jobOffers(g))
	held := t.agentOffers(ctx, d, g)
	files, err := t.fileOffers(d, g)
	if err != nil {
		g.close()
		return nil, err
	}
	var named, rest []offer
	for _, o := range held {
		switch {
		case t.isNamed(d, o, files):
			named = append(named, o)
		case !d.identitiesOnly:
			rest = append(rest, o)
		}
	}
	certificatesFirst(named)
	certificatesFirst(rest)
	if d.named {
		g.add(named, files, rest)
	} else {
		g.add(named, rest, files)
	}
	return g, nil
}

// jobKey is what messages call a key that came with the job.
const jobKey = "the key that came with the job"

// jobOffers is the key that came with the job, if one did.
func (t *Transport) jobOffers(g *gathered) []offer {
	secret, err := t.cfg.Credentials.PrivateKey()
	if errors.Is(err, sluice.ErrNoSecret) {
		return nil
	}
	var id *identity
	if err == nil {
		id, err = t.jobIdentity(secret)
	}
	var signer ssh.Signer
	if err == nil {
		signer, err = id.signerFor()
	}
	switch {
	case errors.Is(err, sluice.ErrNoSecret):
		g.locked = jobKey
		return nil
	case err != nil:
		g.note(jobKey, err)
		return nil
	}
	return []offer{{signer, jobKey, jobKey}}
}

func certificatesFirst(offers []offer) {
	slices.SortStableFunc(offers, func(a, b offer) int { return certRank(a) - certRank(b) })
}

func certRank(o offer) int {
	if _, ok := o.signer.PublicKey().(*ssh.Certificate); ok {
		return 0
	}
	return 1
}

// add appends offers, each key once.
func (g *gathered) add(lists ...[]offer) {
	seen := map[string]bool{}
	for _, o := range g.offers {
		seen[string(o.signer.PublicKey().Marshal())] = true
	}
	for _, list := range lists {
		for _, o := range list {
			if wire := string(o.signer.PublicKey().Marshal()); !seen[wire] {
				seen[wire] = true
				g.offers = append(g.offers, o)
			}
		}
	}
}

func (g *gathered) note(label string, err error) {
	g.notes = append(g.notes, fmt.Sprintf("%s: %s", label, err))
}

// isNamed reports whether a key of the agent is one of the identities, or a certificate for one: of those in
// files, or where only the public half is kept on this machine.
func (t *Transport) isNamed(d *destination, o offer, files []offer) bool {
	wire := plainKey(o.signer.PublicKey()).Marshal()
	for _, f := range files {
		if bytes.Equal(plainKey(f.signer.PublicKey()).Marshal(), wire) {
			return true
		}
	}
	for _, path := range d.identities {
		// An IdentityFile may itself be a public key, which names a key of the agent.
		for _, file := range []string{path + ".pub", path} {
			if key, err := t.publics.get(file); err == nil && key != nil && bytes.Equal(plainKey(key).Marshal(), wire) {
				return true
			}
		}
	}
	return false
}

func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

func (t *Transport) fileOffers(d *destination, g *gathered) (out []offer, err error) {
	for _, path := range d.identities {
		id, err := t.identities.get(path)
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			return nil, err // this machine is short of something: no host has refused a login
		case err != nil:
			if key, failed := t.publics.get(path); failed != nil || key == nil {
				g.note(path, err)
			}
			continue // a public key: the agent has its private half, or nobody
		case id == nil && d.named:
			g.note(path, os.ErrNotExist)
			continue
		case id == nil:
			continue
		}
		signer, err := id.signerFor()
		if errors.Is(err, sluice.ErrNoSecret) {
			g.locked = path
			continue
		}
		if err != nil {
			g.note(path, err)
			continue
		}
		for _, certPath := range append([]string{path + "-cert.pub"}, d.certificates...) {
			if o, ok := t.certified(certPath, signer, path, g); ok {
				out = append(out, o)
			}
		}
		out = append(out, offer{signer, path, path})
	}
	return out, nil
}

// certified joins a certificate file to a key, if it is for that key.
func (t *Transport) certified(certPath string, signer ssh.Signer, path string, g *gathered) (offer, bool) {
	cert, err := t.certificates.get(certPath)
	if err != nil {
		g.note(certPath, err)
		return offer{}, false
	}
	if cert == nil || !bytes.Equal(cert.Key.Marshal(), signer.PublicKey().Marshal()) {
		return offer{}, false
	}
	if now := uint64(t.cfg.Clock().Unix()); cert.ValidBefore != ssh.CertTimeInfinity && now >= cert.ValidBefore || now < cert.ValidAfter {
		g.note(certPath, errors.New("the certificate is not valid now"))
		return offer{}, false
	}
	withCert, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		g.note(certPath, err)
		return offer{}, false
	}
	return offer{withCert, certPath, path}, true
}

// agentOffers lists the keys of the agent. The agent may wait for its user when it signs, so each login has a
// connection of its own to it, which ends with the login.
func (t *Transport) agentOffers(ctx context.Context, d *destination, g *gathered) (out []offer) {
	if d.agent == "" {
		return nil
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", d.agent)
	if err != nil {
		g.note("agent", err)
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	g.close = func() { stop(); _ = c.Close() }
	signers, err := agent.NewClient(c).Signers()
	if err != nil {
		g.note("agent", err)
		return nil
	}
	for _, s := range signers {
		signer, err := fromAgent(s)
		if err != nil {
			g.note("agent", err)
			continue
		}
		out = append(out, offer{signer: signer, label: "a key of the agent"})
	}
	for _, path := range d.certificates {
		for _, o := range slices.Clone(out) {
			if c, ok := t.certified(path, o.signer, "", g); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

func fromAgent(s ssh.Signer) (ssh.Signer, error) {
	key, err := ssh.ParsePublicKey(s.PublicKey().Marshal())
	if err != nil {
		return nil, err
	}
	if err := hostkeys.Strong(key); err != nil {
		return nil, err
	}
	a, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("it cannot choose its algorithm")
	}
	return modern(agentSigner{a, key})
}

// agentSigner shows the key itself instead of the agent's record of it.
type agentSigner struct {
	ssh.AlgorithmSigner
	key ssh.PublicKey
}

func (s agentSigner) PublicKey() ssh.PublicKey { return s.key }
