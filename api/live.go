package api

import (
	"time"

	"sluice"
)

// Live is what is known of an app on one host of an environment.
type Live struct {
	Namespace sluice.Namespace `json:"namespace"`
	App       string           `json:"app"`
	Env       string           `json:"env"`
	Host      sluice.Host      `json:"host"`
	// State is live, unknown or changed.
	State    string         `json:"state" enum:"live,unknown,changed" doc:"live: the host proved it; unknown: something came after that which proves nothing, so the version is the one that was proved last; changed: no job on record made it so"`
	Reason   string         `json:"reason,omitempty" doc:"why it is not known, who has changed it, or what else is wrong"`
	Failed   bool           `json:"failed,omitempty" doc:"the attempt that made it live failed afterwards: it may not be well"`
	Version  string         `json:"version,omitempty" doc:"there is none where nothing is live"`
	Config   string         `json:"config,omitempty" doc:"digest of its configuration"`
	Manifest string         `json:"manifest,omitempty" doc:"digest of all files on the host; there is none for a version that Sluice has not put there"`
	Commit   *sluice.Commit `json:"commit,omitempty" doc:"what it was built from, where that is known"`
	Job      sluice.JobID   `json:"job,omitempty" doc:"the job whose work it is, where that is on record"`
	By       string         `json:"by,omitempty" doc:"who submitted that job"`
	Since    *time.Time     `json:"since,omitempty" doc:"when it was first proved"`
	Before   string         `json:"before,omitempty" doc:"the version that was live before"`
	Origin   sluice.JobID   `json:"origin,omitempty" doc:"the last job that deployed this version with this configuration in the environment; after a rollback another one than job"`
	Last     sluice.JobID   `json:"last" doc:"the job that touched the host last"`
	Until    uint64         `json:"until" doc:"number of the last event of the namespace that is in this"`
}

// Released is a deploy or a rollback.
type Released struct {
	Namespace sluice.Namespace  `json:"namespace"`
	Job       sluice.JobID      `json:"job"`
	Kind      sluice.ActionKind `json:"kind" enum:"deploy,rollback"`
	App       string            `json:"app"`
	Env       string            `json:"env"`
	Version   string            `json:"version,omitempty" doc:"there is none for a rollback that brings hosts back to several"`
	Config    string            `json:"config,omitempty" doc:"digest of the configuration"`
	Commit    *sluice.Commit    `json:"commit,omitempty" doc:"what it was built from, where that is known"`
	By        string            `json:"by" doc:"who submitted it"`
	Submitted time.Time         `json:"submitted"`
	Ended     *time.Time        `json:"ended,omitempty"`
	State     string            `json:"state" enum:"waiting,running,paused,halted,succeeded,failed,cancelled" doc:"of the job"`
	Hosts     int               `json:"hosts" doc:"that the job is for"`
	Changed   int               `json:"changed" doc:"attempts after which something else was live than before"`
	Failed    int               `json:"failed" doc:"hosts whose last outcome counts as a failure"`
	Live      int               `json:"live" doc:"hosts on which it is live now, of those that you may see; of a rollback, those that have what it brought back"`
	// Validation is there where app.yaml has the release validated.
	Validation *Validation `json:"validation,omitempty" doc:"what the validation of the release came to; there is none where app.yaml asks for none"`
	Until      uint64      `json:"until" doc:"number of the last event of the namespace that is in this"`
	// Measured, LatencyMS and LatencyP99MS are there where it is known when it was committed or built.
	Measured     int   `json:"measured,omitempty" doc:"hosts that have had it, where it is known when it was committed or built"`
	LatencyMS    int64 `json:"latency_ms,omitempty" doc:"from its commit, or else its build, until it was live on a host for the first time: the median of the hosts"`
	LatencyP99MS int64 `json:"latency_p99_ms,omitempty" doc:"the 99th percentile"`
}

// Latency is how long the releases of an app in an environment took from commit to live that were submitted within a day or a week.
type Latency struct {
	Namespace    sluice.Namespace `json:"namespace"`
	App          string           `json:"app"`
	Env          string           `json:"env"`
	From         time.Time        `json:"from" doc:"midnight, UTC; of a week that of its Monday"`
	Days         int              `json:"days" enum:"1,7" doc:"1 where all releases of the app are of 14 days, else 7"`
	Releases     int              `json:"releases" doc:"that were submitted first then, are live somewhere or were, and of which it is known when they were committed or built"`
	Hosts        int              `json:"hosts" doc:"that have had them: one that has had two counts twice"`
	LatencyMS    int64            `json:"latency_ms" doc:"from the commit of a release, or else its build, until it was live on a host for the first time: the median of all hosts of all releases"`
	LatencyP99MS int64            `json:"latency_p99_ms" doc:"the 99th percentile"`
}

// Validation is what the validation of a release came to.
type Validation struct {
	State  string       `json:"state" enum:"validated,failed,running,not run" doc:"not run: nothing is known of it, also where the command could not be run or came to no end"`
	Job    sluice.JobID `json:"job,omitempty" doc:"the job that says it"`
	Reason string       `json:"reason,omitempty" doc:"why it failed, or was not run"`
}

// Converge asks for hosts to be brought to what is current.
type Converge struct {
	Namespace sluice.Namespace `json:"namespace,omitempty" maxLength:"64"`
	Env       string           `json:"env" minLength:"1" maxLength:"128" doc:"the environment"`
	Apps      []string         `json:"apps,omitempty" maxItems:"1000" doc:"those that are meant; all of the environment, if there are none"`
	Common    bool             `json:"common,omitempty" doc:"new hosts get the configuration that most hosts have, in place of being left out"`
	Dry       bool             `json:"dry,omitempty" doc:"only say what would be done"`
}

// Convergence is what a server brings to hosts by itself, and what it leaves alone.
type Convergence struct {
	Every string            `json:"every,omitempty" doc:"how often the server looks; not there: the fleet does not say that it does"`
	By    sluice.Principal  `json:"by,omitempty" doc:"who applied the fleet that says so: jobs are submitted for them"`
	Left  []ConvergenceLeft `json:"left" doc:"what is left alone now, as far as you may see it"`
}

// ConvergenceLeft is what a server leaves alone, and why.
type ConvergenceLeft struct {
	App   string        `json:"app"`
	Env   string        `json:"env" doc:"the environment"`
	Hosts []sluice.Host `json:"hosts,omitempty" doc:"that lack what is current; none: all of the app"`
	Why   string        `json:"why"`
}

// Converged is what was done for an app, or would be.
type Converged struct {
	App     string        `json:"app"`
	Version string        `json:"version" doc:"that is current"`
	Config  string        `json:"config,omitempty" doc:"digest of its configuration"`
	Origin  sluice.JobID  `json:"origin" doc:"the last job that deployed it"`
	Hosts   []sluice.Host `json:"hosts,omitempty" doc:"that do not have it"`
	Unknown []sluice.Host `json:"unknown,omitempty" doc:"left out: it is not known what they have"`
	Fresh   []sluice.Host `json:"fresh,omitempty" doc:"left out: they are new, and their configuration was not frozen"`
	Job     sluice.JobID  `json:"job,omitempty" doc:"that brings the hosts to it"`
	Refused *Problem      `json:"refused,omitempty" doc:"why there is no such job"`
}
