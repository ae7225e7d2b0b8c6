package live

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// LineOptions say what [Lines] prints.
type LineOptions struct {
	Verbose bool // starts, too
	Quiet   bool // failures and the end only
	Output  bool // what hosts print, line by line
	Color   bool
	Unicode bool
	// Zone is for the times of day; nil is UTC.
	Zone *time.Location
}

// Lines prints one line for each event that matters, for logs and pipes. Its methods may be called from anywhere.
type Lines struct {
	mu      sync.Mutex
	w       io.Writer
	o       LineOptions
	s       Screen
	job     *view.Job
	partial map[stream]string
	waits   string // as last printed
}

type stream struct {
	host sluice.Host
	name string
}

// NewLines prints to w. Errors of writing are not reported: a pipe that nobody reads is no reason to end a job.
func NewLines(w io.Writer, o LineOptions) *Lines {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	return &Lines{w: w, o: o, s: Screen{Unicode: o.Unicode}, job: view.New(), partial: map[stream]string{}}
}

// Past takes what happened before, and prints where the job stands and what becomes of it now.
func (l *Lines) Past(events []sluice.Event, now string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.job.Apply(e)
	}
	if l.o.Quiet {
		return
	}
	said := fmt.Sprintf("job %s: %s of %s done", l.job.ID, number(l.job.Settled()), number(len(l.job.Tasks)))
	for _, o := range sluice.Outcomes {
		if n := l.job.Counts[o]; n > 0 && o != sluice.Succeeded {
			said += ", " + number(n) + " " + markWords[outcomeMarks[o]]
		}
	}
	if n := l.job.Running; n > 0 {
		said += ", " + number(n) + " running"
	}
	l.write(text(said + "; " + now))
}

// Event prints what happened, if it matters.
func (l *Lines) Event(e sluice.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.job.Apply(e)
	switch b := e.Body.(type) {
	case sluice.TaskOutput:
		if l.o.Output && !l.o.Quiet {
			l.output(b)
		}
	case sluice.TaskStarted:
		delete(l.partial, stream{b.Host, "stdout"})
		delete(l.partial, stream{b.Host, "stderr"})
		if l.o.Verbose && !l.o.Quiet {
			l.print(e, text(l.s.clean(string(b.Host))+": ").add(busy, "started"))
		}
	case sluice.TaskFinished:
		l.rest(b.Host)
		if l.o.Quiet && !b.Outcome.Bad() {
			return
		}
		l.finished(e, b)
	case sluice.JobHalted:
		l.print(e, styled(warn, "halted").add(plain, ": "+l.s.clean(b.Reason)+l.names(b.Holders)))
	case sluice.JobFinished:
		l.ended(e, b)
	default:
		if !l.o.Quiet {
			l.progress(e)
		}
	}
}

// progress prints what is of interest to those who watch.
func (l *Lines) progress(e sluice.Event) {
	say := func(format string, args ...any) { l.print(e, text(l.s.clean(fmt.Sprintf(format, args...)))) }
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		say("job %s on %s: %s", e.Job, count(len(b.Submitted.Targets), "host"), b.Submitted.Command)
	case sluice.StageOpened:
		for i := range l.job.Stages {
			if st := &l.job.Stages[i]; st.Track == b.Track && st.Index == b.Index && st.Hosts > 0 && (len(l.job.Stages) > 1 || l.o.Verbose) {
				say("%s: stage %s opened, %s", b.Track, b.Stage, count(st.Hosts, "host"))
			}
		}
	case sluice.BalancerChanged:
		if l.o.Verbose || b.Error != "" || b.Cut != 0 { // else it is as it should be
			say("%s: %s", b.Host, balance.Told(b))
		}
	case sluice.GateWaiting:
		if b.Kind == sluice.GateApproval {
			say("%s: sluice approve %s", awaits(b.Stage), e.Job)
		} else {
			say("%s is done; pause until %s", b.Stage, b.Until.In(l.o.Zone).Format(time.TimeOnly))
		}
	case sluice.GatePassed:
		if b.Kind == sluice.GateApproval {
			say("%s: approved%s", b.Stage, by(b.By))
		}
	case sluice.TaskRetried:
		say("%s to be tried again%s: %s", count(len(b.Hosts), "host"), by(b.By), fold(b.Hosts))
	case sluice.JobHalting:
		say("halting%s: %s", by(b.By), b.Reason)
	case sluice.JobCancelling:
		say("being cancelled%s: what runs is killed", by(b.By))
	case sluice.JobResumed:
		say("resumed%s", by(b.By))
	}
}

