package work

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/target"
)

// errForeignBytes says that something else wrote into the session, such as a late background job of an rc
// file. The same is asked for again, by offset.
var errForeignBytes = errors.New("foreign bytes came between the output of the attempt")

// errOvertaken says that somebody else has prepared the attempt anew before this one could start it, and may have started it.
var errOvertaken = errors.New("somebody else came before the start")

// errSilence says that the host is connected but does not answer as it must.
var errSilence = errors.New("the host does not answer")

const (
	tickFirst = 100 * time.Millisecond // how soon a running attempt is asked for output
	tickLast  = time.Second            // how rarely one is asked that prints nothing
	longest   = 512 << 10              // of a piece of output between two frames
	killGrace = time.Minute            // in which the supervisor must have killed
	overtime  = 30 * time.Second       // after the time limit that the supervisor keeps
)

// follower drives one session: it starts or joins the attempt and takes what comes, up to the end.
type follower struct {
	t    *attempt
	c    *conn
	link sluice.Link
	seen func() // there is contact

	into    *stream // the stream of the piece that is being received; nil between pieces
	begin   int64
	piece   []byte
	started bool // the go was sent, or the attempt was found
	quiet   bool // the steps will have the terminal, and what we say would be theirs
	tty     bool // they have it: everything is output
	told    bool // the kill was passed on

	tick  *time.Timer
	pace  time.Duration
	limit *time.Timer // when the host must have answered; nil channel: no limit

	evidence *target.Evidence
}

func (f *follower) follow(ctx context.Context) (target.Evidence, error) {
	call := f.t.call(f.c)
	f.quiet = call.TTY
	f.c.say(target.Render(call))
	framer := target.NewFramer(call.Nonce)
	f.pace = tickFirst
	f.tick = time.NewTimer(f.pace)
	defer f.tick.Stop()
	f.limit = time.NewTimer(f.t.w.helloTimeout() + 15*time.Second)
	defer f.limit.Stop()
	var noise []byte
	defer f.leaveDuty()
	for f.evidence == nil {
		killed := f.t.kill.Done()
		if f.told || !f.started {
			killed = nil
		}
		select {
		case <-ctx.Done():
			return target.Evidence{}, ctx.Err()
		case p, ok := <-f.c.pieces:
			if !ok {
				return f.broken(noise)
			}
			err := f.take(ctx, framer, p, &noise)
			p.release()
			if err == nil {
				err = f.after(ctx)
			}
			if err != nil {
				return target.Evidence{}, err
			}
		case <-f.tick.C:
			if err := f.beat(ctx); err != nil {
				return target.Evidence{}, err
			}
		case <-killed:
			f.passKill(ctx)
		case w := <-f.waiting():
			f.report(ctx, w)
		case <-f.limit.C:
			return f.late()
		}
	}
	return *f.evidence, nil
}

// take reads a piece of the session.
func (f *follower) take(ctx context.Context, framer *target.Framer, p piece, noise *[]byte) (err error) {
	if p.stderr {
		*noise = last(append(*noise, p.data...), 4<<10)
		return nil
	}
	framer.Feed(p.data, func(i target.Item) {
		switch {
		case err != nil:
		case i.Word != "":
			err = f.frame(ctx, i.Word, i.Rest)
		case f.tty:
			f.t.stdout.take(f.t.stdout.read, i.Data)
		case f.into != nil:
			f.piece = append(f.piece, i.Data...)
			if len(f.piece) > longest {
				err = errForeignBytes
			}
		default:
			*noise = last(append(*noise, i.Data...), 4<<10)
		}
	})
	return err
}

// frame takes one word of the supervisor.
func (f *follower) frame(ctx context.Context, word, rest string) error {
	f.seen()
	switch word {
	case "new", "old":
		f.limit.Stop()
		f.quiet = f.quiet && word == "new"
		f.started = word == "old"
		f.t.mayRun = f.t.mayRun || f.started
		if word == "new" {
			f.pace = -1 // wait for start
		}
	case "tty":
		f.tty = true
	case "o":
		return f.open(f.t.stdout, rest)
	case "e":
		return f.open(f.t.stderr, rest)
	case ".":
		return f.shut(rest)
	case "s":
		if note, ok := strings.CutPrefix(rest, "= "); ok {
			f.note(ctx, note)
			return nil
		}
		return f.step(rest)
	case "end":
		record, err := target.ParseRecord(rest)
		if err != nil {
			return fmt.Errorf("the host sent a wrong record: %w", err)
		}
		f.t.stdout.cut = f.t.stdout.cut || record.CutStdout
		f.t.stderr.cut = f.t.stderr.cut || record.CutStderr
		f.evidence = &target.Evidence{Sight: target.SawRecord, Record: record}
	case "revoked":
		f.evidence = &target.Evidence{Sight: target.SawRevoked}
	case "gone":
		f.t.mayRun = true
		return errOvertaken
	case "fail":
		what, text, _ := strings.Cut(rest, " ")
		f.evidence = &target.Evidence{Sight: target.SawRefusal, Text: refusalText(what, text)}
	case "boot":
		f.evidence = &target.Evidence{Sight: target.SawReboot}
	case "lost":
		f.evidence = &target.Evidence{Sight: target.SawLost, Left: target.ParsePIDs(rest)}
	}
	return nil
}

