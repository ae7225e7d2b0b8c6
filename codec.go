package sluice

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// An event is one flat JSON object: the header's fields (v, seq, time, type, job), then the body's. Sets of
// hosts in rules and plans are written as ranges of indexes ("0-99,105") into the list of hosts beside them:
// fifty constraints over a hundred thousand hosts would else be sixty megabytes.

type header struct {
	V    int    `json:"v"`
	Seq  uint64 `json:"seq"`
	Time string `json:"time"`
	Type string `json:"type"`
	Job  JobID  `json:"job,omitzero"`
}

// MarshalJSON writes the event as one flat object.
func (e Event) MarshalJSON() ([]byte, error) {
	if u, ok := e.Body.(UnknownBody); ok {
		return u.Raw, nil
	}
	body, err := json.Marshal(e.Body)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(body)+128)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, EventVersion, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","type":"`...)
	b = append(b, e.Body.Type()...)
	b = append(b, '"')
	if e.Job != "" {
		b = append(b, `,"job":"`...)
		b = append(b, e.Job...)
		b = append(b, '"')
	}
	if len(body) > 2 {
		b = append(b, ',')
	}
	return append(b, body[1:]...), nil
}

// UnmarshalJSON reads what MarshalJSON writes. Types that this version does not know become [UnknownBody].
func (e *Event) UnmarshalJSON(b []byte) error {
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	if h.V < 1 {
		return fmt.Errorf("an event without a version")
	}
	t, err := time.Parse(time.RFC3339Nano, h.Time)
	if err != nil {
		return fmt.Errorf("event %d: %w", h.Seq, err)
	}
	*e = Event{Seq: h.Seq, Time: t, Job: h.Job}
	if e.Body, err = decodeBody(h, b); err != nil {
		return fmt.Errorf("event %d (%s): %w", h.Seq, h.Type, err)
	}
	return nil
}

func decodeBody(h header, b []byte) (Body, error) {
	switch h.Type {
	case "rules.applied":
		return decode[RulesApplied](b)
	case "fleet.applied":
		return decode[FleetApplied](b)
	case "job.submitted":
		s, err := decode[JobSubmitted](b)
		if err != nil {
			return nil, err
		}
		s.Submitted.ID = h.Job
		return s, nil
	case "job.started":
		return decode[JobStarted](b)
	case "stage.opened":
		return decode[StageOpened](b)
	case "gate.waiting":
		return decode[GateWaiting](b)
	case "gate.passed":
		return decode[GatePassed](b)
	case "task.started":
		return decode[TaskStarted](b)
	case "task.step":
		return decode[TaskStep](b)
	case "balancer.changed":
		return decode[BalancerChanged](b)
	case "balancer.asked":
		return decode[BalancerAsked](b)
	case "task.finished":
		return decode[TaskFinished](b)
	case "task.withdrawn":
		return decode[TaskWithdrawn](b)
	case "task.retried":
		return decode[TaskRetried](b)
	case "task.output":
		return decode[TaskOutput](b)
	case "job.halting":
		return decode[JobHalting](b)
	case "job.halted":
		return decode[JobHalted](b)
	case "job.resumed":
		return decode[JobResumed](b)
	case "job.cancelling":
		return decode[JobCancelling](b)
	case "job.finished":
		return decode[JobFinished](b)
	case "host.held":
		return decode[HostHeld](b)
	case "host.released":
		return decode[HostReleased](b)
	case "host.retired":
		return decode[HostRetired](b)
	case "host.returned":
		return decode[HostReturned](b)
	case "principal.added":
		return decode[PrincipalAdded](b)
	case "principal.removed":
		return decode[PrincipalRemoved](b)
	case "role.defined":
		return decode[RoleDefined](b)
	case "grant.given":
		return decode[GrantGiven](b)
	case "grant.taken":
		return decode[GrantTaken](b)
	case "token.made":
		return decode[TokenMade](b)
	case "token.revoked":
		return decode[TokenRevoked](b)
	case "access.noted":
		return decode[AccessNoted](b)
	case "server.restored":
		return decode[ServerRestored](b)
	case "log.repaired":
		return decode[LogRepaired](b)
	case "output.removed":
		return decode[OutputRemoved](b)
	case "webhook.set":
		return decode[WebhookSet](b)
	case "webhook.removed":
		return decode[WebhookRemoved](b)
	case "webhook.gave_up":
		return decode[WebhookGaveUp](b)
	case "worker.invited":
		return decode[WorkerInvited](b)
	case "worker.enrolled":
		return decode[WorkerEnrolled](b)
	case "worker.renewed":
		return decode[WorkerRenewed](b)
	case "worker.drained":
		return decode[WorkerDrained](b)
	case "worker.removed":
		return decode[WorkerRemoved](b)
	case "server.invited":
		return decode[ServerInvited](b)
	case "server.joined":
		return decode[ServerJoined](b)
	case "server.removed":
		return decode[ServerRemoved](b)
	}
	return UnknownBody{TypeName: h.Type, Raw: append([]byte(nil), b...)}, nil
}

