package control

import (
	"context"
	"io"
	"slices"
	"sync"

	"sluice"
	"sluice/internal/core/printed"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// mostFacts is how many bytes are remembered of outputs that do not change any more: about a hundred thousand attempts.
const mostFacts = 64 << 20

// facts remember what was read of the outputs of attempts that are over, so that each is read once. The zero value is ready.
type facts struct {
	mu   sync.Mutex
	jobs map[sluice.JobID]map[fact]any
	size map[sluice.JobID]int
	used []sluice.JobID // those of which something was read last at the end
	n    int            // bytes, about
}

// room is about how many bytes a fact takes.
func room(v any) int {
	n := 256
	switch v := v.(type) {
	case []string:
		for _, l := range v {
			n += 16 + len(l)
		}
	case *printed.Index:
		n += 8 * len(v.Before)
	}
	return n
}

type fact struct {
	what    string
	attempt sluice.AttemptID
	stream  string
}

func (f *facts) get(job sluice.JobID, k fact) (any, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.jobs[job][k]
	return v, ok
}

// put remembers, and forgets jobs of which nothing was read for the longest where it is too much.
func (f *facts) put(job sluice.JobID, k fact, v any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs == nil {
		f.jobs, f.size = map[sluice.JobID]map[fact]any{}, map[sluice.JobID]int{}
	}
	if n := len(f.used); n > 0 && f.used[n-1] != job && f.jobs[job] != nil {
		f.used = append(slices.DeleteFunc(f.used, func(id sluice.JobID) bool { return id == job }), job)
	}
	for f.n > 0 && f.n+room(v) > mostFacts {
		f.forget(f.used[0]) // this job at last
	}
	if f.jobs[job] == nil {
		f.jobs[job] = map[fact]any{}
		f.used = append(f.used, job)
	}
	if _, known := f.jobs[job][k]; !known {
		f.n += room(v)
		f.size[job] += room(v)
		f.jobs[job][k] = v
	}
}

func (f *facts) forget(job sluice.JobID) {
	f.n -= f.size[job]
	delete(f.jobs, job)
	delete(f.size, job)
	f.used = slices.DeleteFunc(f.used, func(id sluice.JobID) bool { return id == job })
}

// learn is what was read of a stream, or reads it. What is not over is read each time.
func learn[T any](ctx context.Context, s *Service, job sluice.JobID, k fact, over bool, read func(r io.ReadSeeker, size int64) (T, error)) (v T, err error) {
	f := &s.first().facts
	if over {
		if known, ok := f.get(job, k); ok {
			return known.(T), nil
		}
	}
	if err := ctx.Err(); err != nil {
		return v, err
	}
	r, size, err := s.Read(ctx, job, k.attempt, k.stream)
	if err != nil {
		return v, err
	}
	defer r.Close()
	if v, err = read(r, size); err == nil && over {
		f.put(job, k, v)
	}
	return v, err
}

// settled reports whether what an attempt printed does not change any more.
func settled(t *view.Task) bool {
	return !t.Running && t.Outcome != "" && t.Outcome != sluice.Unknown
}

const (
	endBytes = 4 << 10
	endLines = 5
)

// Failures are the hosts of a job that did not succeed, those together that failed alike. lines says that what they printed
// last counts, too.
func (s *Service) Failures(ctx context.Context, id sluice.JobID, lines bool) (*view.Job, []*view.Failure, error) {
	j, _, err := s.Job(ctx, string(id))
	if err != nil {
		return nil, nil, err
	}
	ends := func(t *view.Task) (stdout, stderr []string, err error) {
		if stderr, err = s.end(ctx, j.ID, t, "stderr"); err == nil && len(stderr) == 0 {
			stdout, err = s.end(ctx, j.ID, t, "stdout")
		}
		return stdout, stderr, err
	}
	if !lines {
		ends = nil
	}
	list, err := view.Failures(j, ends)
	return j, list, err
}

// end is the last lines of a stream.
func (s *Service) end(ctx context.Context, job sluice.JobID, t *view.Task, stream string) ([]string, error) {
	return learn(ctx, s, job, fact{"end", t.Attempt, stream}, settled(t), func(r io.ReadSeeker, size int64) ([]string, error) {
		from := max(0, size-endBytes)
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, endBytes))
		return printed.Tail(string(b), from > 0, endLines), err
	})
}

// Alike is hosts whose last attempt printed the same to a stream.
type Alike struct {
	printed.Sum
	Tasks []*view.Task // in the order of the job
}

