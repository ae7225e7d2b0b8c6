package sluice

import (
	"regexp"
	"time"
)

// ServerName names a server of a cluster: 1 to 63 bytes of small letters, digits, '-' and '.', as names of machines are. It stands in
// certificates, tokens and file names. Unlike a worker's it may have dots, since the name of the machine is what is taken where none is
// given.
type ServerName string

var serverForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// ParseServerName checks the name of a server.
func ParseServerName(s string) (ServerName, error) {
	if len(s) > 63 || !serverForm.MatchString(s) {
		return "", Errorf(Usage, "%q is no name of a server: 1 to 63 small letters, digits, '-' and '.' are, with a letter or digit at both ends of each part", s)
	}
	return ServerName(s), nil
}

// ServerInvited lets a server join the cluster under a name.
type ServerInvited struct {
	Server ServerName `json:"server"`
	// Replaces is the member that is removed when this one joins; "" for none.
	Replaces ServerName `json:"replaces,omitzero"`
	// Digest is the SHA-256 of the token's secret, in small hexadecimal digits.
	Digest  string    `json:"digest"`
	Expires time.Time `json:"expires"`
	By      Principal `json:"by"`
}

// ServerJoined makes a server a member of the cluster. The first one joins without an invitation.
type ServerJoined struct {
	Server ServerName `json:"server"`
	// Address is HOST:PORT, where the other servers reach it.
	Address string `json:"address"`
	From    string `json:"from,omitzero"` // the address that it came from
}

// ServerRemoved refuses a server from now on. Its name may be invited again.
type ServerRemoved struct {
	Server ServerName `json:"server"`
	By     Principal  `json:"by"`
	Reason string     `json:"reason,omitzero"` // such as "replaced by s4"
}

func (ServerInvited) Type() string { return "server.invited" }
func (ServerJoined) Type() string  { return "server.joined" }
func (ServerRemoved) Type() string { return "server.removed" }
