package work

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/target"
)

// refusal says why nothing was started: the host, the login shell or sudo did not let us. Nothing was sent.
type refusal struct {
	text     string
	password bool // a password was offered and refused
	cause    error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

// errNeedsTTY: sudo is set up to work on a terminal only.
var errNeedsTTY = errors.New("sudo needs a terminal")

// greeting watches a session until its shell is ready: behind the login shell and its rc files, behind sudo
// and its password.
type greeting struct {
	t      *attempt
	c      *conn
	hello  string
	prompt string // sudo's; "" without sudo
	stdout []byte
	stderr []byte
	sent   bool // the password
}

const (
	noiseLimit = 64 << 10
	// patience bounds how long a password's turn is waited for; sudo itself gives up after five minutes.
	patience = 4 * time.Minute
)

// open starts a shell on the link that waits for its text on standard input. Nothing is sent before the shell
// says, with a word that only we know, that it is there: neither rc files nor a sudo that does not ask can eat
// a password or part of a command.
func (t *attempt) open(ctx context.Context, link sluice.Link, tty bool) (*conn, error) {
	c, err := t.greet(ctx, link, tty)
	if errors.Is(err, errNeedsTTY) && !tty {
		c, err = t.greet(ctx, link, true)
	}
	if err == nil {
		t.lure.Add(c.prompt)
	}
	return c, err
}

func (t *attempt) greet(ctx context.Context, link sluice.Link, tty bool) (*conn, error) {
	g := &greeting{t: t, hello: "sluice-" + nonce()}
	command := "echo " + g.hello + "; exec sh"
	if tty {
		// A shell with a terminal at input and errors would be an interactive one.
		command = "stty raw -echo; echo " + g.hello + "; exec sh 2>/dev/null"
	}
	if user := t.job.Options.Sudo; user != "" {
		g.prompt = "sluice-" + nonce() + ":"
		command = "exec sudo -k -S -H -p " + target.Quote(g.prompt) + " -u " + target.Quote(user) + " -- sh -c " + target.Quote(command)
		if tty {
			command = "stty raw -echo; " + command
		}
	}
	s, err := link.Start(ctx, command, tty)
	if err != nil {
		return nil, err
	}
	g.c = newConn(s, tty)
	g.c.prompt = g.prompt
	if err := g.wait(ctx); err != nil {
		g.c.close()
		return nil, err
	}
	return g.c, nil
}

func (g *greeting) wait(ctx context.Context) error {
	limit := time.NewTimer(g.t.w.helloTimeout())
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return g.refuse("the login shell did not get as far as running a command; does an rc file read from the terminal?")
		case p, ok := <-g.c.pieces:
			if !ok {
				return g.ended()
			}
			found := g.take(p)
			p.release()
			if found {
				g.t.sudoAnswered(true)
				return nil
			}
			if g.asked() {
				if err := g.answer(ctx); err != nil {
					return err
				}
				limit.Reset(g.t.w.helloTimeout())
			}
		}
	}
}

// take keeps what was printed and looks for the word.
func (g *greeting) take(p piece) bool {
	if p.stderr {
		g.stderr = last(append(g.stderr, p.data...), noiseLimit)
		return false
	}
	g.stdout = last(append(g.stdout, p.data...), noiseLimit)
	at := bytes.Index(g.stdout, []byte(g.hello))
	return at >= 0 && bytes.IndexByte(g.stdout[at:], '\n') >= 0
}

// asked reports whether sudo's prompt, whole and alone on the last line, is what came last.
func (g *greeting) asked() bool {
	if g.prompt == "" {
		return false
	}
	text := g.stderr
	if g.c.tty {
		text = g.stdout
	}
	return string(text[bytes.LastIndexAny(text, "\r\n")+1:]) == g.prompt
}

func (g *greeting) answer(ctx context.Context) error {
	if g.sent {
		_ = g.c.session.Stdin().Close()
		g.t.sudoAnswered(false)
		return &refusal{text: "sudo refused the password", password: true}
	}
	secret, err := g.t.sudoSecret(ctx)
	switch {
	case errors.Is(err, sluice.ErrNoSecret):
		return &refusal{text: "sudo asks for a password and none was given"}
	case errors.Is(err, sluice.ErrSecretRefused):
		return &refusal{text: "sudo asks for a password: " + err.Error(), cause: err}
	case err != nil:
		return err
	}
	g.sent = true
	g.stdout, g.stderr = nil, nil
	line := append(bytes.Clone(secret.Reveal()), '\n')
	_, err = g.c.session.Stdin().Write(line)
	clear(line)
	if err != nil {
		return fmt.Errorf("%w: %w", sluice.ErrLinkLost, err)
	}
	return nil
}

// ended says why the session ended without the word.
func (g *greeting) ended() error {
	status, err := g.c.session.Wait()
	if err != nil {
		return err
	}
	text := string(g.stderr) + string(g.stdout)
	if g.prompt == "" {
		return g.refuse(fmt.Sprintf("the login shell ended with %d before it ran a command", status.Code))
	}
	denied := strings.Contains(text, "sudoers") || strings.Contains(text, "not allowed")
	switch {
	case strings.Contains(text, "must have a tty"):
		return errNeedsTTY
	case g.sent && !denied:
		g.t.sudoAnswered(false)
		return &refusal{text: g.describe("sudo refused the password"), password: true}
	}
	return g.refuse(fmt.Sprintf("sudo to %s is refused (it ended with %d)", g.t.job.Options.Sudo, status.Code))
}

func (g *greeting) refuse(text string) error { return &refusal{text: g.describe(text)} }

// describe adds the last thing that was printed.
func (g *greeting) describe(text string) string {
	for _, noise := range [][]byte{g.stderr, g.stdout} {
		if line := lastLine(strings.ReplaceAll(string(noise), g.prompt, "")); line != "" {
			return text + ": " + line
		}
	}
	return text
}

// lastLine is the last line with something in it, fit to stand in a message.
func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if line := printable(lines[i]); line != "" {
			return line
		}
	}
	return ""
}

// printable is a short text without control characters; it came from a target and has no power.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x200b && r <= 0x202e || r >= 0x2060 && r <= 0x206f {
			return -1
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}

func last(b []byte, n int) []byte {
	if len(b) > n {
		return append(b[:0], b[len(b)-n:]...)
	}
	return b
}
