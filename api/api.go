// Package api is what goes over the wire between a server and those who talk to it: the forms of requests and answers
// of /api/v1. Events go as they stand in the log; see [sluice.Event].
//
// Fields are only ever added. Whoever reads ignores those that it does not know.
package api

import (
	"time"

	"sluice"
	"sluice/sealed"
)

// Job is what is known of a job.
type Job struct {
	ID        sluice.JobID     `json:"id"`
	Namespace sluice.Namespace `json:"namespace"`
	// State is waiting, running, paused, halted, succeeded, failed or cancelled.
	State   string `json:"state" enum:"waiting,running,paused,halted,succeeded,failed,cancelled"`
	Command string `json:"command" doc:"what it does, in one line for people"`
	By      string `json:"by" doc:"who submitted it"`
	// Reason is why it exists, where nobody asked for it: such as that the fleet says that the server converges by itself.
	Reason string `json:"reason,omitempty" doc:"why it exists, where nobody asked for it: the fleet says that the server converges by itself"`
	// Undoes is the deploy that ended badly and whose hosts this rollback brings back, without anybody asking.
	Undoes    sluice.JobID `json:"undoes,omitempty" doc:"of a rollback that nobody asked for: the deploy that ended badly, whose hosts it brings back"`
	Submitted time.Time    `json:"submitted"`
	Targets   int          `json:"targets" doc:"number of its hosts"`
	Running   int          `json:"running" doc:"attempts that run now"`
	Unsettled int          `json:"unsettled" doc:"hosts without an outcome, or to be tried again"`
	Failures  int          `json:"failures" doc:"outcomes that count against the budget"`
	// Budget is the number of failures that the job may have; -1: it has no budget.
	Budget     int                    `json:"budget" doc:"failures that it may have; -1: no budget"`
	Counts     map[sluice.Outcome]int `json:"counts" doc:"hosts by outcome"`
	Generation int                    `json:"generation" doc:"grows with every halt and resume"`
	Halting    bool                   `json:"halting,omitempty" doc:"nothing new starts, what runs ends by itself"`
	Cancelling bool                   `json:"cancelling,omitempty" doc:"what runs is being killed"`
	Driven     bool                   `json:"driven" doc:"a live process carries it out"`
	Halted     *Halted                `json:"halted,omitempty"`
	Gates      []Gate                 `json:"gates,omitempty" doc:"gates that wait"`
	Started    *time.Time             `json:"started,omitempty" doc:"when it was taken up or resumed last"`
	Ended      *time.Time             `json:"ended,omitempty" doc:"when it was finished or halted; not while it goes on"`
	Why        string                 `json:"why,omitempty" doc:"in lists: in one line, why it does not go on"`
	Needs      string                 `json:"needs,omitempty" enum:"decision,approval,worker" doc:"in lists: what a person has to do so that it goes on; decision: it is halted"`
	PlanDigest string                 `json:"plan_digest,omitempty" doc:"digest of what it does, for whoever approves it; not in lists"`
	Approval   string                 `json:"approval,omitempty" enum:"another" doc:"another: whoever submitted it cannot approve it"`
	Kept       []KeptHalt             `json:"kept_halts,omitempty" doc:"halts of it that the server that answers was asked for without a majority, and that are not appended yet; not in lists"`
}

// Halted says why a job is halted.
type Halted struct {
	Rule       sluice.Rule   `json:"rule"`
	Reason     string        `json:"reason"`
	Constraint string        `json:"constraint,omitempty"`
	Group      string        `json:"group,omitempty"`
	Holders    []sluice.Host `json:"holders,omitempty"`
}

// Gate is a gate that waits.
type Gate struct {
	Track string          `json:"track"`
	Stage string          `json:"stage"`
	Index int             `json:"index"`
	Kind  sluice.GateKind `json:"kind"`
	Until *time.Time      `json:"until,omitempty" doc:"end of a pause"`
}

// Reason says why a host waits.
type Reason struct {
	Host       sluice.Host `json:"host"`
	Rule       sluice.Rule `json:"rule"`
	Constraint string      `json:"constraint,omitempty"`
	Group      string      `json:"group,omitempty"`
	Text       string      `json:"text"`
	Holders    []Holder    `json:"holders,omitempty"`
}

// Holder is a host that is in the way.
type Holder struct {
	Host  sluice.Host  `json:"host"`
	Job   sluice.JobID `json:"job,omitempty"`
	Since time.Time    `json:"since"`
	Why   string       `json:"why"`
}

