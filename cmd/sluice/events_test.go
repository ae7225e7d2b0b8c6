package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
)

// events checks that a stream of events is what programs may rely on.
func events(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: events SOURCE")
	}
	text := ts.ReadFile(args[0])
	lines, err := parseLines(text)
	ts.Check(err)
	s := stream{offsets: map[string]int64{}}
	i := 0
	for raw := range strings.Lines(text) {
		if err := s.add([]byte(raw), lines[i]); err != nil {
			ts.Fatalf("event %d of %s: %v: %s", i+1, args[0], err, raw)
		}
		i++
	}
	if s.last != "job.halted" && s.last != "job.finished" {
		ts.Fatalf("%s ends with %q, expected job.halted or job.finished", args[0], s.last)
	}
}

// stream is what was seen of a stream of events.
type stream struct {
	last    string // type
	seq     uint64
	job     sluice.JobID
	offsets map[string]int64 // of the next byte, by attempt and stream
}

// fields are those that events of a type have at least, beside v, seq, time, type and job.
var fields = map[string][]string{
	"job.submitted": {"targets", "command"},
	"job.started":   {},
	"stage.opened":  {"track", "stage"},
	"task.started":  {"host", "attempt", "track", "stage"},
	"task.step":     {"host", "attempt", "step", "exit_code", "duration_ms"},
	"task.output":   {"host", "stream", "data", "offset"},
	"task.finished": {"host", "outcome", "duration_ms"},
	"job.halted":    {"reason", "rule"},
	"job.resumed":   {},
	"job.finished":  {"outcome", "counts"},
}

func (s *stream) add(raw []byte, parsed any) error {
	object, ok := parsed.(map[string]any)
	if !ok {
		return errors.New("it is no object")
	}
	var e sluice.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	if _, unknown := e.Body.(sluice.UnknownBody); unknown {
		return errors.New("this type is unknown")
	}
	for _, name := range append([]string{"v", "seq", "time", "type", "job"}, fields[e.Body.Type()]...) {
		if _, ok := object[name]; !ok {
			return fmt.Errorf("it has no %s", name)
		}
	}
	if v := field(parsed, "v"); v != "1" {
		return fmt.Errorf("its version is %s, expected 1", v)
	}
	if t := field(parsed, "time"); !strings.HasSuffix(t, "Z") {
		return fmt.Errorf("its time %s is not UTC", t)
	}
	if s.job != "" && e.Job != s.job {
		return fmt.Errorf("it is of job %s, those before it were of %s", e.Job, s.job)
	}
	s.job, s.last = e.Job, e.Body.Type()
	if b, ok := e.Body.(sluice.TaskOutput); ok {
		if e.Seq < s.seq {
			return fmt.Errorf("output has seq %d after %d", e.Seq, s.seq)
		}
		return s.output(b)
	}
	if e.Seq <= s.seq {
		return fmt.Errorf("seq %d follows %d", e.Seq, s.seq)
	}
	s.seq = e.Seq
	if b, ok := e.Body.(sluice.TaskFinished); ok {
		return told(b)
	}
	return nil
}

// told checks that an outcome says what it must: how a success ended, and why anything else did.
func told(b sluice.TaskFinished) error {
	switch {
	case b.Outcome == sluice.Succeeded && (b.Attempt == "" || b.ExitCode == nil || *b.ExitCode != 0):
		return errors.New("a success without an attempt that ended with 0")
	case b.Outcome != sluice.Succeeded && b.Reason == "":
		return errors.New("it has no reason")
	}
	return nil
}

// output checks that pieces of a stream fit together.
func (s *stream) output(b sluice.TaskOutput) error {
	data := []byte(b.Data)
	if b.Encoding == "base64" {
		var err error
		if data, err = base64.StdEncoding.DecodeString(b.Data); err != nil {
			return err
		}
		if utf8.Valid(data) {
			return errors.New("base64 for what is UTF-8")
		}
	}
	key := string(b.Attempt) + " " + b.Stream
	if next, seen := s.offsets[key]; seen && b.Offset != next {
		return fmt.Errorf("%s: a piece at %d, expected %d", key, b.Offset, next)
	}
	s.offsets[key] = b.Offset + int64(len(data))
	return nil
}

func checkJournal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 || neg {
		ts.Fatalf("usage: check")
	}
	dir := stateDir(ts)
	if _, err := os.Stat(filepath.Join(dir, "journal.db")); err != nil {
		ts.Fatalf("there is no journal to check: %v", err)
	}
	if found := brokenRules(dir); found != "" {
		ts.Fatalf("%s", found)
	}
}

// brokenRules reads a journal and says what is wrong with it; a story need not have one.
func brokenRules(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "journal.db")); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	var b strings.Builder
	spaces, err := log.Namespaces(ctx)
	if err != nil {
		return err.Error()
	}
	for _, ns := range spaces {
		all, err := readAll(ctx, log, ns)
		if err != nil {
			return err.Error()
		}
		for _, v := range check.Log(all) {
			fmt.Fprintf(&b, "namespace %s: %v\n", ns, v)
		}
	}
	return b.String()
}

func readAll(ctx context.Context, log sluice.Log, ns sluice.Namespace) ([]sluice.Event, error) {
	var all []sluice.Event
	for {
		page, err := log.Read(ctx, ns, uint64(len(all)), 1000)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
	}
}

// waitForEvent waits until the journal's namespace "default" has an event like the filter.
func waitForEvent(ts *testscript.TestScript, filter string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := stateDir(ts)
	ts.Check(waitForFile(ctx, filepath.Join(dir, "journal.db")))
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	ts.Check(err)
	defer log.Close()
	var seq uint64
	for {
		page, err := log.Read(ctx, sluice.DefaultNamespace, seq, 1000)
		ts.Check(err)
		for _, e := range page {
			seq = e.Seq
			raw, err := json.Marshal(e)
			ts.Check(err)
			lines, err := parseLines(string(raw))
			ts.Check(err)
			if matches(lines[0], filter) {
				return
			}
		}
		if err := log.Wait(ctx, sluice.DefaultNamespace, seq); err != nil {
			ts.Fatalf("no event like %q among the first %d: %v", filter, seq, err)
		}
	}
}

func waitForFile(ctx context.Context, path string) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not there: %w", path, ctx.Err())
		}
	}
}
