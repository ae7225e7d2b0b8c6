package sluice

import (
	"strings"
	"time"
)

// Release is an app at a version with its configuration in an environment. A job that deploys it carries it frozen.
type Release struct {
	App     string `json:"app"`
	Env     string `json:"env"`
	Cluster string `json:"cluster,omitzero"`
	Version string `json:"version"`
	// Artifact is the digest of the archive, Manifest that of the manifest of its files, and Config that of the
	// configuration, which is one blob for all hosts. Each is "sha256:" and 64 hexadecimal digits. All are "" where each host
	// goes back to what it has.
	Artifact string `json:"artifact,omitzero"`
	Manifest string `json:"manifest,omitzero"`
	Config   string `json:"config,omitzero"`
	// Provenance is the digest of what says where the values of the configuration came from; "" where that was not kept. Only
	// people need it: the release is the same without.
	Provenance string `json:"provenance,omitzero"`
	Deploy     Deploy `json:"deploy"`
	// Once is the host that runs the steps of the version that run once, before any other host changes; "" where there are none. The
	// plan of the job has it in a stage of its own, before all others.
	Once Host `json:"once,omitzero"`
	// After is the host that runs the steps which run once after all other hosts; "" where there are none. It is the last stage of every
	// track.
	After Host `json:"after,omitzero"`
	// Validating says where the release is validated, as it was found out when the job was made; nil where nobody asked for that.
	Validating *Validating `json:"validating,omitzero"`
	// Commit is what the artifact was built from, as its metadata said when the job was made; nil where it said nothing.
	Commit *Commit `json:"commit,omitzero"`
}

// Commit says what an artifact was built from, when that was committed, and who built it when.
type Commit struct {
	ID      string    `json:"id,omitzero"`
	Time    time.Time `json:"time,omitzero"`
	Builder string    `json:"builder,omitzero"`
	Built   time.Time `json:"built,omitzero"`
}

// Since is from when on it could have been live: since it was committed, or else since it was built. Zero where neither is known.
func (c *Commit) Since() time.Time {
	if c == nil {
		return time.Time{}
	}
	if c.Time.IsZero() {
		return c.Built
	}
	return c.Time
}

// Deploy says how a release is put on a host: the section "deploy" of app.yaml, with what it leaves out filled in.
type Deploy struct {
	// Root is the directory of the app on the host: versions, live and what is kept of them are below it.
	Root string `json:"root"`
	// User and Group own the files of a version; "" is who carries the deploy out.
	User  string `json:"user,omitzero"`
	Group string `json:"group,omitzero"`
	// Keep is how many versions stay, the live one counted.
	Keep int `json:"keep"`
	// NoHooks runs none of the artifact's hooks.
	NoHooks bool `json:"no_hooks,omitzero"`
	// Once says which host runs the steps that run once: [OnceFirst], a host, or a tag behind "$". "" where there are none.
	Once string `json:"once,omitzero"`
	// After says which host runs the steps that run once, after all others: [AfterLast], a host, or a tag behind "$". "" is the first
	// of these; a job has "" where there are none.
	After    string    `json:"after,omitzero"`
	Services []Service `json:"services,omitzero"`
	// Templates are rendered for each host. In app.yaml those are named of which something is said; a job has all of its artifact.
	Templates []Template `json:"templates,omitzero"`
	// Balancers hand requests to the host: it leaves them before another version goes live, and comes back when it is well.
	Balancers []Balancing   `json:"balancers,omitzero"`
	Checks    []HealthCheck `json:"checks,omitzero"`
	Waits     Waits         `json:"waits,omitzero"`
	// OnFailure says what follows when a deploy ends badly; "" is [FailureHalts].
	OnFailure OnFailure `json:"on_failure,omitzero"`
	// Validate is what shows that a release does what it should, once all hosts have it; nil where nothing does.
	Validate *Validate `json:"validate,omitzero"`
}

// Validate is a command that follows by itself on a deploy that succeeded.
type Validate struct {
	// Run is the text that the target's sh runs.
	Run string `json:"run"`
	// On is an expression over the fleet, or [ValidateFirst].
	On string `json:"on"`
	// Timeout ends it on a host.
	Timeout time.Duration `json:"timeout"`
	// OnFailure says what follows when it fails; "" only records it.
	OnFailure OnFailure `json:"on_failure,omitzero"`
}

// ValidateFirst is the host of a deploy that its plan lets go first.
const ValidateFirst = "first"

