package onhost

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"

	"sluice"
	"sluice/internal/core/target"
)

// Secret gives out the password for sudo, as [sluice.Credentials] do.
type Secret func(ctx context.Context) (s sluice.Secret, done func(accepted bool), err error)

// Sudo is Program as another user. sudo is first told not to ask; only where it then runs nothing, and there is a password, it is
// told to ask, and gets it at its own prompt and nowhere else. What the program is to read is sent when sudo has begun it.
func Sudo(link sluice.Link, user string, secret Secret) sluice.Run {
	return func(ctx context.Context, argv []string, stdin []byte) (sluice.Ran, error) {
		mark := rand.Text()
		begun := append([]string{"--", "sh", "-c", `printf '%s\n' "$0"; exec "$@"`, mark}, argv...)
		ran, err := Program(link)(ctx, append([]string{"env", "LC_ALL=C", "sudo", "-n", "-u", user}, begun...), stdin)
		if err != nil {
			return ran, err
		}
		if out, ok := bytes.CutPrefix(ran.Stdout, []byte(mark+"\n")); ok {
			ran.Stdout = out
			return ran, nil
		}
		if !bytes.Contains(ran.Stderr, []byte("password is required")) || secret == nil {
			return sluice.Ran{}, refused(user, ran.Stderr)
		}
		word, done, err := secret(ctx)
		if errors.Is(err, sluice.ErrNoSecret) {
			return sluice.Ran{}, sluice.Errorf(sluice.Denied, "sudo to %s asks for a password, and none was given", user).
				WithHint("--ask-sudo-password, or NOPASSWD for what is run there")
		}
		if err != nil {
			return sluice.Ran{}, &sluice.Error{Code: sluice.Denied, Text: "sudo asks for a password", Err: err}
		}
		a := &asking{mark: mark, prompt: rand.Text() + ":", word: word, stdin: stdin, accepted: func() { done(true) }}
		ran, err = a.run(ctx, link, append([]string{"env", "LC_ALL=C", "sudo", "-k", "-S", "-p", a.prompt, "-u", user}, begun...))
		// It is no verdict on the password that nobody was asked for it, or that the link was lost.
		if !a.started {
			done(!a.sent || err != nil && !a.again || denied(ran.Stderr))
		}
		switch {
		case a.started || err != nil && !a.again:
			return ran, err
		case a.again:
			return sluice.Ran{}, sluice.Errorf(sluice.Denied, "sudo to %s refused the password", user)
		}
		return sluice.Ran{}, refused(user, bytes.ReplaceAll(ran.Stderr, []byte(a.prompt), nil))
	}
}

func denied(said []byte) bool {
	return bytes.Contains(said, []byte("sudoers")) || bytes.Contains(said, []byte("not allowed"))
}

func refused(user string, said []byte) error {
	text := strings.TrimSpace(string(said))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return sluice.Errorf(sluice.Denied, "sudo to %s is refused: %.200s", user, text)
}

// asking is a program behind a sudo that asks.
type asking struct {
	mark, prompt string
	word         sluice.Secret
	stdin        []byte
	accepted     func() // called when the program has begun: others may wait for that

	feeding              sync.WaitGroup
	mu                   sync.Mutex
	sent, again, started bool
	stdout, stderr       []byte
}

func (a *asking) run(ctx context.Context, link sluice.Link, argv []string) (sluice.Ran, error) {
	s, err := link.Start(ctx, target.Quote(argv...), false)
	if err != nil {
		return sluice.Ran{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { a.read(s, s.Stderr(), a.onErrors) })
	wg.Go(func() { a.read(s, s.Stdout(), a.onOutput) })
	status, err := s.Wait()
	if err != nil {
		_ = s.Close()
	}
	wg.Wait()
	a.feeding.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sluice.Ran{Stdout: a.stdout, Stderr: a.stderr, Status: status}, errors.Join(err, s.Close())
}

// read hands a stream on as it comes.
func (a *asking) read(s sluice.Session, from io.Reader, take func(sluice.Session, []byte)) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			a.mu.Lock()
			take(s, buf[:n])
			a.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// onErrors answers sudo's prompt, once: the second time it was wrong. A program that has begun is told nothing.
func (a *asking) onErrors(s sluice.Session, p []byte) {
	a.stderr = keep(a.stderr, p)
	asked := bytes.Count(a.stderr, []byte(a.prompt))
	switch {
	case a.started || a.again:
	case asked > 1:
		a.again = true
		_ = s.Close()
	case asked == 1 && !a.sent:
		a.sent = true
		line := append(bytes.Clone(a.word.Reveal()), '\n')
		_, _ = s.Stdin().Write(line)
		clear(line)
	}
}

func (a *asking) onOutput(s sluice.Session, p []byte) {
	a.stdout = keep(a.stdout, p)
	head := []byte(a.mark + "\n")
	if a.started || !bytes.HasPrefix(a.stdout, head) {
		return
	}
	a.started, a.stdout = true, bytes.Clone(a.stdout[len(head):])
	a.stderr = bytes.ReplaceAll(a.stderr, []byte(a.prompt), nil)
	a.feeding.Go(func() { a.feed(s) })
}

// feed sends what the program reads; it ends with the session.
func (a *asking) feed(s sluice.Session) {
	a.accepted()
	_, _ = s.Stdin().Write(a.stdin)
	_ = s.Stdin().Close()
}

func keep(to, more []byte) []byte { return append(to, more[:min(len(more), maxOutput-len(to))]...) }
