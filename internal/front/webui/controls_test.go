package webui_test

import (
	"context"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/browser"
)

// five hosts, of which two may be out at once.
const five = "tag:\n  web: ['web[1-5]']\nconstraint:\n  $web: 2\n"

// press clicks a button as somebody does who is in a hurry: twice, before anything could be drawn.
func press(b *browser.Tab, name string) {
	b.Has("button", name)
	browser.Eval[bool](b, `(() => { const e = document.querySelector('[data-pointed]'); e.click(); e.click(); return true; })()`)
}

// long submits a job that goes on until the test ends: the hosts end when nothing runs on them.
func (s *stage) long(targets string) sluice.JobID {
	id := s.run(targets, "sim 60m 0")
	s.t.Cleanup(func() {
		for over := false; !over; {
			_, _ = s.client.Cancel(context.Background(), id, "the test is over") // may be over
			j, err := s.client.Job(context.Background(), string(id))
			over = err != nil || j.Running == 0
		}
	})
	return id
}

// await waits until a job is in a state.
func (s *stage) await(id sluice.JobID, state string) (j api.Job) {
	s.t.Helper()
	for j.State != state {
		if s.t.Context().Err() != nil {
			s.t.Fatalf("the job is %s, not %s", j.State, state)
		}
		var err error
		if j, err = s.client.Job(s.t.Context(), string(id)); err != nil {
			s.t.Fatal(err)
		}
	}
	return j
}

