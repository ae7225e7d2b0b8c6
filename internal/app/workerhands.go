package app

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/adapter/sshexec"
	"sluice/internal/run/outpost"
	"sluice/internal/run/serving"
	"sluice/internal/run/work"
)

// workerHands make what carries out the attempts of a job.
type workerHands struct {
	w       *Worker
	name    sluice.WorkerName
	outputs sluice.Outputs
	blobs   sluice.Blobs
}

func (h *workerHands) forJob(_ *sluice.Job, c sluice.Credentials) (outpost.Worker, func(), error) {
	ssh, err := sshexec.New(sshexec.Config{Home: h.w.Home, Env: h.w.Env, Credentials: c, Clock: h.w.Clock,
		Machine: "the machine of the worker " + string(h.name)})
	if err != nil {
		return nil, nil, &sluice.Error{Code: sluice.Config, Text: "cannot set up ssh", Err: err}
	}
	local := localexec.New(localexec.Config{Env: h.w.Environ})
	here := sluice.Transport(local)
	if !h.w.LocalTargets {
		here = nil
	}
	releases := newVersions(h.w.path(""), h.w.path(""), h.blobs)
	worker := work.New(work.Config{Outputs: h.outputs, Blobs: h.blobs, Releases: releases, Service: newServing(over(h.w.Over, ssh), here, c).Of, Serves: serving.Asked, Clock: h.w.Clock, Credentials: c, Transport: func(s sluice.SSH) sluice.Transport {
		switch {
		case h.w.Over != nil:
			return h.w.Over
		case s.Transport != "local":
			return ssh
		case !h.w.LocalTargets:
			return refusedTransport{}
		}
		return local
	}})
	return worker, func() {
		if err := errors.Join(worker.Close(), releases.Close(), ssh.Close(), local.Close()); err != nil {
			h.w.Log.Warn("connections do not close", "why", err)
		}
	}, nil
}

// refusedTransport reaches nothing.
type refusedTransport struct{}

func (refusedTransport) Connect(_ context.Context, h sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	return nil, &sluice.ConnectError{Host: h, Failure: sluice.AuthRefused, Err: errors.New("this worker runs no commands on its own machine (transport: local)")}
}

func (refusedTransport) Close() error { return nil }
