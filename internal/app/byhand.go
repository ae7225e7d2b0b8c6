package app

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/front/cli"
	"sluice/internal/run/control"
	"sluice/internal/run/drain"
	"sluice/internal/run/secrets"
	"sluice/internal/run/serving"
)

// byHand is what the command line does at balancers.
type byHand struct{ *serving.Serving }

func (b byHand) Change(ctx context.Context, of []sluice.Balancing, wanted sluice.ServerState, l cli.BalancerLimits,
	say func(text string, changed *sluice.BalancerChanged)) error {
	return b.Serving.Change(ctx, of, wanted, l.Room, l.Drain, func(n drain.Note) { say(n.Balancer+": "+n.Text, n.Changed) })
}

// balancers reaches balancers from this machine.
func (l *Local) balancers(s control.Secrets) (cli.Balancers, func() error, error) {
	if err := guard(s); err != nil {
		return nil, nil, err
	}
	keeper := secrets.New(secrets.Of{Login: s.Password, Sudo: s.Sudo, Passphrase: s.Passphrase, PrivateKey: s.PrivateKey})
	ssh, err := l.ssh(keeper)
	if err != nil {
		keeper.Wipe()
		return nil, nil, err
	}
	local := localexec.New(localexec.Config{Env: l.Environ})
	closing := func() error {
		keeper.Wipe()
		return errors.Join(ssh.Close(), local.Close())
	}
	return byHand{newServing(over(l.Over, ssh), local, keeper)}, closing, nil
}
