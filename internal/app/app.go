// Package app wires the program together: with the rooms below it, it is the one place that knows which adapter stands behind which port.
package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"sluice"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/flockdrivers"
	"sluice/internal/adapter/localexec"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/adapter/sshexec"
	"sluice/internal/run/control"
	"sluice/internal/run/dispatch"
	"sluice/internal/run/pool"
	"sluice/internal/run/secrets"
	"sluice/internal/run/serving"
	"sluice/internal/run/work"
)

// Places are where things live on this machine. All follow HOME and XDG_*.
type Places struct {
	Home   string
	State  string // $XDG_STATE_HOME/sluice
	Config string // $XDG_CONFIG_HOME/sluice
}

// FindPlaces reads the environment. HOME must be set, and absolute.
func FindPlaces(env func(string) string) (Places, error) {
	home := env("HOME")
	if !filepath.IsAbs(home) {
		return Places{}, sluice.Errorf(sluice.Config, "HOME is not set to an absolute path; it says where keys, settings and the journal are")
	}
	xdg := func(name, fallback string) string {
		if dir := env(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "sluice")
		}
		return filepath.Join(home, fallback, "sluice")
	}
	return Places{Home: home, State: xdg("XDG_STATE_HOME", ".local/state"), Config: xdg("XDG_CONFIG_HOME", ".config")}, nil
}

// heads is where the heads are that servers have shown.
func (p Places) heads() string { return filepath.Join(p.State, "witness") }

// Local is the program without a server: the journal of this machine, and jobs driven by this process.
type Local struct {
	Places Places
	Env    func(string) string
	// Environ is the environment of commands that run on this machine itself.
	Environ []string
	Clock   sluice.Clock
	// Over reaches all hosts, in place of ssh; nil: ssh does.
	Over sluice.Transport
	// Machine is what this one is called to those who sit elsewhere; "" where they sit at it.
	Machine string
	// Learns says that those can have it learn host keys.
	Learns bool
	// Lease of a server; 0: 15 s.
	Lease time.Duration

	pool *pool.Pool // of a server: whose workers carry jobs out; nil: this process does
	// may says whether something of a job may still start; nil: whoever is at this machine may.
	may func(context.Context, *sluice.Job) error
	// Confirm asks the person a question; nil where there is nobody to ask.
	Confirm func(question string) (bool, error)
}

func (l *Local) journalConfig() sqlitelog.Config { return sqlitelog.Config{Dir: l.Places.State} }

// Desk opens the journal. With create == false it returns nil where there is none.
func (l *Local) Desk(ctx context.Context, create bool) (control.Desk, func() error, error) {
	if !create {
		if _, err := os.Stat(filepath.Join(l.Places.State, "journal.db")); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, nil
		}
	}
	log, err := sqlitelog.Open(ctx, l.journalConfig())
	if err != nil {
		return nil, nil, contact(err)
	}
	svc, err := l.around(log)
	if err != nil {
		return nil, nil, contact(errors.Join(err, log.Close()))
	}
	return svc, log.Close, nil
}

// contact marks errors of the journal's files.
func contact(err error) error {
	if sluice.CodeOf(err) != "" {
		return err
	}
	return &sluice.Error{Code: sluice.Contact, Text: "cannot open the journal", Err: err}
}

func (l *Local) around(log sluice.Log) (*control.Service, error) {
	outputs, err := diroutputs.New(filepath.Join(l.Places.State, "outputs"))
	if err != nil {
		return nil, err
	}
	blobs, err := dirblobs.New(filepath.Join(l.Places.State, "blobs"), l.Clock())
	if err != nil {
		return nil, err
	}
	drivers, err := flockdrivers.New(filepath.Join(l.Places.State, "drivers"))
	if err != nil {
		return nil, err
	}
	svc := &control.Service{Log: log, Drivers: drivers, Outputs: outputs, Blobs: blobs, Clock: l.Clock, By: l.who()}
	svc.Drive = func(ctx context.Context, ns sluice.Namespace, id sluice.JobID, o control.DriveOptions) (sluice.Event, error) {
		return l.drive(ctx, svc, ns, id, o)
	}
	return svc, nil
}

