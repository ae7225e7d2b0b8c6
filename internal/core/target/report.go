package target

import (
	"fmt"
	"strconv"
	"strings"
)

// Step is a line of the steps that ended.
type Step struct {
	Number     int // from 1
	Name       string
	Code       int
	DurationMS int64
}

// ParseStep reads the rest of a frame "s".
func ParseStep(rest string) (Step, error) {
	f := strings.Fields(rest)
	if len(f) != 5 {
		return Step{}, fmt.Errorf("a step of %d words, expected 5", len(f))
	}
	n, err1 := strconv.Atoi(f[0])
	code, err2 := strconv.Atoi(f[2])
	begin, err3 := uptime(f[3])
	end, err4 := uptime(f[4])
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || n < 1 {
		return Step{}, fmt.Errorf("%.80q is not a step", rest)
	}
	return Step{n, f[1], exitCode(code), max(0, end-begin)}, nil
}

// Record is how an attempt ended, as its supervisor or runner wrote it down.
type Record struct {
	// Code is the exit status of the last step that ran; HasCode is false where the attempt was killed.
	Code       int
	HasCode    bool
	DurationMS int64
	// Kill is why the attempt was killed: a Kill word, "" where it was not.
	Kill string
	// CutStdout and CutStderr say that only the first part of the output was kept.
	CutStdout, CutStderr bool
	// Held says that something that the command started still holds the output.
	Held bool
	// Left are processes that outlived the kill.
	Left []int
}

// Why an attempt is killed, as the supervisor is told and writes down.
const (
	KillTimeout = "timeout" // the attempt's own limit
	KillJob     = "job"     // the job's limit
	KillCancel  = "cancel"  // an operator
	KillSpoof   = "spoof"   // the command asked for the password of sudo
)

// ParseRecord reads the rest of a frame "end".
func ParseRecord(rest string) (Record, error) {
	var r Record
	var begin, end int64
	words := strings.Fields(rest)
	if len(words) == 0 || words[len(words)-1] != "." {
		return r, fmt.Errorf("%.80q is not a whole record", rest)
	}
	for _, w := range words[:len(words)-1] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "c":
			r.HasCode = true
			r.Code, err = strconv.Atoi(value)
			r.Code = exitCode(r.Code)
		case "b":
			begin, err = uptime(value)
		case "t":
			end, err = uptime(value)
		case "k":
			r.Kill = value
		case "x":
			r.CutStdout, r.CutStderr = strings.Contains(value, "o"), strings.Contains(value, "e")
		case "h":
			r.Held = true
		case "l":
			r.Left, err = pids(strings.Split(value, ","))
		}
		if err != nil {
			return r, fmt.Errorf("%.80q is not a record: %w", rest, err)
		}
	}
	if !r.HasCode && r.Kill == "" {
		return r, fmt.Errorf("%.80q is a record without an end", rest)
	}
	r.DurationMS = max(0, end-begin)
	return r, nil
}

// ParsePIDs reads the rest of a frame "lost". What is no process id is left out.
func ParsePIDs(rest string) []int {
	var out []int
	for _, w := range strings.Fields(rest) {
		if n, err := strconv.Atoi(w); err == nil && n > 1 {
			out = append(out, n)
		}
	}
	return out
}

func pids(words []string) ([]int, error) {
	var out []int
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// uptime reads seconds with two decimals, such as 12.34, in milliseconds.
func uptime(s string) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	return n * 10, err
}

// exitCode is a status from 0 to 255. ksh93 says 256+n where others say 128+n for the signal n.
func exitCode(code int) int {
	if code > 256 {
		code -= 128
	}
	return code & 255
}
