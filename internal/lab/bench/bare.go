package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// bareClient is the floor: what a program in Go on the same ssh library needs that does nothing but connect, check
// the host key, log in, and run commands one after the other on each connection.
type bareClient struct {
	config  *ssh.ClientConfig
	port    int
	steps   int
	command string
	file    string // sent to the standard input of the command
}

func bare(args []string) int {
	var c bareClient
	var identity, hostKey, login, list string
	var width int
	fs := flag.NewFlagSet("bare", flag.ContinueOnError)
	fs.StringVar(&identity, "identity", "", "private key `file`")
	fs.StringVar(&hostKey, "hostkey", "", "`file` of the key that all hosts have")
	fs.StringVar(&login, "user", "", "whom to log in as")
	fs.StringVar(&list, "hosts", "", "`file` with a host a line")
	fs.StringVar(&c.file, "file", "", "`file` to send to the command")
	fs.StringVar(&c.command, "command", "true", "what to run")
	fs.IntVar(&c.port, "port", 22, "of every host")
	fs.IntVar(&c.steps, "steps", 1, "how often to run it on each host")
	fs.IntVar(&width, "width", 64, "how many hosts at once")
	err := fs.Parse(args)
	if err == nil {
		c.config, err = bareConfig(login, identity, hostKey)
	}
	var hosts []byte
	if err == nil {
		hosts, err = os.ReadFile(list)
	}
	if err == nil {
		err = c.all(strings.Fields(string(hosts)), width)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		return 1
	}
	return 0
}

func bareConfig(login, identity, hostKey string) (*ssh.ClientConfig, error) {
	private, err := os.ReadFile(identity)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(hostKey)
	if err != nil {
		return nil, err
	}
	known, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		return nil, err
	}
	c := &ssh.ClientConfig{User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Timeout: time.Minute,
		HostKeyCallback: ssh.FixedHostKey(known), HostKeyAlgorithms: []string{known.Type()}}
	c.Ciphers = []string{ssh.CipherAES128GCM}
	return c, nil
}

func (c *bareClient) all(hosts []string, width int) error {
	todo := make(chan string)
	failed := make(chan error, len(hosts))
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for h := range todo {
				if err := c.one(h); err != nil {
					failed <- fmt.Errorf("%s: %w", h, err)
				}
			}
		})
	}
	for _, h := range hosts {
		todo <- h
	}
	close(todo)
	wg.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *bareClient) one(host string) error {
	if h, port, err := net.SplitHostPort(host); err == nil {
		return c.at(net.JoinHostPort(h, port))
	}
	return c.at(net.JoinHostPort(host, strconv.Itoa(c.port)))
}

func (c *bareClient) at(address string) error {
	client, err := ssh.Dial("tcp", address, c.config)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	for range c.steps {
		if err := c.step(client); err != nil {
			return err
		}
	}
	return nil
}

func (c *bareClient) step(client *ssh.Client) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	session.Stdout = io.Discard
	if c.file != "" {
		f, err := os.Open(c.file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		session.Stdin = f
	}
	return session.Run(c.command)
}
