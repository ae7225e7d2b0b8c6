package work

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/target"
)

// validate refuses what cannot be carried out, before anything is done.
func (t *attempt) validate() error {
	o := t.job.Options
	if _, _, _, ok := t.a.Attempt.Parse(); !ok {
		return fmt.Errorf("%q is not the id of an attempt", t.a.Attempt)
	}
	if o.Sudo != "" && !target.ValidUser(o.Sudo) {
		return fmt.Errorf("%q cannot be a user for sudo: letters, digits, '_', '-', '.' and '@' are allowed", o.Sudo)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		if !target.ValidEnv(name) {
			return fmt.Errorf("the variable %q cannot be set: a name is letters, digits and '_', and neither begins with SLUICE_ nor belongs to the shell", name)
		}
		if !target.Sendable(o.Env[name]) {
			return fmt.Errorf("the variable %s has a NUL in it", name)
		}
	}
	act := t.job.Action
	if t.deploys() && (o.TTY || o.ReadOnly || len(o.Prompts) > 0) {
		return fmt.Errorf("a %s changes the host by steps of its own: it can neither be read-only nor have a terminal or prompts", act.Kind)
	}
	for _, text := range append([]string{act.Shell, act.Dest, t.job.Target.Dir, t.job.Target.PreHooks, t.job.Target.PostHooks}, act.Args...) {
		if !target.Sendable(text) {
			return errors.New("a NUL cannot be part of a command")
		}
	}
	for _, dir := range []string{t.job.Target.Dir, t.job.Target.PreHooks, t.job.Target.PostHooks} {
		if dir != "" && !strings.HasPrefix(dir, "/") {
			return fmt.Errorf("the directory %q on the target is not absolute", dir)
		}
	}
	if len(o.Prompts) > 0 {
		p, err := target.NewPrompts(o.Prompts)
		if err != nil {
			return err
		}
		t.prompts = p
	}
	return nil
}

// longestArgument is well below what Linux takes as one argument (128 KiB).
const longestArgument = 96 << 10

// parcel is what an attempt must find on the host as its blob.
type parcel struct {
	sha  string // in hexadecimal
	open func(ctx context.Context) (io.ReadCloser, error)
	// write makes the content while it is sent, in the place of open; sha is known afterwards.
	write func(ctx context.Context, w io.Writer) error
}

// prepareMain decides what the command step runs, and what must be sent for it. Nothing of that is needed to
// settle an attempt.
func (t *attempt) prepareMain(ctx context.Context) error {
	act := t.job.Action
	if t.deploys() {
		return t.prepareDeploy(ctx)
	}
	if t.a.Mode == Settle {
		return nil
	}
	switch act.Kind {
	case sluice.RunCommand:
		if len(act.Shell) <= longestArgument {
			t.main = target.Words("sh", "-c", act.Shell, "sh")
			return nil
		}
		t.main = []target.Word{{Text: "sh"}, {Text: target.Blob, Here: true}}
		sum := sha256.Sum256([]byte(act.Shell))
		t.parcel = &parcel{sha: hex.EncodeToString(sum[:]), open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(act.Shell)), nil
		}}
		return nil
	case sluice.RunScript:
		return t.prepareScript(ctx)
	case sluice.CopyTo:
		return t.prepareCopy(ctx)
	}
	return fmt.Errorf("%q is no kind of action that this version knows", act.Kind)
}

// blobParcel sends a blob as it is.
func (t *attempt) blobParcel(digest string) *parcel {
	return &parcel{sha: strings.TrimPrefix(digest, "sha256:"), open: func(ctx context.Context) (io.ReadCloser, error) {
		return t.w.cfg.Blobs.Open(ctx, digest)
	}}
}

// prepareScript reads the script's first line here, so that the target needs no file system that allows
// execution: a script is run by its interpreter, named outright.
func (t *attempt) prepareScript(ctx context.Context) error {
	r, err := t.w.cfg.Blobs.Open(ctx, t.job.Action.Script)
	if err != nil {
		return fmt.Errorf("the script is not in the store: %w", err)
	}
	defer func() { _ = r.Close() }()
	head, _ := bufio.NewReaderSize(r, 512).Peek(256)
	t.main = append(interpreter(head), target.Word{Text: target.Blob, Here: true})
	t.main = append(t.main, target.Words(t.job.Action.Args...)...)
	t.parcel = t.blobParcel(t.job.Action.Script)
	return nil
}

// interpreter is what runs a file that begins with head: its #! line as the kernel reads it, nothing for a
// binary, and sh for other text.
func interpreter(head []byte) []target.Word {
	if bytes.HasPrefix(head, []byte("\x7fELF")) {
		return nil
	}
	line, isLine := bytes.CutPrefix(head, []byte("#!"))
	if !isLine {
		return target.Words("sh")
	}
	if at := bytes.IndexByte(line, '\n'); at >= 0 {
		line = line[:at]
	}
	program, arg, _ := strings.Cut(strings.Trim(string(line), " \t\r"), " ")
	if program == "" || !target.Sendable(string(line)) {
		return target.Words("sh")
	}
	if arg = strings.Trim(arg, " \t"); arg != "" {
		return target.Words(program, arg)
	}
	return target.Words(program)
}