// who names the person for the journal, such as "ann@laptop".
func (l *Local) who() string {
	name := l.Env("USER")
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		name = u.Username // who one says one is does not count
	}
	if sudo := l.Env("SUDO_USER"); sudo != "" && os.Getuid() == 0 {
		name = sudo + " as root"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return name + "@" + host
}

// drive carries a job out from this process.
func (l *Local) drive(ctx context.Context, svc *control.Service, ns sluice.Namespace, id sluice.JobID, o control.DriveOptions) (sluice.Event, error) {
	if o.Credentials != nil {
		return l.driveWith(ctx, svc, ns, id, o, o.Credentials)
	}
	if err := guard(o.Secrets); err != nil {
		return sluice.Event{}, err
	}
	keeper := secrets.New(secrets.Of{Login: o.Secrets.Password, Sudo: o.Secrets.Sudo, Passphrase: o.Secrets.Passphrase,
		PrivateKey: o.Secrets.PrivateKey})
	defer keeper.Wipe()
	return l.driveWith(ctx, svc, ns, id, o, keeper)
}

// driveWith carries a job out from this process, with secrets from anywhere.
func (l *Local) driveWith(ctx context.Context, svc *control.Service, ns sluice.Namespace, id sluice.JobID, o control.DriveOptions,
	keeper sluice.Credentials) (last sluice.Event, err error) {
	ssh, err := l.ssh(keeper)
	if err != nil {
		return sluice.Event{}, err
	}
	local := localexec.New(localexec.Config{Env: l.Environ})
	here := sluice.Transport(local)
	if l.pool != nil { // a server: who may submit a job may not act as it
		here = nil
	}
	releases := newVersions(l.Places.State, l.Places.Config, svc.Blobs)
	worker := work.New(work.Config{
		Transport: func(s sluice.SSH) sluice.Transport {
			switch {
			case l.Over != nil:
				return l.Over
			case s.Transport == "local":
				return local
			}
			return ssh
		},
		Outputs: atWork(svc.Outputs), Fetched: keepFetched(svc.Outputs), Blobs: svc.Blobs, Credentials: keeper, Clock: l.Clock, Releases: releases, Service: newServing(over(l.Over, ssh), here, keeper).Of, Serves: serving.Asked,
	})
	defer func() {
		err = errors.Join(err, worker.Close(), releases.Close(), ssh.Close(), local.Close(), svc.Outputs.Close(id))
	}()
	var by dispatch.Worker = worker
	if l.pool != nil {
		by = l.pool.Job(worker)
	}
	return dispatch.Drive(ctx, dispatch.Config{Log: svc.Log, Namespace: ns, Drivers: svc.Drivers, Outputs: svc.Outputs,
		Worker: by, Clock: l.Clock, Driver: svc.By + " pid " + strconv.Itoa(os.Getpid()), FetchDir: o.FetchDir,
		OnlySettle: o.OnlySettle, Observe: o.Observe, Waits: o.Waits, Notice: o.Notice, May: l.may}, id)
}

func (l *Local) ssh(c sluice.Credentials) (*sshexec.Transport, error) {
	t, err := sshexec.New(sshexec.Config{Home: l.Places.Home, Env: l.Env, Credentials: c, Clock: l.Clock, Machine: l.Machine, Learns: l.Learns})
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "cannot set up ssh", Err: err}
	}
	return t, nil
}

// Journal looks after the journal's files, or those of a server: verify, accept, path.
func (l *Local) Journal(ctx context.Context, data, act string) (string, error) {
	cfg := l.journalConfig()
	if data != "" {
		cfg.Dir = data
	}
	switch act {
	case "accept":
		heads, err := sqlitelog.Accept(ctx, cfg, l.Clock())
		if err != nil {
			return "", contact(err)
		}
		return "accepted:" + lines(heads), nil
	case "verify":
		log, err := sqlitelog.Open(ctx, cfg)
		if err != nil {
			return "", contact(err)
		}
		defer log.Close()
		heads, err := log.Verify(ctx)
		if err != nil {
			return "", contact(err)
		}
		return "whole:" + lines(heads), nil
	}
	return cfg.Dir, nil
}

// DefaultFleet is the fleet file that is used where none is named, if it is there.
func (p Places) DefaultFleet() string {
	file := filepath.Join(p.Config, "fleet.yaml")
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// Now is the machine's clock, in UTC: the journal knows no other.
func Now() time.Time { return time.Now().UTC() }