// HostOut is a host that is out of service or retired.
type HostOut struct {
	Namespace sluice.Namespace `json:"namespace,omitempty" doc:"where lists are of several"`
	Holder
	Held    bool   `json:"held,omitempty"`
	Retired bool   `json:"retired,omitempty"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Unknown bool   `json:"unknown,omitempty" doc:"the outcome of an attempt is not known"`
	Running bool   `json:"running,omitempty"`
}

// Problem is an error, by RFC 9457.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Code is one of usage, config, notfound, conflict, contact, denied.
	Code string `json:"code,omitempty"`
	Hint string `json:"hint,omitempty" doc:"what to do or type next"`
	// Errors say where in the request.
	Errors []Wrong `json:"errors,omitempty"`
}

// Wrong is one thing that is wrong with a request.
type Wrong struct {
	Where   string `json:"location,omitempty"`
	Message string `json:"message"`
	// Line and Column are the place in an expression or a file.
	Line   int `json:"line,omitempty" doc:"in an expression or a file, from 1"`
	Column int `json:"column,omitempty" doc:"in characters, from 1"`
}

// Submit asks for a job.
type Submit struct {
	// ID is chosen by who asks, so that to ask twice makes one job; "" leaves it to the header Idempotency-Key, or to
	// chance.
	ID        sluice.JobID     `json:"id,omitempty" maxLength:"12" doc:"an id of one's own choice: to ask twice then makes one job"`
	Namespace sluice.Namespace `json:"namespace,omitempty" maxLength:"64" doc:"default: that of the fleet that is sent, else default"`
	Targets   string           `json:"targets" minLength:"1" maxLength:"1000000" doc:"an expression that says which hosts, such as $web & !$canary, or all"`
	// Fleet is a fleet to go by in place of the one that was applied: the form that sluice fleet show -o json prints.
	Fleet any `json:"fleet,omitempty" doc:"a fleet to go by in place of the one that was applied; other rules than those in force need the right fleet.apply"`
	// FleetDigest is that of the version that whoever asks has looked at: if another one is current by now, nothing is done.
	FleetDigest string `json:"fleet_digest,omitempty" maxLength:"80" doc:"digest of the applied fleet that this was planned on; if another one is current by now, that is a conflict"`
	// Of Command, Argv, Script, Copy, Fetch, Release and Ask there is one.
	Command string   `json:"command,omitempty" maxLength:"1000000" doc:"shell text"`
	Argv    []string `json:"argv,omitempty" doc:"a command and its arguments, exactly so"`
	Script  *Script  `json:"script,omitempty" doc:"a script that was put into the store"`
	Copy    *Copy    `json:"copy,omitempty" doc:"a packed file or tree that was put into the store"`
	Fetch   string   `json:"fetch,omitempty" maxLength:"4096" doc:"an absolute path to bring back from every host"`
	// Release is deployed; with Back, hosts go back to what they keep. What it names by digest was put into the store.
	Release *sluice.Release                  `json:"release,omitempty" doc:"a release to deploy, whose archive, manifest and configuration were put into the store; see docs/releases.md"`
	Back    map[sluice.Host]sluice.Installed `json:"back,omitempty" doc:"with release: what each host goes back to, of what it keeps, in place of a deploy"`
	// Ask is made a command by the server, which is known to change nothing: so it waits for no sequence.
	Ask     *Ask    `json:"ask,omitempty" doc:"ask the hosts what is live of an app; it takes no room and follows no order"`
	Options Options `json:"options,omitempty"`
	// Look is what was looked at; where that has changed, nothing starts.
	Look *sluice.Look `json:"look,omitempty" doc:"with release: the look at what is live that this was made from; if another job has changed the app there since, the job is refused, or ends when it gets its lock, and starts nothing"`
	User string       `json:"user,omitempty" maxLength:"64" doc:"log in as this user"`
	// Secrets are what the options with ask_ in them announce.
	Secrets sealed.Envelope `json:"secrets,omitempty" doc:"the job's secrets, sealed to its workers; see the route sealing"`
}

// Script is a script to run.
type Script struct {
	Digest string   `json:"digest" maxLength:"80" doc:"what putting it into the store answered"`
	Name   string   `json:"name" minLength:"1" maxLength:"4096" doc:"what it is called, for people"`
	Args   []string `json:"args,omitempty"`
}

// Copy is a file or a tree to put on hosts.
type Copy struct {
	Digest string `json:"digest" maxLength:"80" doc:"what putting it into the store answered: a tar stream, as sluice copy makes it"`
	Name   string `json:"name" minLength:"1" maxLength:"4096" doc:"what it is called where it comes from, for people"`
	Dest   string `json:"dest" minLength:"2" maxLength:"4096" doc:"an absolute path on the hosts"`
}

// Ask is a question to hosts: what is live of an app there?
type Ask struct {
	App   string   `json:"app" minLength:"1" maxLength:"128"`
	Env   string   `json:"env,omitempty" maxLength:"128" doc:"the environment, for people"`
	Roots []string `json:"roots" minItems:"1" maxItems:"100" doc:"directories of the app on the hosts: each host prints what is live in each, a line root before it and a line end behind it"`
}

// Blob is what was put into the store.
type Blob struct {
	Digest string `json:"digest" doc:"sha256: and 64 hexadecimal digits, of the content"`
	Size   int64  `json:"size"`
}

// Plan is what a job would do.
type Plan struct {
	Namespace   sluice.Namespace `json:"namespace"`
	Targets     []sluice.Host    `json:"targets" doc:"in the order of the fleet"`
	Tracks      []Track          `json:"tracks"`
	Constraints []Constraint     `json:"constraints"`
	Retired     []sluice.Host    `json:"retired,omitempty" doc:"named, but left out because they are retired"`
	// Gone are all retired hosts of the namespace: they are members of nothing.
	Gone   []sluice.Host `json:"gone,omitempty" doc:"all retired hosts of the namespace, which are members of nothing"`
	Clears []Holder      `json:"clears,omitempty" doc:"hosts out of service that a success would put back"`
	// Count and the like are whole, where names are left out.
	Count           int         `json:"count" doc:"number of targets"`
	RetiredCount    int         `json:"retired_count,omitempty"`
	ClearsCount     int         `json:"clears_count,omitempty"`
	MoreConstraints int         `json:"more_constraints,omitempty" doc:"how many are left out: those that hold the job back least"`
	Worst           []WorstCase `json:"worst,omitempty" doc:"the most hosts of each tag that can be out at once, if nothing is out when it starts"`
	MoreWorst       int         `json:"more_worst,omitempty" doc:"how many tags are left out"`
	Asks            []string    `json:"asks,omitempty" doc:"why people are asked before it starts; without any, they are not"`
	FleetVersion    int         `json:"fleet_version,omitempty" doc:"the version of the applied fleet that it was planned on"`
	FleetDigest     string      `json:"fleet_digest,omitempty" doc:"to be sent along with the job, so that nothing happens if the fleet has changed by then"`
	CommandLine     string      `json:"command_line,omitempty" doc:"the command that does the same"`
	Curl            string      `json:"curl,omitempty" doc:"the call by curl that does the same"`
}

// RenderedChanges are what a deploy changes in the files that are made for its hosts, against what is live there.
type RenderedChanges struct {
	Files   []RenderedChange `json:"files" doc:"by path; of each first what concerns most hosts"`
	More    []MoreRendered   `json:"more,omitempty" doc:"what is left out of files, counted"`
	Same    []sluice.Host    `json:"same,omitempty" doc:"hosts whose files stay as they are"`
	Unknown []NotCompared    `json:"unknown,omitempty" doc:"hosts of which it is not known what changes"`
}

// RenderedChange is what becomes of one file on all hosts on which that is the same.
type RenderedChange struct {
	Path       string        `json:"path" doc:"in the version"`
	Kind       string        `json:"kind" enum:"changed,new,gone"`
	Hosts      []sluice.Host `json:"hosts"`
	Mode       string        `json:"mode,omitempty" doc:"its permissions, of a new file or where they change"`
	ModeWas    string        `json:"mode_was,omitempty"`
	Owner      string        `json:"owner,omitempty" doc:"user and group with : between, where they change; empty for those of the version"`
	OwnerWas   string        `json:"owner_was,omitempty"`
	Outside    string        `json:"outside,omitempty" doc:"the link to it, of a new file or where it changes"`
	OutsideWas string        `json:"outside_was,omitempty"`
	Sealed     []string      `json:"sealed,omitempty" doc:"keys of sealed values in it that change, by their ciphertexts"`
	Added      int           `json:"added" doc:"lines"`
	Removed    int           `json:"removed" doc:"lines"`
	Diff       string        `json:"diff,omitempty" doc:"unified, without the lines that name the files; words stand for what is sealed. Of the configuration a key a line"`
	Left       int           `json:"left,omitempty" doc:"lines of the diff that are left out at its end"`
	Note       string        `json:"note,omitempty" doc:"what of it was not compared, and why"`
}

// MoreRendered are changes of a file that are counted alone.
type MoreRendered struct {
	Path    string `json:"path"`
	Changes int    `json:"changes"`
	Hosts   int    `json:"hosts"`
}

// NotCompared are hosts of which it is not known what changes.
type NotCompared struct {
	Hosts  []sluice.Host `json:"hosts"`
	Reason string        `json:"reason"`
}

// WorstCase bounds how many hosts of a tag a job can have out of service at once.
type WorstCase struct {
	Tag     sluice.Tag `json:"tag"`
	Members int        `json:"members"`
	Targets int        `json:"targets" doc:"those of them that the job changes"`
	Out     int        `json:"out"`
}

// Track is one of the ways that hosts of a plan go, independent of the others.
type Track struct {
	Name   string  `json:"name"`
	Stages []Stage `json:"stages"`
}

// Stage is a set of hosts that may go at the same time.
type Stage struct {
	Name        string        `json:"name"`
	Hosts       []sluice.Host `json:"hosts"`
	Count       int           `json:"count" doc:"number of its hosts, where names are left out, too"`
	Entry       int           `json:"entry" doc:"number of the entry of the sequence that it is of, from 0"`
	MaxFailures int           `json:"max_failures,omitempty"`
	Pause       string        `json:"pause,omitempty"`
	Approve     bool          `json:"approve,omitempty"`
}

// Constraint is a limit of a group that has targets in it.
type Constraint struct {
	Name     string `json:"name"`
	Group    string `json:"group"`
	Limit    string `json:"limit"`
	Capacity int    `json:"capacity"`
	Members  int    `json:"members"`
	Targets  int    `json:"targets" doc:"members that the job changes"`
	Out      int    `json:"out,omitempty" doc:"members that are out of service now"`
}

// Wait is a reason that several hosts share.
type Wait struct {
	Reason
	Hosts int `json:"hosts" doc:"how many wait for it"`
}

// Options say how a job is carried out. Amounts are numbers or shares such as 5%; times are such as 90s or 5m.
type Options struct {
	MaxFailures string            `json:"max_failures,omitempty" maxLength:"20"`
	MaxParallel string            `json:"max_parallel,omitempty" maxLength:"20"`
	Concurrency int               `json:"concurrency,omitempty" minimum:"1" maximum:"100000"`
	ReadOnly    bool              `json:"read_only,omitempty"`
	Timeout     string            `json:"timeout,omitempty" maxLength:"40"`
	JobTimeout  string            `json:"job_timeout,omitempty" maxLength:"40"`
	Reconnect   string            `json:"reconnect,omitempty" maxLength:"40"`
	Sudo        string            `json:"sudo,omitempty" maxLength:"64" doc:"become this user by sudo"`
	Env         map[string]string `json:"env,omitempty"`
	NoHooks     bool              `json:"no_hooks,omitempty"`
	// The job has these secrets, and is not driven without them.
	AskPassword     bool     `json:"ask_password,omitempty" doc:"there is a password to log in with among its secrets"`
	AskSudoPassword bool     `json:"ask_sudo_password,omitempty" doc:"there is a password for sudo among its secrets"`
	AskPassphrase   bool     `json:"ask_passphrase,omitempty" doc:"there is a passphrase of keys among its secrets"`
	AskPrivateKey   bool     `json:"ask_private_key,omitempty" doc:"there is a private key to log in with among its secrets"`
	Signed          bool     `json:"signed,omitempty" doc:"what is sealed for it is to be looked at by the worker, though there may be no secret in it"`
	Lock            string   `json:"lock,omitempty" maxLength:"200" doc:"a name that only one job of the namespace has at a time; others wait for its end"`
	Supersede       bool     `json:"supersede,omitempty" doc:"cancel the jobs that have the lock, or wait for it"`
	Hooks           string   `json:"hooks,omitempty" maxLength:"1000" doc:"directory on the hosts with pre.d and post.d"`
	TTY             bool     `json:"tty,omitempty" doc:"run the command on a terminal"`
	Prompts         []string `json:"prompts,omitempty" doc:"patterns of prompts of the command that the password answers"`
	OutputLimit     int64    `json:"output_limit,omitempty" minimum:"1" maximum:"1073741824" doc:"bytes kept of each stream of an attempt"`
}

// Fleet is a version of the fleet of a namespace.
type Fleet struct {
	Namespace sluice.Namespace `json:"namespace"`
	Version   int              `json:"version"`
	Digest    string           `json:"digest"`
	Rules     string           `json:"rules" doc:"digest of its constraints"`
	Hosts     int              `json:"hosts" doc:"number of its hosts"`
	By        string           `json:"by"`
	Time      time.Time        `json:"time"`
	Note      string           `json:"note,omitempty"`
	Unchanged bool             `json:"unchanged,omitempty" doc:"what was applied is what was current already"`
	Fleet     any              `json:"fleet,omitempty" doc:"all that it was loaded from"`
}
