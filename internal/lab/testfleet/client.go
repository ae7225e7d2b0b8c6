package testfleet

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// key is a new ed25519 key in the forms that files and servers want.
type key struct {
	signer ssh.Signer
	pem    []byte
}

func newKey(comment string) (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return key{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return key{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return key{}, err
	}
	return key{signer, pem.EncodeToMemory(block)}, nil
}

// authorized is the line of the public key in authorized_keys.
func (k key) authorized() string {
	return string(ssh.MarshalAuthorizedKey(k.signer.PublicKey()))
}

// makeHome makes the client's home directory; writeHosts fills in the hosts.
func (f *Fleet) makeHome() (key, error) {
	f.Home = filepath.Join(f.dir, "home")
	dotssh := filepath.Join(f.Home, ".ssh")
	f.SSHConfig = filepath.Join(dotssh, "config")
	f.KnownHosts = filepath.Join(dotssh, "known_hosts")
	f.Identity = filepath.Join(dotssh, "id_ed25519")
	for _, d := range []string{".ssh", ".config", ".local/share", ".local/state", ".cache", ".run"} {
		if err := os.MkdirAll(filepath.Join(f.Home, d), 0o700); err != nil {
			return key{}, err
		}
	}
	k, err := newKey("testfleet client")
	if err != nil {
		return key{}, err
	}
	f.Signer = k.signer
	if err := os.WriteFile(f.Identity, k.pem, 0o600); err != nil {
		return key{}, err
	}
	return k, os.WriteFile(f.Identity+".pub", []byte(k.authorized()), 0o644)
}

// writeHosts writes the client's ssh_config and known_hosts.
func (f *Fleet) writeHosts() error {
	var config, known strings.Builder
	for _, h := range f.Hosts {
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  Port %d\n  User %s\n\n", h.Name, h.IP, h.Port, f.user)
		// The name alone is for a HostKeyAlias.
		fmt.Fprintln(&known, knownhosts.Line([]string{h.Addr(), h.Name}, h.Key()))
	}
	fmt.Fprintf(&config, "Host *\n  IdentityFile %q\n  IdentitiesOnly yes\n  UserKnownHostsFile %q\n"+
		"  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n", f.Identity, f.KnownHosts)
	if err := os.WriteFile(f.SSHConfig, []byte(config.String()), 0o600); err != nil {
		return err
	}
	return os.WriteFile(f.KnownHosts, []byte(known.String()), 0o600)
}

// searchPath is PATH with the directories of administration, which an ordinary user may not have.
func searchPath() string {
	path := os.Getenv("PATH")
	for _, d := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if !strings.Contains(":"+path+":", ":"+d+":") {
			path += ":" + d
		}
	}
	return strings.TrimPrefix(path, ":")
}
