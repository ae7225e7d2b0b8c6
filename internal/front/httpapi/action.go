package httpapi

import (
	"context"
	"path"
	"regexp"
	"strings"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
	"sluice/internal/run/control"
)

// actionOf is what a job is to do, and how that is told to people: never in the words of whoever asks, who could then do
// one thing and say another.
func actionOf(ctx context.Context, desk control.Desk, s api.Submit) (text string, a sluice.Action, err error) {
	var ways int
	for _, is := range []bool{s.Command != "", len(s.Argv) > 0, s.Script != nil, s.Copy != nil, s.Fetch != "", s.Release != nil, s.Ask != nil} {
		if is {
			ways++
		}
	}
	switch {
	case ways > 1:
		return "", a, sluice.Errorf(sluice.Usage, "command, argv, script, copy, fetch, release and ask all say what to do; there can be one of them")
	case s.Script != nil:
		text, a, err = scriptOf(ctx, desk, *s.Script)
	case s.Copy != nil:
		text, a, err = copyOf(ctx, desk, *s.Copy)
	case s.Release != nil || len(s.Back) > 0:
		text, a, err = releaseOf(ctx, desk, s)
	case s.Ask != nil:
		text, a, err = askOf(s)
	case s.Fetch != "":
		if !path.IsAbs(s.Fetch) {
			return "", a, sluice.Errorf(sluice.Usage, "fetch: %q is no absolute path", s.Fetch)
		}
		text, a = "fetch "+target.Quote(s.Fetch), sluice.Action{Kind: sluice.FetchFrom, Source: s.Fetch}
	default:
		if len(s.Argv) > 0 {
			s.Command = target.Quote(s.Argv...)
		}
		if strings.TrimSpace(s.Command) == "" {
			return "", a, sluice.Errorf(sluice.Usage, "there is no command")
		}
		text, a = s.Command, sluice.Action{Kind: sluice.RunCommand, Shell: s.Command}
	}
	if err == nil && !target.Sendable(text) {
		err = sluice.Errorf(sluice.Usage, "a command cannot have a NUL in it")
	}
	return text, a, err
}

func scriptOf(ctx context.Context, desk control.Desk, s api.Script) (string, sluice.Action, error) {
	size, err := desk.Kept(ctx, s.Digest)
	return target.Quote(append([]string{s.Name}, s.Args...)...),
		sluice.Action{Kind: sluice.RunScript, Script: s.Digest, Size: size, Args: s.Args}, err
}

func copyOf(ctx context.Context, desk control.Desk, c api.Copy) (string, sluice.Action, error) {
	if !path.IsAbs(c.Dest) || strings.HasSuffix(c.Dest, "/") {
		return "", sluice.Action{}, sluice.Errorf(sluice.Usage, "copy.dest: %q is no absolute path of a file or tree", c.Dest)
	}
	size, err := desk.Kept(ctx, c.Digest)
	return "copy " + target.Quote(c.Name, c.Dest), sluice.Action{Kind: sluice.CopyTo, Source: c.Digest, Size: size, Dest: c.Dest}, err
}

// askOf asks what is live. No sequence holds it up, so nobody may make something else of the command.
func askOf(s api.Submit) (string, sluice.Action, error) {
	ask := release.Ask(*s.Ask)
	if err := ask.Check(); err != nil {
		return "", sluice.Action{}, sluice.Errorf(sluice.Usage, "ask: %v", err)
	}
	if o := s.Options; len(o.Env) > 0 || o.TTY || len(o.Prompts) > 0 {
		return "", sluice.Action{}, sluice.Errorf(sluice.Usage, "options: there is no env, tty and prompts for a question")
	}
	return ask.Told(), ask.Action(), nil
}

