package gosshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice/internal/lab/testfleet/mark"
)

// Config says what a server is like. Nothing in it is changed afterwards.
type Config struct {
	Addr string // to listen at; "127.0.0.1:0" if ""
	// Listen is used instead of Addr if it is not nil, for a network of its own.
	Listen net.Listener

	HostKey    ssh.Signer      // a new ed25519 key if nil
	Authorized []ssh.PublicKey // who may log in by key
	Password   string          // that lets everybody in; "" allows none
	Banner     string          // sent before the login

	Dir   string   // working directory of commands; that of this process if ""
	Env   []string // the whole environment of commands, but for what the server adds: "NAME=VALUE"
	Shell string   // "/bin/sh" if ""
	// Answer is asked before a command is run. If it returns true, it has answered, and no process is started.
	Answer func(e *Exec) (status int, answered bool)

	// Mark is an entry for the environment of commands, by which the server finds and ends them when it is closed; it
	// makes one if "".
	Mark string

	MaxSessions int       // at once on a connection; 10, as in OpenSSH, if 0
	Log         io.Writer // what is wrong with connections, a line each; nil is nowhere
}

// Exec is a command to be answered by a function.
type Exec struct {
	User    string
	Command string // "" asks for a shell
	TTY     bool
	Env     []string // that the client sent, "NAME=VALUE"
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Drop breaks the connection without a goodbye. No status is sent then.
	Drop func()
}

// markName is the variable of the mark that a server makes.
const markName = "SLUICE_GOSSHD"

const closeWithin = 10 * time.Second

// Server is a listening server.
type Server struct {
	config   Config
	ssh      *ssh.ServerConfig
	listener net.Listener

	logins, execs atomic.Int64
	wg            sync.WaitGroup // connections
	commands      sync.WaitGroup // those that wait for the end of a command, which may be after its connection's

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// Start listens and serves until Close.
func Start(c Config) (*Server, error) {
	s := &Server{config: c, listener: c.Listen, conns: map[net.Conn]bool{}}
	if s.config.Shell == "" {
		s.config.Shell = "/bin/sh"
	}
	if s.config.MaxSessions == 0 {
		s.config.MaxSessions = 10
	}
	if s.config.Mark == "" {
		s.config.Mark = markName + "=" + rand.Text()
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	if s.listener == nil {
		addr := c.Addr
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		s.listener = l
	}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *Server) configure() error {
	s.ssh = &ssh.ServerConfig{}
	if s.config.HostKey == nil {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		if s.config.HostKey, err = ssh.NewSignerFromKey(private); err != nil {
			return err
		}
	}
	s.ssh.AddHostKey(s.config.HostKey)
	s.ssh.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if slices.ContainsFunc(s.config.Authorized, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
			return nil, nil
		}
		return nil, errors.New("this key may not log in")
	}
	if s.config.Password != "" {
		s.ssh.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if subtle.ConstantTimeCompare(password, []byte(s.config.Password)) == 1 {
				return nil, nil
			}
			return nil, errors.New("wrong password")
		}
	}
	if s.config.Banner != "" {
		s.ssh.BannerCallback = func(ssh.ConnMetadata) string { return s.config.Banner }
	}
	return nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// HostKey is the public key it proves to have.
func (s *Server) HostKey() ssh.PublicKey { return s.config.HostKey.PublicKey() }

// Logins is how many connections have logged in so far.
func (s *Server) Logins() int { return int(s.logins.Load()) }

// Execs is how many commands were asked for so far.
func (s *Server) Execs() int { return int(s.execs.Load()) }

// Cut breaks all connections with a reset. What runs goes on.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Close stops listening, breaks all connections and ends all commands. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	err := s.listener.Close()
	s.Cut()
	s.wg.Wait()
	if s.Execs() == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if kill := mark.Kill(ctx, s.config.Mark); kill != nil {
		return errors.Join(err, kill) // waiting for what does not end is no use
	}
	s.commands.Wait()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		if !s.keep(conn) {
			_ = conn.Close()
			return
		}
		s.wg.Go(func() {
			defer s.forget(conn)
			s.handle(conn)
		})
	}
}

// keep notes a connection, unless the server is being closed.
func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	_ = conn.Close()
}

func (s *Server) logf(format string, args ...any) {
	if s.config.Log != nil {
		fmt.Fprintf(s.config.Log, "gosshd: "+format+"\n", args...)
	}
}

func (s *Server) handle(conn net.Conn) {
	c, channels, requests, err := ssh.NewServerConn(conn, s.ssh)
	if err != nil {
		s.logf("%s: %v", conn.RemoteAddr(), err)
		return
	}
	s.logins.Add(1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	var open atomic.Int64
	for n := range channels {
		switch {
		case n.ChannelType() != "session":
			s.reject(n, ssh.UnknownChannelType, "only sessions are served")
		case open.Load() >= int64(s.config.MaxSessions):
			s.reject(n, ssh.ConnectionFailed, "no more sessions: "+strconv.Itoa(s.config.MaxSessions)+" are open")
		default:
			channel, requests, err := n.Accept()
			if err != nil {
				s.logf("%s: %v", conn.RemoteAddr(), err)
				continue
			}
			open.Add(1)
			wg.Go(func() {
				defer open.Add(-1)
				se := &session{server: s, user: c.User(), channel: channel, drop: func() { _ = conn.Close() }}
				se.serve(requests)
			})
		}
	}
}

func (s *Server) reject(n ssh.NewChannel, reason ssh.RejectionReason, text string) {
	if err := n.Reject(reason, text); err != nil {
		s.logf("rejecting a channel: %v", err)
	}
}
