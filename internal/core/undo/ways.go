package undo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/fleet"
)

// Ways are the ways back of the hosts of a deploy, as its events say.
type Ways struct {
	Release *sluice.Release // that was deployed; nil: none was
	Fleet   string          // file that it went by, "" for none
	// From is what the deploy left on the hosts that it changed, To what they go back to.
	From, To map[sluice.Host]sluice.Installed
	// Stay is what hosts have on which it failed before it changed anything. When they are shown to be well with that, they are in
	// service again, and leave room to the others.
	Stay map[sluice.Host]sluice.Installed
	// None had nothing before, Unknown are hosts of which nobody knows what they have now, Others those on which another job of the
	// app was at work since. Each in its order.
	None, Unknown, Others []sluice.Host
	// By is who resumed the deploy last; "" for nobody.
	By string
}

// spell is what a job did on one host, from what was there to what is there.
type spell struct {
	before, live       sluice.Installed
	said, lost, failed bool
	silent             sluice.AttemptID // a try before this word that told nothing, and so may have made anything live
	unsure             bool             // what was there before the deploy is not known
}

// WaysBack reads them from the events of a deploy. What a host had is what the first attempt on it found; where it had something
// else by a later attempt than the one before had left, it is what that one found. What it has is what the last one left.
// What an attempt found after one that told nothing may be that one's work, if it is of the deploy's version.
func WaysBack(events []sluice.Event) *Ways {
	w := &Ways{From: map[sluice.Host]sluice.Installed{}, To: map[sluice.Host]sluice.Installed{}, Stay: map[sluice.Host]sluice.Installed{}}
	of := map[sluice.Host]*spell{}
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.JobSubmitted:
			if b.Submitted.Action.Kind == sluice.DeployTo {
				w.Release, w.Fleet = b.Submitted.Action.Release, b.Submitted.Fleet
			}
		case sluice.JobResumed:
			w.By = b.By
		case sluice.TaskFinished:
			if b.Attempt == "" || b.Release == nil && b.NotStarted {
				continue
			}
			if of[b.Host] == nil {
				of[b.Host] = &spell{}
			}
			of[b.Host].take(b, w.Release)
		}
	}
	for _, h := range slices.Sorted(maps.Keys(of)) {
		w.sort(h, of[h])
	}
	return w
}

func (s *spell) take(b sluice.TaskFinished, deployed *sluice.Release) {
	s.failed = b.Outcome.Failure()
	s.lost = b.Release == nil || b.Outcome == sluice.Unknown
	if b.Release == nil {
		s.silent = b.Attempt
		return
	}
	found := b.Release.Before
	ours := s.silent != "" && s.silent != b.Attempt && (deployed == nil || found.Version == deployed.Version)
	switch {
	case ours && s.said: // what was there before that try is known
	case ours:
		s.before, s.unsure = found, true
	case !s.said || s.live != found:
		s.before, s.unsure = found, false
	}
	s.said, s.silent, s.live = true, "", b.Release.Live
}

func (w *Ways) sort(h sluice.Host, s *spell) {
	same := s.live == s.before
	switch {
	case s.lost || s.unsure:
		w.Unknown = append(w.Unknown, h)
	case !same && s.before.Version == "":
		w.None = append(w.None, h)
	case !same:
		w.From[h], w.To[h] = s.live, s.before
	case s.failed && s.before.Manifest != "": // of what nobody of us has put there nothing can be shown
		w.Stay[h] = s.before
	}
}

// Leave takes a host out that is not any more as the deploy left it.
func (w *Ways) Leave(h sluice.Host) {
	w.Others = append(w.Others, h)
	delete(w.From, h)
	delete(w.To, h)
	delete(w.Stay, h)
}

// Release makes of the release that was deployed one to go back to: of which version, it says only where that is the same everywhere.
func Release(of sluice.Release, back map[sluice.Host]sluice.Installed) *sluice.Release {
	of.Version, of.Artifact, of.Manifest, of.Config, of.Provenance, of.Deploy.OnFailure = "", "", "", "", "", ""
	of.Commit = nil // of what failed
	// What ran once is not undone by going back, and nothing new goes live.
	of.Once, of.Deploy.Once, of.After, of.Deploy.After = "", "", "", ""
	of.Validating, of.Deploy.Validate = nil, nil
	versions := map[string]bool{}
	for _, to := range back {
		versions[to.Version] = true
	}
	if len(versions) == 1 {
		of.Version = slices.Collect(maps.Keys(versions))[0]
	}
	return &of
}

// Left says of which hosts the deploy is not taken back, and why, in a line for each reason.
func (w *Ways) Left() (out []string) {
	for _, c := range []struct {
		hosts []sluice.Host
		text  string
	}{
		{w.Unknown, "it is not known what %s has now"},
		{w.Others, "another job has been at work on %s since"},
		{w.None, "%s had no version before"},
	} {
		if len(c.hosts) > 0 {
			out = append(out, fmt.Sprintf(c.text, fleet.Fold(c.hosts)))
		}
	}
	return out
}

// Nothing says why there is nothing to bring back.
func (w *Ways) Nothing() string {
	if left := w.Left(); len(left) > 0 {
		return strings.Join(left, "; ")
	}
	return "it has changed no host"
}