func (l *Lines) finished(e sluice.Event, b sluice.TaskFinished) {
	m := outcomeMarks[b.Outcome]
	out := text("").add(markStyles[m], markWords[m])
	t := view.Task{Reason: b.Reason, ExitCode: b.ExitCode}
	if d := view.Detail(&t); d != "" {
		out = out.add(plain, ", "+l.s.clean(d))
	}
	if b.DurationMS > 0 {
		out = out.add(dim, " ("+took(time.Duration(b.DurationMS)*time.Millisecond)+")")
	}
	l.print(e, text(fmt.Sprintf("[%d/%d] %s: ", l.job.Settled(), len(l.job.Tasks), l.s.clean(string(b.Host)))).join(out))
}

func (l *Lines) ended(e sluice.Event, b sluice.JobFinished) {
	look := good
	if b.Outcome != sluice.Succeeded {
		look = bad
	}
	out := styled(look, outcomeVerb(b.Outcome)).add(plain, ": "+tallyText(b.Counts))
	if !l.job.Started.IsZero() {
		out = out.add(plain, " in "+elapsed(e.Time.Sub(l.job.Started)))
	}
	l.print(e, out)
	if b.Reason != "" {
		l.print(e, styled(warn, "nothing was started").add(plain, ": "+l.s.clean(b.Reason)))
	}
	if b.Undo != "" {
		l.print(e, styled(warn, "rolled back").add(plain, ": job "+string(b.Undo)+" brings the hosts back that it changed"))
	}
}

// outcomeVerb says how a job ended.
func outcomeVerb(o sluice.Outcome) string {
	if o == sluice.Failed {
		return "finished with failures"
	}
	return string(o)
}

// tallyText counts outcomes in words.
func tallyText(counts map[sluice.Outcome]int) string {
	var parts []string
	for _, o := range sluice.Outcomes {
		if n := counts[o]; n > 0 {
			parts = append(parts, number(n)+" "+markWords[outcomeMarks[o]])
		}
	}
	return strings.Join(parts, ", ")
}

func (l *Lines) names(hosts []sluice.Host) string {
	if len(hosts) == 0 {
		return ""
	}
	return " (" + l.s.clean(fold(hosts)) + ")"
}

// Waits prints why the rest waits, once nothing runs and when the reasons are others than before.
func (l *Lines) Waits(waits []schedule.Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.job
	if l.o.Quiet || j.Started.IsZero() || len(j.Gates) > 0 || !j.Ended.IsZero() || j.Running > forWorkers(waits) {
		return
	}
	var said []string
	for _, w := range merge(waits, 6) {
		s := hostsWait(w.Hosts) + ": " + w.Text
		if len(w.Holders) > 0 {
			s += " (" + holders(w.Holders, j.ID) + ")"
		}
		said = append(said, l.s.clean(s))
	}
	if now := strings.Join(said, "\n"); now != l.waits {
		l.waits = now
		for _, s := range said {
			l.print(sluice.Event{Time: j.Now}, text(s))
		}
	}
}

// forWorkers is how many hosts have an attempt that no worker has taken yet: they run as far as the log goes, and nothing
// happens on them.
func forWorkers(waits []schedule.Wait) (n int) {
	for _, w := range waits {
		if w.Rule == sluice.RuleWorker {
			n += w.Hosts
		}
	}
	return n
}

// Notice prints what a person should know.
func (l *Lines) Notice(notice string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(line{{"sluice: " + l.s.clean(notice), bold}})
}

// Close prints what hosts printed last without ending the line.
func (l *Lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hosts []sluice.Host
	for s := range l.partial {
		hosts = append(hosts, s.host)
	}
	slices.Sort(hosts)
	for _, h := range slices.Compact(hosts) {
		l.rest(h)
	}
}

// longestLine is how many bytes of a line without an end are kept back.
const longestLine = 64 << 10

// output prints the lines that are complete.
func (l *Lines) output(b sluice.TaskOutput) {
	k := stream{b.Host, b.Stream}
	s := l.partial[k] + outputOf(b)
	for {
		whole, rest, ended := strings.Cut(s, "\n")
		if !ended && len(s) <= longestLine {
			break
		}
		l.outputLine(k, whole)
		s = rest
	}
	if s == "" {
		delete(l.partial, k)
	} else {
		l.partial[k] = strings.Clone(s)
	}
}

// rest prints what a host printed last without a newline.
func (l *Lines) rest(h sluice.Host) {
	for _, name := range []string{"stdout", "stderr"} {
		k := stream{h, name}
		if s := l.partial[k]; s != "" {
			l.outputLine(k, s)
		}
		delete(l.partial, k)
	}
}

func (l *Lines) outputLine(k stream, s string) {
	sign, look := " | ", dim
	if k.name == "stderr" {
		sign, look = " ! ", warn
	}
	l.write(text(l.s.clean(string(k.host))).add(look, sign).add(plain, l.s.shown(s)))
}

func (l *Lines) print(e sluice.Event, what line) {
	l.write(styled(dim, e.Time.In(l.o.Zone).Format(time.TimeOnly)).add(plain, " ").join(what))
}

func (l *Lines) write(what line) { _, _ = io.WriteString(l.w, what.paint(l.o.Color)+"\n") }
