package cluster

import (
	"net"
	"path/filepath"

	"sluice"
	"sluice/internal/adapter/authority"
)

// identity is what a server certifies itself with towards the others, and knows them by.
type identity struct {
	servers *authority.Servers
	member  *authority.Member
	files   authority.Files // for etcd, which reads them
}

// certificatesDir is where the files are that etcd reads.
const certificatesDir = "certificates"

// identify has the server certify itself towards the others.
func (c *cluster) identify() (err error) {
	host, _, err := net.SplitHostPort(c.seat.Address)
	if err != nil {
		return err
	}
	if c.identity.servers, err = authority.OpenServers(c.s.Data, c.s.Clock); err == nil {
		c.identity.member, err = c.identity.servers.Member(string(c.seat.Name), host)
	}
	if err == nil {
		c.identity.files, err = c.identity.member.Write(c.certificates())
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the authority for servers", Err: err}
	}
	return nil
}

// certificates is where the files are that etcd reads.
func (c *cluster) certificates() string { return filepath.Join(c.s.Data, certificatesDir) }