// Validating is where a release is validated.
type Validating struct {
	Hosts []Host `json:"hosts"`
	// HostSSH are the settings of those whose settings are not the job's.
	HostSSH map[Host]SSH `json:"host_ssh,omitzero"`
}

// OnceFirst is the first of the hosts that the sequences of the fleet let go first.
const OnceFirst = "first"

// AfterLast is the last of the hosts after which the sequences of the fleet let nobody go.
const AfterLast = "last"

// ValidOnce reports whether a text can say where the steps run that run once, before the others or after them.
func ValidOnce(s string) bool { return ValidHost(strings.TrimPrefix(s, "$")) }

// OnFailure is what follows when a deploy ends badly.
type OnFailure string

const (
	// FailureHalts leaves all as it is: a person decides.
	FailureHalts OnFailure = "halt"
	// FailureRollsBack brings every host back that the deploy changed, by a job that is made in the same step.
	FailureRollsBack OnFailure = "rollback"
)

// Template is a file of the artifact that is rendered with the configuration of a host, and becomes a file of the version.
type Template struct {
	From string `json:"from"` // in the artifact
	To   string `json:"to"`   // in the version
	// Outside is where a link to it stands outside of the root of the app; "" for none.
	Outside string `json:"outside,omitzero"`
	// Mode are its permissions, in octal such as 0640; "" for those of the template, without those of others where something in it
	// was sealed.
	Mode string `json:"mode,omitzero"`
	// User and Group own it; "" is who owns the version.
	User  string `json:"user,omitzero"`
	Group string `json:"group,omitzero"`
}

// Service is a service of the host that learns of another version.
type Service struct {
	Name string `json:"name"`
	// By is who runs it: "systemd", "supervisor", or "service" for the program of that name.
	By string `json:"by"`
	// Reload keeps it running, and has it read again what it reads.
	Reload bool `json:"reload,omitzero"`
}

// Balancing is where a host stands in a balancer.
type Balancing struct {
	// Name is what the fleet calls it; "" for one that app.yaml describes itself.
	Name string `json:"name,omitzero"`
	// Driver is "haproxy", "nginx" or "exec".
	Driver string `json:"driver"`
	// At is, for haproxy, the path of its socket or its address; for nginx the file with its upstreams; for exec a program.
	At string `json:"at"`
	// On is the host of the balancer, reached as SSH says; "" is the machine of whoever carries the job out.
	On  Host `json:"on,omitzero"`
	SSH SSH  `json:"ssh,omitzero"`
	// Sudo is the user to become there, for programs; "" stays who logs in.
	Sudo string `json:"sudo,omitzero"`
	// Pool is the balancer's word for those that share requests, and Server that for the host; "" is the host's name.
	// {host} in it stands for that, {address} for where the fleet says that the host is.
	Pool   string `json:"pool"`
	Server string `json:"server,omitzero"`
	// Least is how many servers of the pool must stay up, whatever the job's rules say.
	Least Amount `json:"least,omitzero"`
}

// HealthCheck is asked whether a host is well.
type HealthCheck struct {
	Kind string `json:"kind"` // "http", "tcp", "exec" or "systemd"
	At   string `json:"at"`   // an address, a command or a unit
	// Status is what HTTP must answer with; 0: 200 to 399.
	Status int `json:"status,omitzero"`
	// Every is the time between two, Timeout that for one; Successes is how many in a row it takes.
	Every     time.Duration `json:"every,omitzero"`
	Timeout   time.Duration `json:"timeout,omitzero"`
	Successes int           `json:"successes,omitzero"`
}

// Waits bound what a deploy waits for.
type Waits struct {
	// Drain is for requests in flight, Healthy for the host to be well, and Steady is how long it must be.
	Drain   time.Duration `json:"drain,omitzero"`
	Healthy time.Duration `json:"healthy,omitzero"`
	Steady  time.Duration `json:"steady,omitzero"`
}

// Installed is a version on a host. Manifest is the digest of all files there, rendered ones among them: it alone says whether two
// are the same.
type Installed struct {
	Version  string `json:"version"`
	Manifest string `json:"manifest,omitzero"` // "" for a version that Sluice has not put there
	Config   string `json:"config,omitzero"`
}

// Activation says which version of an app is live on a host.
type Activation struct {
	App string `json:"app"`
	Env string `json:"env"`
	// Live is what is live now, Before what was when the attempt began. Without a version there is none.
	Live   Installed `json:"live,omitzero"`
	Before Installed `json:"before,omitzero"`
}
