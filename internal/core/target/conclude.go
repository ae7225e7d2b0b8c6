package target

import (
	"fmt"
	"strings"

	"sluice"
)

// Sight is what a client saw of an attempt at the end of all its trying.
type Sight int

const (
	// Nothing was ever sent to the host under this id, or it is proved that nothing reached a shell.
	SawNothing Sight = iota
	// SawRefusal: the host said why it did not start the attempt.
	SawRefusal
	// SawRevoked: the gate is taken, and not by a start.
	SawRevoked
	// SawRecord: the record of the end.
	SawRecord
	// SawReboot: started, no record, and the host has begun another life since.
	SawReboot
	// SawLost: started, no record, and nobody is there any more who would write one.
	SawLost
	// SawSilence: the start may have been sent, and the host did not answer again in time.
	SawSilence
)

// Evidence is a sight with what belongs to it.
type Evidence struct {
	Sight  Sight
	Record Record // SawRecord
	// Failed is the name of the last step, when that failed; "" if it is not known.
	Failed string
	// Why is what that step said of it.
	Why  string
	Text string // what the host or the transport said (SawNothing, SawRefusal, SawSilence)
	// Unreachable says that the host could not be reached at all (SawNothing).
	Unreachable bool
	// Refused says that a password was offered and refused (SawNothing, SawRefusal).
	Refused bool
	Left    []int // SawLost
	// Kill is the kill that the client was asked for, "" if none.
	Kill string
}

// Conclude gives the outcome that the evidence allows, and no more.
func Conclude(e Evidence) sluice.TaskFinished {
	switch e.Sight {
	case SawNothing, SawRefusal, SawRevoked:
		return notStarted(e)
	case SawRecord:
		return recorded(e)
	case SawReboot:
		return sluice.TaskFinished{Outcome: sluice.Failed, Reason: "interrupted: the host restarted while it ran"}
	case SawLost:
		text := "its supervisor on the host was killed, and there is no record of the end"
		if len(e.Left) > 0 {
			text += fmt.Sprintf("; these processes of it still run: %s", list(e.Left))
		}
		return sluice.TaskFinished{Outcome: sluice.Unknown, Reason: text, Leftovers: e.Left}
	}
	text := "the link to the host was lost while it ran, and the host did not answer again"
	switch {
	case e.Kill == KillJob:
		text = "the job's time limit passed, but the host could not be reached to kill it"
	case e.Kill != "":
		text = "cancelled, but the host could not be reached"
	}
	return sluice.TaskFinished{Outcome: sluice.Unknown, Reason: join(text, e.Text)}
}

func notStarted(e Evidence) sluice.TaskFinished {
	r := sluice.TaskFinished{Outcome: sluice.Failed, NotStarted: true, Refused: e.Refused, Reason: e.Text}
	switch {
	case e.Kill == KillJob:
		r.Outcome, r.Reason = sluice.TimedOut, "the job's time limit passed before it started"
	case e.Kill != "":
		r.Outcome, r.Reason = sluice.Cancelled, "cancelled before it started"
	case e.Sight == SawRevoked:
		r.Outcome, r.Reason = sluice.Unreachable, "it never started: the link to the host was lost before"
	case e.Unreachable:
		r.Outcome = sluice.Unreachable
	}
	return r
}

func recorded(e Evidence) sluice.TaskFinished {
	rec := e.Record
	r := sluice.TaskFinished{DurationMS: rec.DurationMS, Leftovers: rec.Left}
	if rec.CutStdout {
		r.Truncated = append(r.Truncated, "stdout")
	}
	if rec.CutStderr {
		r.Truncated = append(r.Truncated, "stderr")
	}
	if rec.Kill == "" {
		code := rec.Code
		r.ExitCode, r.Outcome = &code, sluice.Succeeded
		if code != 0 {
			r.Outcome, r.Reason = sluice.Failed, join(ended(e.Failed, code), e.Why)
		}
		return r
	}
	switch rec.Kill {
	case KillTimeout:
		r.Outcome, r.Reason = sluice.TimedOut, "killed at its time limit"
	case KillJob:
		r.Outcome, r.Reason = sluice.TimedOut, "killed at the job's time limit"
	case KillSpoof:
		r.Outcome, r.Reason = sluice.Failed, "killed: its output showed the prompt at which the password for sudo had been given; none was sent"
	default:
		r.Outcome, r.Reason = sluice.Cancelled, "killed by a cancel"
	}
	if len(rec.Left) > 0 {
		r.Outcome = sluice.Unknown
		r.Reason += fmt.Sprintf(", but these processes outlived it: %s", list(rec.Left))
	} else if rec.Held {
		r.Outcome = sluice.Unknown
		r.Reason += ", but something still holds its output"
	}
	return r
}

// ended says how a step failed, for people.
func ended(step string, code int) string {
	name := "the command"
	switch phase, hook, _ := strings.Cut(step, "/"); phase {
	case "", "command":
	case "pre", "post":
		name = strings.TrimSpace(phase + " hook " + hook)
	default:
		name = "the step " + step
	}
	if s := signalName(code - 128); s != "" {
		return fmt.Sprintf("%s ended with %d (signal %s)", name, code, s)
	}
	return fmt.Sprintf("%s ended with %d", name, code)
}

// signalName names the signals by which commands are commonly ended; the numbers are those of Linux on every
// machine.
func signalName(n int) string {
	names := map[int]string{1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM"}
	return names[n]
}

func join(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}

func list(pids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ", "), "[]")
}

// SignalCode is the exit status that a shell gives for a death by a signal, named without "SIG"; 255 for a
// signal that is not known.
func SignalCode(name string) int {
	for n := 1; n < 32; n++ {
		if signalName(n) == name {
			return 128 + n
		}
	}
	return 255
}