func optionsOf(in api.Options) (sluice.Options, error) {
	o := sluice.Options{Concurrency: in.Concurrency, ReadOnly: in.ReadOnly, Sudo: in.Sudo, Env: in.Env, NoHooks: in.NoHooks,
		AskPassword: in.AskPassword, AskSudoPassword: in.AskSudoPassword, AskPassphrase: in.AskPassphrase, AskPrivateKey: in.AskPrivateKey, Signed: in.Signed,
		TTY: in.TTY, Prompts: in.Prompts, Lock: sluice.Lock(in.Lock), Supersede: in.Supersede, Reconnect: sluice.DefaultReconnect, OutputLimit: sluice.DefaultOutputLimit}
	if in.OutputLimit > 0 {
		o.OutputLimit = in.OutputLimit
	}
	if o.Concurrency == 0 {
		o.Concurrency = sluice.DefaultConcurrency
	}
	for _, m := range []struct {
		name, text string
		to         **sluice.Amount
	}{{"max_failures", in.MaxFailures, &o.MaxFailures}, {"max_parallel", in.MaxParallel, &o.MaxParallel}} {
		if m.text != "" {
			amount, err := sluice.ParseAmount(m.text)
			if err != nil {
				return o, sluice.Errorf(sluice.Usage, "options.%s: %v", m.name, err)
			}
			*m.to = &amount
		}
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"timeout", in.Timeout, &o.Timeout}, {"job_timeout", in.JobTimeout, &o.JobTimeout}, {"reconnect", in.Reconnect, &o.Reconnect}} {
		if d.text != "" {
			t, err := time.ParseDuration(d.text)
			if err != nil || t < 0 {
				return o, sluice.Errorf(sluice.Usage, "options.%s: %q is no time such as 90s or 5m", d.name, d.text)
			}
			*d.to = t
		}
	}
	if o.Sudo != "" && !target.ValidUser(o.Sudo) {
		return o, sluice.Errorf(sluice.Usage, "options.sudo: %q is no name of a user", o.Sudo)
	}
	if err := o.CheckLock(); err != nil {
		return o, sluice.Errorf(sluice.Usage, "options.%v", err)
	}
	for _, p := range o.Prompts {
		if _, err := regexp.Compile(p); err != nil {
			return o, sluice.Errorf(sluice.Usage, "options.prompts: %v", err)
		}
	}
	for name, value := range o.Env {
		if !target.ValidEnv(name) || !target.Sendable(value) {
			return o, sluice.Errorf(sluice.Usage, "options.env: %q is no name of letters, digits and _, or its value cannot be sent", name)
		}
	}
	return o, nil
}

// releaseOf deploys, or brings hosts back. What a deploy names must have been put into the store.
func releaseOf(ctx context.Context, desk control.Desk, s api.Submit) (text string, a sluice.Action, err error) {
	a = sluice.Action{Kind: sluice.DeployTo, Release: s.Release}
	if len(s.Back) > 0 {
		a.Kind, a.Back = sluice.RollBack, s.Back
	}
	if s.Options.ReadOnly { // it would take no room, and leave nobody out of service that fails
		return "", a, sluice.Errorf(sluice.Usage, "options.read_only: a release changes its hosts")
	}
	if err := release.Check(a.Kind, a.Release); err != nil {
		return "", a, sluice.Errorf(sluice.Usage, "release: %v", err)
	}
	if a.Kind == sluice.DeployTo {
		for _, digest := range []string{s.Release.Artifact, s.Release.Manifest, s.Release.Config} {
			if digest == "" && digest == s.Release.Config {
				continue
			}
			if _, err := desk.Kept(ctx, digest); err != nil {
				return "", a, err
			}
		}
		if a.Release, err = withProvenance(ctx, desk, s.Release); err != nil {
			return "", a, err
		}
	}
	return release.Told(a.Kind, a.Release), a, nil
}

// withProvenance is a release without the provenance that is not kept any more: people miss it, and no host.
func withProvenance(ctx context.Context, desk control.Desk, r *sluice.Release) (*sluice.Release, error) {
	if r.Provenance == "" {
		return r, nil
	}
	_, err := desk.Kept(ctx, r.Provenance)
	if sluice.CodeOf(err) != sluice.NotFound {
		return r, err
	}
	without := *r
	without.Provenance = ""
	return &without, nil
}