func decode[T any](b []byte) (v T, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

type wireGroup struct {
	Name    string `json:"name"`
	Limit   Amount `json:"limit"`
	Members string `json:"members"` // ranges of indexes into hosts
}

type wireConstraint struct {
	Name   string      `json:"name"`
	Groups []wireGroup `json:"groups"`
}

type wireRules struct {
	Rules       string           `json:"rules"`
	By          string           `json:"by,omitzero"`
	Hosts       []Host           `json:"hosts"`
	Constraints []wireConstraint `json:"constraints,omitzero"`
}

// NewRules makes the rules of a fleet, with their digest.
func NewRules(hosts []Host, constraints []Constraint) (Rules, error) {
	r := Rules{Hosts: hosts, Constraints: constraints}
	w, err := r.wire()
	if err != nil {
		return Rules{}, err
	}
	b, err := json.Marshal(w)
	if err != nil {
		return Rules{}, err
	}
	sum := sha256.Sum256(b)
	r.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return r, nil
}

func (r Rules) wire() (wireRules, error) {
	w := wireRules{Rules: r.Digest, Hosts: r.Hosts}
	index := indexOf(r.Hosts)
	for _, c := range r.Constraints {
		wc := wireConstraint{Name: c.Name}
		for _, g := range c.Groups {
			members, err := ranges(g.Members, index)
			if err != nil {
				return w, err
			}
			wc.Groups = append(wc.Groups, wireGroup{g.Name, g.Limit, members})
		}
		w.Constraints = append(w.Constraints, wc)
	}
	return w, nil
}

// MarshalJSON writes groups as ranges of indexes into the hosts.
func (b RulesApplied) MarshalJSON() ([]byte, error) {
	w, err := b.Rules.wire()
	if err != nil {
		return nil, err
	}
	w.By = b.By
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *RulesApplied) UnmarshalJSON(data []byte) error {
	var w wireRules
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*b = RulesApplied{Rules: Rules{Digest: w.Rules, Hosts: w.Hosts}, By: w.By}
	for _, wc := range w.Constraints {
		c := Constraint{Name: wc.Name}
		for _, wg := range wc.Groups {
			members, err := fromRanges(wg.Members, w.Hosts)
			if err != nil {
				return err
			}
			c.Groups = append(c.Groups, Group{wg.Name, wg.Limit, members})
		}
		b.Rules.Constraints = append(b.Rules.Constraints, c)
	}
	return nil
}

type wireStage struct {
	Name        string `json:"name"`
	Entry       int    `json:"entry"`
	Hosts       string `json:"hosts"` // ranges of indexes into targets
	MaxFailures int    `json:"max_failures,omitzero"`
	Gate        Gate   `json:"gate,omitzero"`
}

type wireTrack struct {
	Name   string      `json:"name"`
	Stages []wireStage `json:"stages"`
}

type wireJob struct {
	Job
	Tracks []wireTrack `json:"tracks"`
}

// MarshalJSON writes the job's fields flat, and stages as ranges of indexes into the targets.
func (b JobSubmitted) MarshalJSON() ([]byte, error) {
	w := wireJob{Job: b.Submitted}
	index := indexOf(b.Submitted.Targets)
	for _, t := range b.Submitted.Tracks {
		wt := wireTrack{Name: t.Name}
		for _, s := range t.Stages {
			hosts, err := ranges(s.Hosts, index)
			if err != nil {
				return nil, err
			}
			wt.Stages = append(wt.Stages, wireStage{s.Name, s.Entry, hosts, s.MaxFailures, s.Gate})
		}
		w.Tracks = append(w.Tracks, wt)
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *JobSubmitted) UnmarshalJSON(data []byte) error {
	var w wireJob
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	b.Submitted = w.Job
	for _, wt := range w.Tracks {
		t := Track{Name: wt.Name}
		for _, ws := range wt.Stages {
			hosts, err := fromRanges(ws.Hosts, w.Targets)
			if err != nil {
				return err
			}
			t.Stages = append(t.Stages, Stage{ws.Name, ws.Entry, hosts, ws.MaxFailures, ws.Gate})
		}
		b.Submitted.Tracks = append(b.Submitted.Tracks, t)
	}
	return nil
}

func indexOf(hosts []Host) map[Host]int {
	m := make(map[Host]int, len(hosts))
	for i, h := range hosts {
		m[h] = i
	}
	return m
}

// ranges writes the indexes of hosts as "0-3,7".
func ranges(hosts []Host, index map[Host]int) (string, error) {
	var b strings.Builder
	for i := 0; i < len(hosts); {
		first, ok := index[hosts[i]]
		if !ok {
			return "", fmt.Errorf("host %q is not in the list of hosts beside it", hosts[i])
		}
		last := first
		for i++; i < len(hosts); i++ {
			if next, ok := index[hosts[i]]; !ok || next != last+1 {
				break
			}
			last++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if last > first {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(last))
		}
	}
	return b.String(), nil
}

// fromRanges reads what ranges writes. It never makes more hosts than there are in the list.
func fromRanges(s string, hosts []Host) ([]Host, error) {
	if s == "" {
		return nil, nil
	}
	var out []Host
	for part := range strings.SplitSeq(s, ",") {
		a, z, isRange := strings.Cut(part, "-")
		first, err1 := strconv.Atoi(a)
		last, err2 := first, error(nil)
		if isRange {
			last, err2 = strconv.Atoi(z)
		}
		if err1 != nil || err2 != nil || first < 0 || last < first || last >= len(hosts) ||
			len(out)+last-first+1 > len(hosts) {
			return nil, fmt.Errorf("%q is no range of the %d hosts beside it", part, len(hosts))
		}
		out = append(out, hosts[first:last+1]...)
	}
	return out, nil
}
