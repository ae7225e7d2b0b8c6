// Package spell writes a request for a job as people type it: as a command line of sluice, and as a call of the API by curl.
// What is written means the same job, or nothing is written.
//
// It knows the forms of requests and how a shell is told words, and nothing of fleets or hosts.
package spell

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"sluice"
	"sluice/api"
	"sluice/internal/core/target"
)

// CommandLine is the command line that submits the same job; "" if there is none. byFleet says that there is a fleet to go
// by: without one, hosts are named.
func CommandLine(s api.Submit, byFleet bool) string {
	if s.Fleet != nil || s.Options.OutputLimit > 0 {
		return "" // the file it came from is not here; there is no flag for it
	}
	verb, before, after := what(s)
	if verb == "" || verb != "run" && (s.Options.TTY || len(s.Options.Prompts) > 0) || verb == "copy" && s.Options.ReadOnly ||
		verb == "deploy" && len(s.Options.Env) > 0 { // --env says there which environment
		return ""
	}
	words := append([]string{"sluice", verb}, where(s, byFleet)...)
	words = append(append(words, flags(s)...), before...)
	return target.Quote(append(words, after...)...)
}

// what is the command with what belongs to it, before and after "--".
func what(s api.Submit) (verb string, before, after []string) {
	switch {
	case s.Script != nil:
		before = []string{"--script", s.Script.Name}
		if len(s.Script.Args) > 0 {
			after = append([]string{"--"}, s.Script.Args...)
		}
		return "run", before, after
	case s.Copy != nil:
		return "copy", nil, []string{"--", s.Copy.Name, s.Copy.Dest}
	case s.Release != nil && len(s.Back) == 0:
		before = []string{"--env", s.Release.Env}
		if s.Release.Cluster != "" {
			before = append(before, "--cluster", s.Release.Cluster)
		}
		return "deploy", before, []string{s.Release.App + "@" + s.Release.Version}
	case s.Fetch != "":
		return "fetch", []string{"--output-dir", "fetched"}, []string{"--", s.Fetch}
	case len(s.Argv) > 1:
		return "run", nil, append([]string{"--"}, s.Argv...)
	case len(s.Argv) == 1: // one word would be read as shell text
		return "run", nil, []string{"--", target.Quote(s.Argv...)}
	case s.Command != "":
		return "run", nil, []string{"--", s.Command}
	}
	return "", nil, nil
}

// where says which hosts.
func where(s api.Submit, byFleet bool) (words []string) {
	if s.Namespace != "" && s.Namespace != sluice.DefaultNamespace {
		words = append(words, "--namespace", string(s.Namespace))
	}
	if byFleet {
		return append(words, "-t", s.Targets)
	}
	return append(words, "-w", s.Targets)
}

func flags(s api.Submit) (words []string) {
	o := s.Options
	with := func(flag, value string) {
		if value != "" {
			words = append(words, flag, value)
		}
	}
	is := func(flag string, set bool) {
		if set {
			words = append(words, flag)
		}
	}
	with("--user", s.User)
	switch o.Sudo {
	case "":
	case "root":
		words = append(words, "--sudo")
	default: // its value is optional, so a word of its own would be another argument
		words = append(words, "--sudo="+o.Sudo)
	}
	with("--max-failures", o.MaxFailures)
	with("--max-parallel", o.MaxParallel)
	if o.Concurrency > 0 {
		with("--concurrency", strconv.Itoa(o.Concurrency))
	}
	with("--timeout", o.Timeout)
	with("--job-timeout", o.JobTimeout)
	with("--reconnect", o.Reconnect)
	with("--lock", o.Lock)
	is("--supersede", o.Supersede)
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		words = append(words, "--env", name+"="+o.Env[name])
	}
	with("--hooks", o.Hooks)
	is("--no-hooks", o.NoHooks)
	is("--read-only", o.ReadOnly && s.Fetch == "") // to fetch is so always
	is("--tty", o.TTY)
	for _, p := range o.Prompts {
		words = append(words, "--prompt", p)
	}
	is("--ask-password", o.AskPassword)
	is("--ask-sudo-password", o.AskSudoPassword)
	is("--ask-passphrase", o.AskPassphrase)
	if o.AskPrivateKey {
		words = append(words, "--identity-file", "KEY")
	}
	is("--sign", o.Signed)
	return words
}

// Curl is the call that submits the same job; "" for one with secrets, which are sealed first, and for one with a fleet of
// its own. Server and token stand in the environment, as the reference of the API has them.
func Curl(s api.Submit) string {
	o := s.Options
	if s.Fleet != nil || o.AskPassword || o.AskSudoPassword || o.AskPassphrase || o.AskPrivateKey || o.Signed {
		return ""
	}
	s.ID, s.FleetDigest = "", ""
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // "&" is common in expressions
	if err := e.Encode(short(s)); err != nil {
		return ""
	}
	return `curl -sS -H "Authorization: Bearer $SLUICE_TOKEN" -X POST -H 'Content-Type: application/json' \` + "\n  -d " +
		target.Quote(string(bytes.TrimSpace(body.Bytes()))) + " \\\n" + `  "$SLUICE_SERVER/api/v1/jobs"`
}

// short leaves out options where there are none.
func short(s api.Submit) any {
	type plain api.Submit
	var options *api.Options
	if !isZero(s.Options) {
		options = &s.Options
	}
	return struct {
		plain
		Options *api.Options `json:"options,omitempty"`
		Secrets any          `json:"secrets,omitempty"`
	}{plain(s), options, nil}
}

func isZero(o api.Options) bool {
	b, err := json.Marshal(o)
	return err == nil && string(b) == "{}"
}
