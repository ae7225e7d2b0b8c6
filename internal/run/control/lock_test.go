package control_test

import (
	"testing"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// wants submits a job on all hosts that wants a lock.
func (d *desk) wants(f *sluice.Fleet, o sluice.Options, change func(*control.Draft)) (sluice.JobID, error) {
	d.t.Helper()
	draft, err := d.Prepare(d.t.Context(), control.Request{Fleet: f, Targets: f.Hosts, Command: "true", Options: o})
	if err != nil {
		d.t.Fatal(err)
	}
	if change != nil {
		change(draft)
	}
	_, err = d.Submit(d.t.Context(), draft)
	return draft.Job.ID, err
}

func must(t *testing.T, id sluice.JobID, err error) sluice.JobID {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestALockIsHeldToTheEnd: a halted job has it still, and a job that is over is not opened again behind the back of who has it now.
func TestALockIsHeldToTheEnd(t *testing.T) {
	d, ctx, f := newDesk(t), t.Context(), fleet(4)
	lock := sluice.Options{Lock: "hello/production"}
	id, err := d.wants(f, lock, nil)
	first := must(t, id, err)
	d.play(first, nil)
	id, err = d.wants(f, lock, nil)
	second := must(t, id, err)
	if _, err := d.Halt(ctx, first, "lunch"); err != nil {
		t.Fatal(err)
	}
	d.play(first, map[sluice.Host]sluice.Outcome{"h0": sluice.Failed, "h1": sluice.Succeeded})
	d.play(second, nil)
	if i := d.state(second); i.State != schedule.Waiting || i.Running > 0 {
		t.Fatalf("%+v", i)
	}
	why, err := d.Why(ctx, string(second), "")
	if err != nil || len(why) != 4 || why[0].Rule != sluice.RuleLock || why[0].Text != "job "+string(first)+" of ann has the lock hello/production until it ends" {
		t.Errorf("%+v %v", why, err)
	}
	if _, err := d.Cancel(ctx, first, ""); err != nil {
		t.Fatal(err)
	}
	d.play(first, nil)
	d.play(second, nil)
	if i := d.state(second); i.Running == 0 {
		t.Fatalf("%+v", i)
	}
	_, err = d.Retry(ctx, first, nil, nil)
	refused(t, err, sluice.Conflict, "job "+string(second)+" of ann has the lock")
	d.sound()
}

// TestSupersede: the jobs that have the lock are cancelled in the same step, those that wait for it, too, and none that nobody looked at.
func TestSupersede(t *testing.T) {
	d, f := newDesk(t), fleet(2)
	o := sluice.Options{Lock: "one"}
	var before []sluice.JobID
	for range 2 {
		id, err := d.wants(f, o, nil)
		before = append(before, must(t, id, err))
	}
	other, err := d.wants(f, sluice.Options{Lock: "two"}, nil)
	must(t, other, err)
	d.play(before[0], nil)
	o.Supersede = true
	_, err = d.wants(f, o, nil)
	refused(t, err, sluice.Conflict, "nobody is there to end what runs of it")
	release, err := d.Drivers.Claim(before[0])
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = d.wants(f, o, func(draft *control.Draft) { draft.Supersedes = before[:1] })
	refused(t, err, sluice.Conflict, "job "+string(before[1])+" of ann wants the lock one, too")
	id, err := d.wants(f, o, nil)
	must(t, id, err)
	d.play(before[0], map[sluice.Host]sluice.Outcome{"h0": sluice.Cancelled, "h1": sluice.Cancelled})
	for _, b := range before {
		if i := d.state(b); i.State != schedule.Cancelled {
			t.Errorf("%+v", i)
		}
	}
	if i := d.state(other); i.Cancelling {
		t.Errorf("%+v", i)
	}
	d.play(id, nil)
	if i := d.state(id); i.Running == 0 {
		t.Errorf("%+v: %s", i, i.Why)
	}
	d.sound()
}
