package work

import (
	"maps"
	"strings"

	"sluice/internal/core/target"
)

// call is what is sent to the shell on the host.
func (t *attempt) call(c *conn) target.Call {
	o := t.job.Options
	call := target.Call{
		Attempt:  string(t.a.Attempt),
		Nonce:    nonce(),
		Settle:   t.a.Mode == Settle,
		Place:    t.job.Target.Dir,
		Stdout:   t.stdout.read,
		Stderr:   t.stderr.read,
		Limit:    t.stdout.limit,
		Timeout:  o.Timeout,
		Env:      t.env(),
		Main:     t.main,
		Stdin:    len(o.Prompts) > 0 && !o.TTY,
		TTY:      o.TTY && t.a.Mode == Run,
		Terminal: c.tty && !o.TTY,
		Sudo:     o.Sudo != "",
	}
	if t.deploy != nil {
		call.Steps, call.Stdin = t.deploy.steps(t.w), t.deploy.wish.Wait
	}
	if !o.NoHooks && !o.ReadOnly {
		call.PreHooks, call.PostHooks = "/etc/sluice/pre.d", "/etc/sluice/post.d"
		if d := t.job.Target.PreHooks; d != "" {
			call.PreHooks = d
		}
		if d := t.job.Target.PostHooks; d != "" {
			call.PostHooks = d
		}
	}
	return call
}

// longestCommand bounds what hooks see of the command: a variable of more would keep programs from starting.
const longestCommand = 4 << 10

// env are the variables of the steps, but for SLUICE_PHASE.
func (t *attempt) env() map[string]string {
	env := map[string]string{}
	for name, value := range t.job.Options.Env {
		env[name] = value
	}
	if t.deploy != nil && t.deploy.plan != nil {
		maps.Copy(env, t.deploy.plan.Env())
	}
	if v := t.job.Action.Validates; v != nil {
		env["SLUICE_APP"], env["SLUICE_ENV"], env["SLUICE_CLUSTER"], env["SLUICE_VERSION"] = v.App, v.Env, v.Cluster, v.Version
		env["SLUICE_DEPLOY"] = string(v.Job)
	}
	command := t.job.Command
	if len(command) > longestCommand {
		command = strings.ToValidUTF8(command[:longestCommand], "") + "..."
	}
	env["SLUICE_JOB"], env["SLUICE_HOST"] = string(t.job.ID), string(t.a.Host)
	env["SLUICE_ATTEMPT"], env["SLUICE_COMMAND"] = string(t.a.Attempt), strings.ReplaceAll(command, "\x00", "")
	return env
}
