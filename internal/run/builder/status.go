package builder

import (
	"context"
	"errors"
	"time"

	"sluice/internal/core/build"
)

const (
	tries    = 3
	between  = time.Second
	overall  = 30 * time.Second // that telling the forge may take, whatever it does
	atEnd    = 5 * time.Second  // and where somebody waits for the end
	tooDirty = "what was built is not the commit"
)

// say tells the forge. That it cannot be told does not fail a build, and is said.
func (w *building) say(ctx context.Context, state build.State, description string) {
	s := w.app.Build.Status
	if s == nil {
		return
	}
	if wrong := w.sent(ctx, *s, state, description); wrong != "" {
		w.report.Unsaid = wrong
		w.tell("the forge was not told %q: %s", state, wrong)
	} else {
		w.report.Unsaid = ""
	}
}

func (w *building) sent(ctx context.Context, s build.Status, state build.State, description string) (wrong string) {
	if len(w.at.Dirty()) > 0 {
		return tooDirty
	}
	token := w.variable(s.TokenEnv)
	if s.TokenEnv != "" && token == "" {
		return "the variable " + s.TokenEnv + " is not set, and should have the token"
	}
	r, err := s.Tell(build.News{App: w.report.App, Target: w.report.Target, Version: w.report.Version, Commit: w.at.Commit, Branch: w.at.Branch,
		State: state, Description: description, Link: w.link()}, token)
	if err != nil {
		return err.Error()
	}
	most := overall
	if ctx.Err() != nil {
		most = atEnd
	}
	if state != build.Pending { // a build that is called off has failed, and that is to be told, too
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for try := 1; ; try++ {
		again, err := w.Post(ctx, r)
		switch {
		case err == nil:
			return ""
		case !again || try == tries:
			return err.Error()
		}
		w.pause(ctx, between<<(try-1))
	}
}

func (w *building) pause(ctx context.Context, d time.Duration) {
	if w.Pause != nil {
		w.Pause(ctx, d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// link is the address of the build's own page, where the machine that builds has one.
func (w *building) link() string {
	if s := w.app.Build.Status; s != nil {
		return w.variable(s.LinkEnv)
	}
	return ""
}

// why a build failed, for the forge: the script's output stays here, as it may have in it what is not for everybody.
func why(ctx context.Context, err error) string {
	var f *build.Failed
	switch {
	case errors.As(err, &f):
		return f.Part + " failed: it " + f.How
	case ctx.Err() != nil:
		return "interrupted"
	}
	return "it could not be built"
}
