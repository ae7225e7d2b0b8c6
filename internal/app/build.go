package app

import (
	"context"
	"errors"
	"os"
	"runtime"

	"sluice/internal/adapter/forge"
	"sluice/internal/adapter/gitcheckout"
	"sluice/internal/adapter/shell"
	"sluice/internal/core/build"
	"sluice/internal/front/cli"
	"sluice/internal/run/builder"
)

// build builds what is in a checkout of this machine.
func (l *Local) build(ctx context.Context, o cli.BuildOrder) (build.Report, error) {
	// Scripts run as the same user, and are not to find in /proc what is in this process: the token of a server, the key that signs.
	if err := closeMemory(); err != nil {
		return build.Report{}, err
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil { // a machine may have none
		release = nil
	}
	b := &builder.Builder{
		Look: func(ctx context.Context, dir string) (build.Checkout, error) {
			s, err := gitcheckout.Look(ctx, dir)
			return build.Checkout(s), err
		},
		Tracked: gitcheckout.Tracked,
		Run: func(ctx context.Context, l builder.Line) (string, error) {
			err := shell.Run(ctx, shell.Line{Text: l.Text, Dir: l.Dir, Env: l.Env, Output: l.Output, Timeout: l.Timeout})
			var ended *shell.Ended
			if errors.As(err, &ended) {
				return ended.How, nil
			}
			return "", err
		},
		Post: func(ctx context.Context, r build.Request) (bool, error) {
			return forge.Post(ctx, r.URL, r.Header, r.Body)
		},
		Clock: l.Clock, Environ: l.Environ, Platform: build.Platform(runtime.GOOS, runtime.GOARCH, string(release)),
	}
	order := builder.Order{Dir: o.Dir, Version: o.Version, Target: o.Target, Dirty: o.Dirty, NoTest: o.NoTest, NoPush: o.NoPush, To: o.To,
		By: o.By, Signed: o.Signed, Sign: o.Sign, Output: o.Output, Tell: o.Tell, Progress: o.Progress}
	if o.Depot != nil {
		order.Depot = o.Depot
	}
	return b.Build(ctx, order)
}
