package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// overRun is what the way through a server costs on real sshd, which the other benchmark has in a network of its own.
func overRun(l *lab) (section, error) {
	s := section{title: "Over `sluice run` without a server"}
	program := l.path("bench")
	if out, err := exec.CommandContext(l.ctx, "go", "build", "-o", program, "sluice/internal/lab/bench").CombinedOutput(); err != nil {
		return s, fmt.Errorf("building the benchmark with real sshd: %w: %s", err, out)
	}
	c := exec.CommandContext(l.ctx, program, "-only", "through a server", "-piece", "-rounds", "11") // what it started ends with it
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return s, fmt.Errorf("the benchmark with real sshd: %w: %s", err, lines[max(0, len(lines)-2)])
	}
	var piece struct {
		Aims []struct {
			What, Shall, Is string
			Met             bool
		}
		Text string
	}
	if err := json.Unmarshal(out, &piece); err != nil {
		return s, fmt.Errorf("the benchmark with real sshd: %w", err)
	}
	s.about = strings.TrimSpace(piece.Text)
	for _, a := range piece.Aims {
		s.aim(aim{what: a.What, shall: a.Shall, is: a.Is, met: a.Met, why: "the pairs say how much of it is noise"})
	}
	return s, nil
}
