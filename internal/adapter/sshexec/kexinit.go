package sshexec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A host whose cipher lets packets be cut out unseen at the beginning of a connection (chacha20-poly1305, and
// MACs over the encrypted text) must know the strict key exchange, which closes that gap. The library does
// strict key exchange where the host knows it, and does not say whether it did. So the host's list of
// algorithms, which it sends in the clear, is read here on its way to the library.

const (
	strictKeyExchange = "kex-strict-s-v00@openssh.com"

	// maxPreamble is a limit for what a host says before its version, and for its version.
	maxPreamble = 16 << 10
	// maxKexInit is a limit for the list of algorithms; OpenSSH's has about 1 KiB.
	maxKexInit = 35000

	msgKexInit = 20
)

var (
	errNotStrict   = errors.New("the host offers only ciphers that need the strict key exchange, which it does not know (CVE-2023-48795)")
	errPreamble    = errors.New("the host goes on talking without saying which version of SSH it speaks")
	errHugeKexInit = errors.New("the host's list of algorithms is too long")
)

// kexReader looks at the beginning of what a host sends.
type kexReader struct {
	offered algorithms // ours
	buf     []byte     // what was seen and is not whole yet
	version bool       // the version line is over
	done    bool
}

// feed looks at the next piece. After an error the connection must not be used.
func (k *kexReader) feed(p []byte) error {
	if k.done {
		return nil
	}
	if len(k.buf) > 0 {
		k.buf = append(k.buf, p...)
		p = k.buf
	}
	rest, err := k.read(p)
	k.buf = append(k.buf[:0], rest...)
	if k.done {
		k.buf = nil
	}
	return err
}

// read looks at all that is there and returns what is not whole.
func (k *kexReader) read(p []byte) (rest []byte, err error) {
	for !k.version {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if !whole {
			if len(p) > maxPreamble {
				return p, errPreamble
			}
			return p, nil
		}
		k.version = bytes.HasPrefix(line, []byte("SSH-"))
		p = rest
	}
	if len(p) < 6 {
		return p, nil
	}
	size := binary.BigEndian.Uint32(p)
	if size > maxKexInit {
		return p, errHugeKexInit
	}
	if len(p) < int(size)+4 {
		return p, nil
	}
	k.done = true
	if size < 2 {
		return nil, nil // not ours to complain about: the library does
	}
	return nil, k.judge(p[5 : 4+size])
}

func (k *kexReader) judge(payload []byte) error {
	if len(payload) < 17 || payload[0] != msgKexInit {
		return nil
	}
	var lists [6]nameList // key exchanges, host keys, ciphers there and back, MACs there and back
	rest := payload[17:]
	for i := range lists {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
			return nil
		}
		n := 4 + int(binary.BigEndian.Uint32(rest))
		lists[i] = rest[4:n]
		rest = rest[n:]
	}
	if lists[0].has(strictKeyExchange) {
		return nil
	}
	for direction := range 2 {
		cipher := firstCommon(k.offered.ciphers, lists[2+direction])
		mac := firstCommon(k.offered.macs, lists[4+direction])
		aead := cipher == ssh.CipherAES128GCM || cipher == ssh.CipherAES256GCM
		if cipher == ssh.CipherChaCha20Poly1305 || cipher != "" && !aead && strings.Contains(mac, "-etm@") {
			return errNotStrict
		}
	}
	return nil
}

func firstCommon(ours []string, theirs nameList) string {
	for _, o := range ours {
		if theirs.has(o) {
			return o
		}
	}
	return ""
}

// nameList is names with commas between them.
type nameList []byte

func (l nameList) has(name string) bool {
	for rest := []byte(l); rest != nil; {
		var first []byte
		if at := bytes.IndexByte(rest, ','); at >= 0 {
			first, rest = rest[:at], rest[at+1:]
		} else {
			first, rest = rest, nil
		}
		if string(first) == name {
			return true
		}
	}
	return false
}
