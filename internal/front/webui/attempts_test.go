package webui_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/browser"
)

// settled waits until a job has nothing to do any more.
func (s *stage) settled(id sluice.JobID) {
	s.t.Helper()
	for {
		j, err := s.client.Job(s.t.Context(), string(id))
		if err != nil {
			s.t.Fatal(err)
		}
		if j.State != "running" && j.State != "waiting" {
			return
		}
		select {
		case <-s.t.Context().Done():
			s.t.Fatal("the job goes on")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestAttemptsAreLinks: what each attempt printed can be had, and an address says which, to which stream; all of it by keys.
func TestAttemptsAreLinks(t *testing.T) {
	s := newLocalStage(t, "web1")
	once := filepath.Join(t.TempDir(), "once")
	id := s.does("web1", "mkdir "+once+" && { echo one; echo alas >&2; exit 4; }; echo two")
	s.settled(id)
	if _, err := s.client.Retry(t.Context(), id, []sluice.Host{"web1"}, nil); err != nil {
		t.Fatal(err)
	}
	b, d := s.visit("jobs/" + string(id) + "/hosts/web1")
	text := func(want string) {
		t.Helper()
		b.Until(fmt.Sprintf(`document.querySelector('.output-text').textContent === %q`, want))
	}
	text("two")
	everywhere(b, "jobhost-attempts")
	b.Click("link", "Attempt 1")
	text("one")
	b.Click("button", "stderr")
	text("alas")
	b.Until(`location.search === '?attempt=1&stream=stderr'`)
	b.Open(d.URL + "jobs/" + string(id) + "/hosts/web1?attempt=1&stream=stderr")
	text("alas")
	b.Until(`document.querySelector('.output-view')`)
	browser.Eval[bool](b, `document.querySelector('[aria-label="Stream"] button').focus() ?? true`)
	b.Keys("Enter")
	text("one")
	b.Click("link", "All of this host")
	b.Sees("Jobs on it")
	b.Sees("2 attempts")
	b.Click("link", "mkdir")
	text("two")
}

// TestOutputGoesOnAfterALostLine: a page whose line is cut says so, and shows what was printed meanwhile, once.
func TestOutputGoesOnAfterALostLine(t *testing.T) {
	s := newLocalStage(t, "web1")
	gate := filepath.Join(t.TempDir(), "gate")
	id := s.does("web1", "echo first; until [ -e "+gate+" ]; do sleep 0.1; done; echo second; until [ -e "+gate+"2 ]; do sleep 0.1; done")
	b, d := s.visit("jobs/" + string(id) + "/hosts/web1")
	lines := func(want string) {
		t.Helper()
		b.Until(fmt.Sprintf(`[...document.querySelectorAll('.output-text')].map((l) => l.textContent).join() === %q`, want))
	}
	lines("first")
	d.Shut(true)
	b.Sees("the server cannot be reached")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Shut(false)
	lines("first,second")
	b.SeesNot("the server cannot be reached")
	if err := os.WriteFile(gate+"2", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Sees("exit 0")
	lines("first,second")
}

// TestPartsAskSeldom: however often a job goes on, the parts of its page ask once a second, and show how it ended.
func TestPartsAskSeldom(t *testing.T) {
	s := newStage(t, "tag:\n  web: [\"web[1-3]\"]\n")
	id := s.run("all", "sim 1ms 3")
	s.settled(id)
	b, _ := s.visit("users")
	b.Sees("Users")
	browser.Eval[bool](b, `(async () => {
		const base = new URL('.', document.querySelector('script[src]').src);
		const {html, render} = await import(new URL('vendor/preact.js', base));
		const {Failures} = await import(new URL('part/failures.js', base));
		const at = document.createElement('section');
		document.getElementById('main').replaceChildren(at);
		let n = 0;
		window.draw = () => { render(html`+"`<${Failures} job=\""+string(id)+"\" version=${n++} />`"+`, at); return n; };
		window.draw();
		return true;
	})()`)
	b.Sees("exit 3")
	for range 200 {
		browser.Eval[int](b, `window.draw()`)
	}
	asked := `performance.getEntriesByType('resource').filter((e) => e.name.includes('/failures?')).map((e) => e.startTime)`
	b.Until(asked + `.length > 1`)
	took := browser.Eval[float64](b, asked+`.map((x, i, all) => i ? x - all[i - 1] : 1000).reduce((a, b) => Math.min(a, b))`)
	if took < 900 {
		t.Errorf("it asked twice in %.0f ms", took)
	}
}