// events counts those of a type in a job.
func (s *stage) events(id sluice.JobID, of string) (n int) {
	s.t.Helper()
	list, err := s.client.Events(s.t.Context(), string(id), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list {
		if e.Body.Type() == of {
			n++
		}
	}
	return n
}

// TestHalt: a halt is one click, once, without a question; or a key, unless it is turned off.
func TestHalt(t *testing.T) {
	s := newStage(t, five)
	id := s.long("all")
	b, d := s.visit("jobs/" + string(id))
	press(b, "Halt")
	b.Sees("Halted: nothing more starts")
	if n := d.count("POST /api/v1/jobs/" + string(id) + "/halt"); n != 1 {
		t.Errorf("two clicks, %d halts", n)
	}
	b.Click("button", "Resume") // what runs goes on: it is being halted
	b.Has("dialog", "Resume this job?")
	b.Sees("Nothing starts at once.")
	b.Sees("3 hosts wait: $web has no room")
	b.Accessible()
	b.Click("button", "Resume")
	b.Sees("Resumed.")
	b.Has("button", "Halt")
	b.Click("checkbox", "h halts")
	b.Until(`!document.querySelector('[aria-keyshortcuts]')`)
	b.Keys("h")
	b.Click("checkbox", "h halts")
	b.Until(`document.querySelector('[aria-keyshortcuts]')`)
	if n := s.events(id, "job.halting"); n != 1 { // a halt takes less time than the click that came after the key
		t.Errorf("the key is turned off, and there are %d halts", n)
	}
	d.Shut(true)
	b.Keys("h")
	b.Sees("No answer came, and it may have been done") // nothing is made up
	d.Shut(false)
	b.Keys("h")
	b.Sees("Halted: nothing more starts")
	if n := s.events(id, "job.halting"); n != 2 {
		t.Errorf("the key was pressed, and there are %d halts", n)
	}
}

// TestActsSayWhatTheyDo: each act says what follows, and that follows.
func TestActsSayWhatTheyDo(t *testing.T) {
	s := newStage(t, five+"confirm_above: 4\n")
	id := s.run("all", "sim 1ms 3")
	s.await(id, "halted")
	b, d := s.visit("jobs/" + string(id))
	b.Click("button", "Resume")
	b.Sees("The job is halted at once: $web has no room")
	if _, err := s.client.ChangeHosts(t.Context(), "default", "release", []sluice.Host{"web1"}, "mended"); err != nil {
		t.Fatal(err)
	}
	b.Sees("web3 starts at once.") // by itself
	b.Keep("controls-resume")
	b.Click("button", "Leave it")

	b.Click("button", "Skip")
	b.Type("textbox", "Hosts to leave out", "web5")
	b.Sees("The job need not run on web5.")
	press(b, "Skip")
	b.Sees("A reason is wanted.")
	b.Type("textbox", "Reason", "being rebuilt")
	press(b, "Skip")
	b.Sees("Skipped.")
	if n := s.events(id, "task.finished"); n != 3 { // two that failed, and this
		t.Errorf("%d outcomes", n)
	}

	b.Click("button", "Retry")
	b.Sees("2 hosts are to be tried again: web1, web2.")
	// Somebody else is quicker, and what is on the screen is not so any more.
	browser.Eval[bool](b, `fetch('../../api/v1/jobs/`+string(id)+`/resume', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}).then((a) => {
	  document.querySelector('dialog button[type=submit]').click(); return a.ok; })`)
	b.Sees("changed since you looked")
	b.Sees("decide again")
	b.Accessible()
	b.Keep("controls-changed")
	b.Click("button", "Leave it")
	s.await(id, "halted")

	b.Click("button", "Cancel")
	b.Sees("never start")
	b.Type("textbox", "Reason", "enough")
	press(b, "Cancel")
	b.Sees("Cancelled.")
	s.await(id, "cancelled")
	if n := d.count("POST /api/v1/jobs/" + string(id) + "/cancel"); n != 1 {
		t.Errorf("two clicks, %d cancels", n)
	}
	b.SeesNot("Halt")
}

// TestTypedConfirmation: above the fleet's limit, the number of hosts is to be typed. A halt is never asked about.
func TestTypedConfirmation(t *testing.T) {
	s := newStage(t, five+"confirm_above: 4\n")
	id := s.long("all")
	b, _ := s.visit("jobs/" + string(id))
	b.Click("button", "Cancel")
	b.Sees("this fleet asks above 4: type 5")
	press(b, "Cancel")
	b.Type("textbox", "It is about 5 hosts", "4")
	press(b, "Cancel")
	b.Sees("Type 5 first.")
	if n := s.events(id, "job.cancelling"); n != 0 {
		t.Fatal("it was cancelled without being confirmed")
	}
	b.Size(390, 844, true)
	b.Scheme("dark")
	b.Accessible()
	b.Keep("controls-confirm")
	b.Type("textbox", "It is about 5 hosts", "5")
	press(b, "Cancel")
	b.Sees("Cancelled.")
	s.await(id, "cancelled")
}

// TestControlsOfOthers: what one may not do is there, and says why; so is what another one has to do.
func TestControlsOfOthers(t *testing.T) {
	s := newStage(t, five+"approval: {by: another, start: true}\n")
	id := s.long("all")
	vera := browser.New(t)
	vera.Open(s.door("", s.person("vera", sluice.Grant{Role: "viewer"})).URL + "jobs/" + string(id))
	vera.Until(`document.querySelector('.controls button.stop')?.getAttribute('aria-disabled') === 'true'`)
	press(vera, "Halt")
	vera.Sees("job.halt")
	vera.Accessible()
	vera.Keep("controls-viewer")

	b, _ := s.visit("jobs/" + string(id))
	b.Has("button", "Approve")
	b.Sees("here another one approves")
	b.Until(`[...document.querySelectorAll('.controls button')].find((e) => e.textContent === 'Approve').getAttribute('aria-disabled') === 'true'`)

	otto := browser.New(t)
	otto.Open(s.door("", s.person("otto", sluice.Grant{Role: "approver"})).URL + "jobs/" + string(id))
	otto.Click("button", "Approve")
	otto.Sees("2 hosts start at once: web1, web2.")
	press(otto, "Approve")
	otto.Sees("Approved.")
	if j := s.await(id, "running"); j.Running > 2 {
		t.Errorf("%d run", j.Running)
	}
	if n := s.events(id, "gate.passed"); n != 1 {
		t.Errorf("it was approved %d times", n)
	}
}

// TestControlsByKeyboard: a dialog takes the focus, keeps it, and gives it back.
func TestControlsByKeyboard(t *testing.T) {
	s := newStage(t, five)
	id := s.long("all")
	b, _ := s.visit("jobs/" + string(id))
	b.Has("button", "Cancel")
	for n := 0; !strings.HasPrefix(b.Focused(), "Cancel"); n++ {
		if n > 40 {
			t.Fatalf("Cancel cannot be reached: the focus is at %q", b.Focused())
		}
		b.Keys("Tab")
	}
	b.Keys("Enter")
	b.Sees("What runs on 2 hosts is killed")
	for range 6 {
		b.Keys("Tab")
		b.Until(`document.activeElement === document.body || document.activeElement.closest('dialog')`)
	}
	b.Keys("h") // may go into the reason, but halts nothing
	b.Keys("Escape")
	b.Until(`!document.querySelector('dialog') && document.activeElement.textContent === 'Cancel'`)
	if n := s.events(id, "job.halting"); n != 0 {
		t.Error("a key in a dialog halted the job")
	}
	b.Size(390, 844, true)
	b.Until(`(() => { const r = [...document.querySelectorAll('.controls button')].find((e) => e.textContent === 'Halt').getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; })()`)
	b.Accessible()
	b.Keep("controls-phone")
}

// TestHostControls: hosts are held, released, retired and returned, with a reason, and what that starts is said.
func TestHostControls(t *testing.T) {
	s := newStage(t, five)
	if _, err := s.client.ChangeHosts(t.Context(), "default", "hold", []sluice.Host{"web4"}, "repair"); err != nil {
		t.Fatal(err)
	}
	id := s.long("all")
	b, _ := s.visit("hosts/default/web4")
	b.Sees("held by an operator")
	b.Click("button", "Release")
	b.Sees("web4 counts as in service again.")
	b.Sees("Job " + string(id) + " starts on 1 host at once: web2.")
	b.Type("textbox", "Reason", "mended")
	b.Accessible()
	press(b, "Release")
	b.Sees("Released.")
	b.SeesNot("held by an operator")
	for j := (api.Job{}); j.Running != 2; { // what was told happens
		var err error
		if j, err = s.client.Job(t.Context(), string(id)); err != nil {
			t.Fatal(err)
		}
	}
}
