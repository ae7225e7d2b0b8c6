package target

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed supervise.sh
var supervise string

// Call is one use of the supervisor's text: starting or joining an attempt, settling one, or handing its
// directory a file.
type Call struct {
	// Attempt is the id and the name of the directory. Nonce marks the frames: secret, and new for each call.
	Attempt, Nonce string
	// Settle never starts anything; Put reads a file into the directory of an attempt that is being prepared.
	Settle, Put bool
	// Place is where attempts live; "" for the default.
	Place string
	// Stdout and Stderr are the offsets to send from.
	Stdout, Stderr int64
	// Limit is the number of bytes kept of each stream.
	Limit int64
	// Timeout ends the attempt; 0: never.
	Timeout time.Duration
	// PreHooks and PostHooks are directories; "" runs none.
	PreHooks, PostHooks string
	// Env are variables of the steps.
	Env map[string]string
	// Main is what the step "command" runs; nil only where nothing can start.
	Main []Word
	// Steps is the text of more steps than one, in the place of Main: it defines the function s_main. It may use s_step
	// with functions of its own where it empties s_do, s_hooks with a function in s_via, s_w, s_nl, s_id, s_epoch and s_here.
	Steps string
	// Stdin gives the command a pipe to read answers to its prompts from.
	Stdin bool
	// TTY runs the steps on the terminal of the session.
	TTY bool
	// Terminal says that the session has a terminal, whoever uses it: its hang-up must kill nothing.
	Terminal bool
	// Sudo says that the supervisor's parent is sudo.
	Sudo bool
}

// Word is one word of a command: text, below the attempt's directory if Here is set.
type Word struct {
	Text string
	Here bool
}

// Words makes a command of plain text.
func Words(text ...string) []Word {
	w := make([]Word, len(text))
	for i, t := range text {
		w[i].Text = t
	}
	return w
}

// Blob is the name of the file that [Call.Put] makes.
const Blob = "blob"

// FrameStart is the first byte of a frame.
const FrameStart = "\x1e"

// Render gives the text that is sent to the standard input of a shell. The shell runs nothing of it unless it
// has got all of it.
func Render(c Call) string {
	var b strings.Builder
	b.Grow(len(body) + 1024)
	mode := "run"
	switch {
	case c.Put:
		mode = "put"
	case c.Settle:
		mode = "settle"
	}
	fmt.Fprintf(&b, "{ s_id=%s s_n=%s s_mode=%s s_rs='%s' s_oo=%d s_oe=%d s_limit=%d s_timeout=%s",
		Quote(c.Attempt), Quote(c.Nonce), mode, FrameStart, c.Stdout, c.Stderr, blocks(c.Limit), seconds(c.Timeout))
	fmt.Fprintf(&b, " s_in=%s s_tty=%s s_pty=%s s_par=%s", flag(c.Stdin, "in"), flag(c.TTY, "1"), flag(c.Terminal, "1"), flag(c.Sudo, "$PPID"))
	fmt.Fprintf(&b, " s_do=exec s_via= s_p=%s s_pre=%s s_post=%s\n", Quote(c.Place), Quote(c.PreHooks), Quote(c.PostHooks))
	b.WriteString("s_env() {\nexport SLUICE_PHASE=\"$1\" SLUICE_MARK=" + Quote(c.Attempt+".") + "\n")
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		b.WriteString("export " + name + "=" + Quote(c.Env[name]) + "\n")
	}
	b.WriteString("}\n")
	if c.Steps != "" {
		b.WriteString(c.Steps)
	} else {
		b.WriteString(oneStep(c.Main))
	}
	b.WriteString(body)
	return b.String()
}

func oneStep(main []Word) string {
	var b strings.Builder
	b.WriteString("s_main() {\ns_step command")
	for _, w := range main {
		b.WriteByte(' ')
		if w.Here {
			b.WriteString(`"$s_here"/`)
		}
		b.WriteString(Quote(w.Text))
	}
	b.WriteString("\n}\n")
	return b.String()
}

// body is the supervisor without comments and indentation: some shells read their input byte by byte.
var body = Shrink(supervise)

// Shrink cuts comment lines and leading tabs off shell text.
func Shrink(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func flag(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

// blocks is a limit in the 512 bytes that ulimit counts in, rounded up.
func blocks(limit int64) int64 { return max(1, (limit+511)/512) }

func seconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	if d%time.Second == 0 || d > 10*time.Second {
		return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64)
}
