package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/cli"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/rights"
	"sluice/internal/run/steward"
)

// Server is the program as a server: one log that many people share, and a worker of its own that carries jobs out.
type Server struct {
	// Data is the directory of everything that it keeps.
	Data string
	// Listen is the address of the API, HOST:PORT. Without TLS it must be one of the loopback.
	Listen string
	// Certificate and Key are files for TLS; "" for none.
	Certificate, Key string
	// Hosts are the names under which it is reached.
	Hosts []string
	// Home is where the worker's ssh settings and keys are; Env and Environ are its environment.
	Home    string
	Env     func(string) string
	Environ []string
	Clock   sluice.Clock
	Log     *slog.Logger
	// LocalTargets lets fleets name this machine itself (transport: local): everybody who may apply one can then run
	// commands as the server.
	LocalTargets bool
	// FirstToken is handed the token of the first administrator, once in the life of the data, before it is valid. An
	// error ends the start, and the next start makes another one.
	FirstToken func(secret string) error
	// Started is told the address when jobs are taken.
	Started func(address string)
}

// firstAdmin is who the first token is for.
const firstAdmin sluice.Principal = "admin"

const (
	stewardRetry = time.Second
	// headerTimeout bounds slow clients; grace is what requests have to end in when the server stops.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	grace         = 5 * time.Second
)

// Run serves until ctx ends or the log cannot be relied on any more.
func (s *Server) Run(ctx context.Context) (err error) {
	certificates, err := s.check()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: s.Data})
	if err != nil {
		return contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	local := &Local{Places: Places{Home: s.Home, State: s.Data}, Env: s.Env, Environ: s.Environ, Clock: s.Clock}
	service, err := local.around(log)
	if err != nil {
		return contact(err)
	}
	service.By = "server"
	keeper, err := rights.New(ctx, log, s.Clock)
	if err != nil {
		return contact(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server cannot listen", Err: err}
	}
	if err := keeper.HandFirst(ctx, firstAdmin, "first administrator", s.FirstToken); err != nil {
		return errors.Join(err, listener.Close())
	}
	if certificates != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	return s.serve(ctx, log, service, keeper, listener)
}

// check refuses what would be unsafe or cannot work, before anything is made. It returns the certificate, if there is one.
func (s *Server) check() ([]tls.Certificate, error) {
	if (s.Certificate == "") != (s.Key == "") {
		return nil, sluice.Errorf(sluice.Usage, "a certificate needs its key, and a key its certificate")
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "%q is no address to listen on", s.Listen).WithHint("such as 127.0.0.1:7657")
	}
	if ip := net.ParseIP(host); s.Certificate == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, sluice.Errorf(sluice.Usage, "without TLS the server listens on the loopback alone, not on %q", host).
			WithHint("--tls-cert FILE --tls-key FILE, or a proxy in front of it that has them")
	}
	if s.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the certificate and its key", Err: err}
	}
	return []tls.Certificate{pair}, nil
}

// serve has jobs carried out and requests answered, side by side. When one of the two ends, so does the other.
func (s *Server) serve(ctx context.Context, log sluice.Log, service *control.Service, keeper *rights.Keeper, listener net.Listener) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	trouble := func(text string) { s.Log.Warn(text) }
	api := httpapi.New(httpapi.Config{
		Desk: func(p sluice.Principal) control.Desk { return service.As(string(p)) },
		Members: func(ctx context.Context, ns sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			loaded, _, err := service.Fleet(ctx, ns)
			if sluice.CodeOf(err) == sluice.NotFound {
				return func(sluice.Tag) []sluice.Host { return nil }, nil
			}
			if err != nil {
				return nil, err
			}
			return func(t sluice.Tag) []sluice.Host { return loaded.Fleet().Tags[t] }, nil
		},
		Rights: keeper, Keeping: keeper, Clock: s.Clock, Hosts: s.Hosts, Local: s.LocalTargets, Trouble: trouble, Version: Version,
		Ready: func(ctx context.Context) error {
			_, err := log.Namespaces(ctx)
			return err
		},
	})
	server := &http.Server{Handler: api, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end with the server
		ErrorLog:    slog.NewLogLogger(s.Log.Handler(), slog.LevelInfo)}
	var both sync.WaitGroup
	ends := func(run func() error) {
		both.Go(func() {
			if err := run(); err != nil {
				stop(err)
			}
		})
	}
	ends(func() error {
		return steward.Run(ctx, steward.Config{Log: log, Retry: stewardRetry, Trouble: trouble,
			Carry: func(ctx context.Context, _ sluice.Namespace, id sluice.JobID) error {
				_, err := service.Carry(ctx, id, control.DriveOptions{Notice: func(text string) { s.Log.Warn(text, "job", id) }})
				return err
			}})
	})
	ends(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("the server ended: %w", err)
		}
		return nil
	})
	if s.Started != nil {
		s.Started(listener.Addr().String())
	}
	<-ctx.Done()
	late, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(late); err != nil {
		_ = server.Close() // who does not end within the grace is cut off
	}
	both.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// serve is a server on this machine, as the command line asks for it.
func (l *Local) serve(ctx context.Context, o cli.ServeOptions) error {
	if o.Data == "" {
		o.Data = filepath.Join(l.Places.State, "server")
	}
	if o.TokenFile != "" {
		o.Token = TokenFile(o.TokenFile)
	}
	s := &Server{Data: o.Data, Listen: o.Listen, Certificate: o.Certificate, Key: o.Key, Hosts: o.Hosts, Home: l.Places.Home, Env: l.Env,
		Environ: l.Environ, Clock: l.Clock, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), FirstToken: o.Token, Started: o.Started}
	return s.Run(ctx)
}

// TokenFile makes a file, readable by its owner alone, with a token in it. What is there already is replaced.
func TokenFile(path string) func(secret string) error {
	return func(secret string) error {
		f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
		if err != nil {
			return &sluice.Error{Code: sluice.Config, Text: "the file for the first token", Err: err}
		}
		_, err = f.WriteString(secret + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err == nil {
			return syncDir(filepath.Dir(path)) // what is valid from now on must not be lost with the power
		}
		return &sluice.Error{Code: sluice.Config, Text: "the file for the first token", Err: errors.Join(err, os.Remove(f.Name()))}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