func refusalText(what, text string) string {
	switch what {
	case "place":
		return "the directory for attempts cannot be used: " + printable(text)
	case "prepare":
		return "the attempt cannot be prepared on the host: " + printable(text)
	}
	return printable(what + " " + text)
}

func (f *follower) open(s *stream, rest string) error {
	offset, err := strconv.ParseInt(rest, 10, 64)
	if err != nil || offset > s.read {
		return errForeignBytes
	}
	f.into, f.begin, f.piece = s, offset, f.piece[:0]
	return nil
}

func (f *follower) shut(rest string) error {
	end, err := strconv.ParseInt(rest, 10, 64)
	s := f.into
	f.into = nil
	if s == nil || err != nil || end-f.begin != int64(len(f.piece)) {
		return errForeignBytes
	}
	if len(f.piece) > 0 {
		s.take(f.begin, f.piece)
		f.pace = tickFirst
	}
	return nil
}

func (f *follower) step(rest string) error {
	step, err := target.ParseStep(rest)
	if err != nil {
		return errForeignBytes
	}
	if step.Number <= f.t.steps {
		return nil
	}
	f.t.steps = step.Number
	if step.Code != 0 && f.t.failed == "" {
		f.t.failed = step.Name // what comes after it cleans up
	}
	if d := f.t.deploy; d != nil && step.Name == "return" && step.Code == 0 {
		d.out = false
	}
	if f.t.a.Step != nil {
		f.t.a.Step(sluice.TaskStep{Host: f.t.a.Host, Attempt: f.t.a.Attempt, Step: printable(step.Name), ExitCode: step.Code, DurationMS: step.DurationMS})
	}
	return nil
}

// after acts on what was read: the start, and an end by force.
func (f *follower) after(ctx context.Context) error {
	if f.pace < 0 {
		f.pace = tickFirst
		return f.start(ctx)
	}
	if f.started && !f.told && f.t.killWord() != "" {
		f.passKill(ctx)
	}
	return nil
}

// start says go, or no where a kill or a halt came before. What the attempt needs is sent first.
func (f *follower) start(ctx context.Context) error {
	if !f.t.barred() {
		if d := f.t.deploy; d != nil && d.refusal != "" {
			f.c.say("no\n")
			f.evidence = &target.Evidence{Sight: target.SawRefusal, Text: d.refusal}
			return nil
		}
		if text, err := f.t.upload(ctx, f.link); err != nil {
			return err
		} else if text != "" {
			f.c.say("no\n")
			f.evidence = &target.Evidence{Sight: target.SawRefusal, Text: text}
			return nil
		}
	}
	if err := f.t.mayStart(ctx); err != nil {
		f.c.say("no\n")
		return err
	}
	if f.t.barred() {
		f.c.say("no\n")
		f.limit.Reset(f.t.w.helloTimeout())
		return nil
	}
	f.started, f.t.mayRun = true, true
	f.c.say("go\n")
	if d := f.t.job.Options.Timeout; d > 0 {
		f.limit.Reset(d + overtime)
	}
	f.tick.Reset(f.pace)
	return nil
}

// beat asks for what is new, ever more rarely where nothing is.
func (f *follower) beat(ctx context.Context) error {
	if f.started && !f.quiet {
		f.c.say("t\n")
	}
	if f.started && f.t.prompts != nil {
		if prompt, ok := f.t.prompts.Asked(); ok {
			if err := f.answer(ctx, prompt); err != nil {
				return err
			}
		}
	}
	f.pace = min(tickLast, f.pace*3/2)
	f.tick.Reset(f.pace)
	return nil
}

// passKill tells the supervisor; it has a minute.
func (f *follower) passKill(ctx context.Context) {
	f.told = true
	if f.quiet {
		f.t.killAside(ctx, f.link)
	} else {
		f.c.say("k " + f.t.killWord() + "\n")
	}
	f.limit.Reset(killGrace)
}

// late is what to make of a host that does not answer in time.
func (f *follower) late() (target.Evidence, error) {
	if !f.started {
		return target.Evidence{}, errSilence
	}
	text := "the host is connected, but does not carry out the kill"
	if !f.told {
		text = "the host is connected, but says nothing at the time limit"
	}
	f.evidence = &target.Evidence{Sight: target.SawSilence, Text: text}
	return *f.evidence, nil
}

// broken is a session that ended without the end of the attempt.
func (f *follower) broken(noise []byte) (target.Evidence, error) {
	status, err := f.c.session.Wait()
	if err != nil {
		return target.Evidence{}, err
	}
	text := fmt.Sprintf("the shell on the host ended with %d", status.Code)
	if line := lastLine(string(noise)); line != "" {
		text += ": " + line
	}
	if f.started {
		return target.Evidence{}, fmt.Errorf("%w: %s", sluice.ErrLinkLost, text)
	}
	return target.Evidence{}, &refusal{text: text}
}