// Groups are the hosts of a job by what their last attempt printed: the largest group first. Those whose attempt runs, and
// those without one, are in none.
func (s *Service) Groups(ctx context.Context, id sluice.JobID, stream string) (*view.Job, []*Alike, error) {
	j, _, err := s.Job(ctx, string(id))
	if err != nil {
		return nil, nil, err
	}
	if j.Removed != nil {
		return nil, nil, Removed(j.ID, *j.Removed)
	}
	at := map[printed.Sum]*Alike{}
	var out []*Alike
	for i := range j.Tasks {
		t := &j.Tasks[i]
		if t.Attempt == "" || t.Running {
			continue
		}
		cut := slices.Contains(t.Truncated, stream)
		sum, err := learn(ctx, s, j.ID, fact{"sum", t.Attempt, stream}, settled(t), func(r io.ReadSeeker, size int64) (printed.Sum, error) {
			return printed.SumOf(r, size, cut)
		})
		if err != nil {
			return nil, nil, err
		}
		g := at[sum]
		if g == nil {
			g = &Alike{Sum: sum}
			at[sum], out = g, append(out, g)
		}
		g.Tasks = append(g.Tasks, t)
	}
	slices.SortStableFunc(out, func(a, b *Alike) int { return len(b.Tasks) - len(a.Tasks) })
	return j, out, nil
}

// Begins is the first bytes of a stream of an attempt.
func (s *Service) Begins(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string, most int64) (string, error) {
	r, err := s.OpenOutput(ctx, job, a, stream)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most))
	return string(b), err
}

// Lines says where the lines of a stream are. over says that it does not change any more.
func (s *Service) Lines(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string, over bool) (*printed.Index, error) {
	return learn(ctx, s, job, fact{"lines", a, stream}, over, func(r io.ReadSeeker, _ int64) (*printed.Index, error) {
		x := &printed.Index{}
		_, err := io.Copy(x, r)
		return x, err
	})
}

// Tried is where a job stands on one host.
type Tried struct {
	Target  int // index in the job's targets
	Try     int // number of the last attempt; 0: none
	ID      sluice.AttemptID
	Running bool
	Outcome sluice.Outcome // of the last attempt; "" where it runs or is to be tried again
}

// Tried tells where a job stands on a host, whatever the job is long.
func (s *Service) Tried(ctx context.Context, id sluice.JobID, h sluice.Host) (out Tried, err error) {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return out, err
	}
	err = s.look(ctx, ns, func(state *schedule.State) error {
		t, ok := state.Task(id, h)
		if !ok {
			return noTarget(h, id)
		}
		out = Tried{Target: t.Target, Try: t.Try, Running: t.Running}
		if t.Try > 0 {
			out.ID = sluice.NewAttemptID(id, t.Target, t.Try)
		}
		if !t.Pending && !t.Running {
			out.Outcome = t.Outcome
		}
		return nil
	})
	return out, err
}

// Read opens what an attempt printed, from any place, and says how much is kept. What was removed is an error.
func (s *Service) Read(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (io.ReadSeekCloser, int64, error) {
	size, err := s.Outputs.Size(job, a, stream)
	if err != nil {
		return nil, 0, err
	}
	if size == 0 { // where there is something, it was not removed
		ns, job, err := s.Find(ctx, string(job))
		if err == nil {
			err = s.live().Job(ctx, ns, job, func(j *view.Job) error {
				if j != nil && j.Removed != nil {
					return Removed(job, *j.Removed)
				}
				return nil
			})
		}
		if err != nil {
			return nil, 0, err
		}
	}
	r, err := s.Outputs.Open(job, a, stream)
	if err != nil {
		return nil, 0, err
	}
	return r.(io.ReadSeekCloser), size, nil
}

// HostNow is what is known of a host of a namespace.
type HostNow struct {
	schedule.OnHost
	Known  bool // the log has named it
	Visits []schedule.Visit
}

// Host tells what is known of a host, with the newest jobs on it, of those that were submitted before a job ("": of all).
func (s *Service) Host(ctx context.Context, ns sluice.Namespace, h sluice.Host, before sluice.JobID, most int) (now HostNow, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		now.OnHost, now.Known = state.Host(h)
		var ok bool
		if now.Visits, ok = state.Visits(h, before, most); !ok {
			return sluice.Errorf(sluice.Usage, "cursor: there is no page that begins at %q", before)
		}
		return nil
	})
	return now, err
}
