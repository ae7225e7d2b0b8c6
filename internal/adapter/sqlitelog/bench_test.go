package sqlitelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// spread reports where most of the durations are; a mean hides the checkpoints.
func spread(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			l := openIn(b, b.TempDir())
			events := make([]sluice.Event, n)
			var head uint64
			var took []time.Duration
			for b.Loop() {
				for i := range events {
					a := sluice.NewAttemptID("aaaa00000000", i, 1)
					events[i] = sluice.Event{Time: when, Job: "aaaa00000000", Body: sluice.TaskFinished{Host: "web1.example.net",
						Attempt: a, Outcome: sluice.Succeeded, DurationMS: 1234, Reason: "a reason that fills the event up to its usual length"}}
				}
				began := time.Now()
				var err error
				if head, err = l.Update(b.Context(), "prod", head, deciding(events...)); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			spread(b, took)
			b.ReportMetric(float64(n*len(took))/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkBare is the least that an append could take: as many bytes at the end of a file, and a sync.
func BenchmarkBare(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			text := make([]byte, 250*n)
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := f.Write(text); err != nil {
					b.Fatal(err)
				}
				if err := syscall.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			spread(b, took)
			b.ReportMetric(float64(n*len(took))/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkAnchor is what the anchor adds to an append.
func BenchmarkAnchor(b *testing.B) {
	a := newAnchor(b, b.TempDir()+"/"+anchorName)
	put(b, a, "prod", 1)
	seq := uint64(1)
	var took []time.Duration
	for b.Loop() {
		seq++
		began := time.Now()
		if err := a.write(b.Context(), "prod", mark{seq: seq}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	spread(b, took)
}

// BenchmarkFollow is a question to another process and its answer: two appends, each seen by polling.
func BenchmarkFollow(b *testing.B) {
	dir := b.TempDir()
	l := openIn(b, dir)
	cmd := startRole(b, "echo", dir, "")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	var n uint64
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		appendTo(b, l, "ask", "h")
		if err := l.Wait(b.Context(), "answer", n); err != nil {
			b.Fatal(err)
		}
		n++
		took = append(took, time.Since(began))
	}
	spread(b, took)
	appendTo(b, l, "ask", "end")
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			l := openIn(b, dir)
			for range n {
				appendTo(b, l, "prod", "h")
			}
			for b.Loop() {
				l, err := Open(b.Context(), Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	l := openIn(b, b.TempDir())
	events := make([]sluice.Event, 100)
	for range 200 {
		for i := range events {
			events[i] = held(fmt.Sprint("host", i))
		}
		if _, err := l.Update(b.Context(), "prod", 0, deciding(events...)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := l.Verify(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
