package webui_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/lab/browser"
)

// jobs is how many jobs there are.
func (s *stage) jobs() []api.Job {
	s.t.Helper()
	list, err := s.client.Jobs(s.t.Context(), client.JobsQuery{})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// TestNewJob: a job is made as a person makes it: hosts by an expression, a command, the plan as a picture, a rehearsal,
// the same as a command line, the question that the fleet wants, and Run, once.
func TestNewJob(t *testing.T) {
	s := newStage(t, strings.Replace(appFleet, "pause: 10m, approve: true", "pause: 10ms", 1))
	b, d := s.visit("new/default?targets=$app.web")
	b.Sees("10 hosts")
	b.Sees("What is to run is not said yet.")
	b.Accessible()
	b.Type("textbox", "Shell text", "sim 10ms 0")
	b.Type("textbox", "max parallel", "4")

	// The picture says what the plan says.
	want := api.Submit{Namespace: "default", Targets: "$app.web", Command: "sim 10ms 0", Options: api.Options{MaxParallel: "4"}}
	p, err := s.client.Plan(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	b.Sees("max-parallel")
	var stages []string
	for _, tr := range p.Tracks {
		for _, st := range tr.Stages {
			word := "hosts"
			if st.Count == 1 {
				word = "host"
			}
			stages = append(stages, fmt.Sprintf("%s %d %s", st.Name, st.Count, word))
		}
	}
	if got := browser.Eval[string](b, `[...document.querySelectorAll('.plan-stage')].map((s) => s.querySelector('.plan-name').innerText + ' ' + s.querySelector('.num').innerText).join(', ')`); got != strings.Join(stages, ", ") {
		t.Errorf("the picture has %s, the plan %s", got, strings.Join(stages, ", "))
	}
	var limits []string
	for _, c := range p.Constraints {
		limits = append(limits, fmt.Sprintf("%s %s %d %d %d %d", c.Group, c.Limit, c.Capacity, c.Out, c.Targets, c.Members))
	}
	if got := browser.Eval[string](b, `[...document.querySelectorAll('[aria-label=Constraints] tbody tr')].map((r) => [...r.cells].map((c) => c.innerText).join(' ')).join(', ')`); got != strings.Join(limits, ", ") {
		t.Errorf("limits %s, want %s", got, strings.Join(limits, ", "))
	}
	b.Sees("on if at most 1 host failed")
	b.Until(`document.querySelector('[aria-label="The command line"]').innerText === ` + fmt.Sprintf("%q", p.CommandLine))
	b.Until(`document.querySelector('[aria-label="The call"]').innerText.includes('"command":"sim 10ms 0"')`)

	// The rehearsal: without failures it succeeds; with many it halts, and says where and why.
	b.Sees("succeeds")
	everywhere(b, "new")
	browser.Eval[bool](b, `(document.querySelector('[aria-label=Plan]').scrollIntoView(), true)`)
	b.Keep("new-plan")
	browser.Eval[bool](b, `(document.querySelector('input[type=range]').focus(), true)`)
	b.Keys("End")
	b.Until(`document.querySelector('input[type=range]').value === '50'`)
	r, err := s.client.Rehearse(t.Context(), api.Rehearse{Submit: want, Rehearsal: api.Pretence{Fail: "50%", Jitter: "20%", Duration: "30s", Seed: 1}})
	if err != nil || r.Halted == nil {
		t.Fatalf("%+v, error %v", r, err)
	}
	b.Sees(r.Halted.Reason)
	b.Sees(fmt.Sprintf("%d not started", r.NotStarted))
	b.Accessible()
	browser.Eval[bool](b, `(document.querySelector('[aria-label=Rehearsal]').scrollIntoView(), true)`)
	everywhere(b, "new-rehearsal")

	// Loading the page again loses nothing, and makes no job.
	browser.Eval[bool](b, `(globalThis.before = true, setTimeout(() => location.reload()), true)`)
	b.Until(`!globalThis.before && document.querySelector('textarea').value === 'sim 10ms 0'`)
	b.Sees("10 hosts in 3 stages")
	b.SeesNot("The plan is being made.")
	if n := len(s.jobs()); n != 0 {
		t.Fatalf("%d jobs", n)
	}

	// Above the limit of the fleet it asks, and the number has to be typed.
	b.Click("button", "Run on 10 hosts")
	b.Sees("10 hosts are more than 5, above which this fleet asks")
	everywhere(b, "new-asks")
	b.Type("textbox", "Type 10 to confirm", "9")
	b.Keys("Enter")
	b.Has("dialog", "Run this job?")
	b.Type("textbox", "Type 10 to confirm", "10")
	b.Keys("Enter", "Enter")
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname)`)
	jobs := s.jobs()
	if len(jobs) != 1 || jobs[0].Command != "sim 10ms 0" || jobs[0].Targets != 10 {
		t.Fatalf("%+v", jobs)
	}

	// Back, and again: it is the job that is there; another like it has another id.
	browser.Eval[bool](b, `(setTimeout(() => history.back()), true)`)
	b.Sees("This was submitted as job " + string(jobs[0].ID))
	b.Sees("It was submitted already.")
	b.Accessible()
	b.Click("button", "Make another like it")
	b.SeesNot("This was submitted")
	b.SeesNot("The plan is being made.")
	b.Click("button", "Run on 10 hosts")
	b.Type("textbox", "Type 10 to confirm", "10")
	b.Click("button", "Run on 10 hosts")
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname) && !location.pathname.endsWith('` + string(jobs[0].ID) + `')`)
	if n := len(s.jobs()); n != 2 {
		t.Errorf("%d jobs", n)
	}
	b.Open(d.URL + "jobs/" + string(jobs[0].ID))
	b.Click("link", "Run again")
	b.Until(`document.querySelector('textarea').value === 'sim 10ms 0' && document.querySelector('.expression [role=combobox]').value === '$app.web'`)
	b.Until(`[...document.querySelectorAll('input')].some((i) => i.value === '4')`)
}

// TestNewJobConflict: a fleet that changed since the plan was looked at stops the job; the plan is looked at again.
func TestNewJobConflict(t *testing.T) {
	s := newStage(t, "tag:\n  web: [\"web[1-4]\"]\nconstraint:\n  $web: 1\n")
	b, _ := s.visit("new?targets=all")
	b.Type("textbox", "Shell text", "sim 1ms 0")
	b.Sees("sluice run")
	b.Has("button", "Run on 4 hosts")
	b.SeesNot("The plan is being made.")
	s.apply("default", "tag:\n  web: [\"web[1-4]\"]\nconstraint:\n  $web: 3\n")
	b.Click("button", "Run on 4 hosts")
	b.Sees("the fleet of default was changed since this was planned; nothing was done")
	b.Accessible()
	if n := len(s.jobs()); n != 0 {
		t.Fatalf("%d jobs", n)
	}
	b.SeesNot("The page looks whether it was submitted.")
	b.Click("button", "Look at the plan again")
	b.Until(`[...document.querySelectorAll('[aria-label=Constraints] tbody tr')].some((r) => r.cells[2].innerText === '3')`)
	b.Click("button", "Run on 4 hosts")
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname)`)
	if n := len(s.jobs()); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

// TestNewJobByKeys: on a phone, with the keyboard alone; a wrong expression and a secret are said; who may not is told why.
func TestNewJobByKeys(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	b, _ := s.visit("new")
	b.Size(390, 844, true)
	b.Has("combobox", "Hosts")
	browser.Eval[bool](b, `(document.querySelector('.expression [role=combobox]').focus(), true)`)
	b.Keys("$", "w", "e", "b")
	b.Sees("2 hosts")
	b.Keys("Escape", "Tab", "Tab")
	if f := b.Focused(); f != "Shell text" {
		t.Errorf("the focus is on %q", f)
	}
	b.Keys("s", "i", "m", "Space", "1", "m", "s")
	b.Sees("-- 'sim 1ms'")
	b.Accessible()
	b.Click("button", "More options")
	b.Click("checkbox", "a password for sudo")
	b.Sees("This job needs a secret, and a page has none")
	b.Sees("--ask-sudo-password")
	b.Accessible()
	b.Click("button", "Run on 2 hosts")
	b.Click("checkbox", "a password for sudo")
	b.SeesNot("This job needs a secret")
	b.SeesNot("The plan is being made.")
	browser.Eval[bool](b, `([...document.querySelectorAll('button')].find((x) => x.innerText === 'Run on 2 hosts').focus(), true)`)
	if n := len(s.jobs()); n != 0 {
		t.Fatalf("%d jobs", n)
	}
	b.Keys("Enter")
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname)`)

	viewer := s.door("", s.person("vera", sluice.Grant{Role: "viewer"}))
	v := browser.New(t)
	v.Open(viewer.URL + "new?targets=all")
	v.Type("textbox", "Shell text", "sim 1ms 0")
	v.Sees("sluice run")
	v.Click("button", "Run on 2 hosts")
	v.Sees("vera may not do job.submit")
	v.Accessible()
	if n := len(s.jobs()); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

// TestNewJobLostAnswer: where the job arrives and the answer to it is lost, the page finds it; nothing makes a second one.
func TestNewJobLostAnswer(t *testing.T) {
	s := newStage(t, "")
	d := s.door("", s.token)
	to, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	to.Path = ""
	proxy := httputil.NewSingleHostReverseProxy(to)
	var lost, asked atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/jobs" {
			proxy.ServeHTTP(w, r)
			return
		}
		asked.Add(1)
		if lost.CompareAndSwap(0, 1) {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			w.Header().Set("Content-Length", "1000") // a browser asks again by itself where nothing was answered at all
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	b := browser.New(t)
	b.Open(front.URL + "/ui/new")
	b.Type("combobox", "Hosts", "web[1-3]")
	b.Sees("No fleet was applied here")
	b.Type("textbox", "Shell text", "sim 1ms 0")
	b.Sees("sluice run -w 'web[1-3]'")
	b.SeesNot("The plan is being made.")
	b.Click("button", "Run on 3 hosts")
	b.Sees("This was submitted as job ")
	jobs := s.jobs()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs", len(jobs))
	}
	b.Sees(string(jobs[0].ID))
	b.SeesNot("The job was not submitted")
	b.SeesNot("not known whether")
	b.Click("button", "Run on 3 hosts")
	b.Sees("It was submitted already.")
	// Whoever presses before the page knows asks for the same job. The page keeps what it knows a little later and when it is left, so both are stopped.
	browser.Eval[bool](b, `(globalThis.before = true, addEventListener('pagehide', (e) => e.stopImmediatePropagation(), true), history.replaceState({job: {...history.state.job, sent: false}}, ''), history.replaceState = () => {}, setTimeout(() => location.reload()), true)`)
	b.Until(`!globalThis.before && document.querySelector('textarea').value === 'sim 1ms 0'`)
	b.Sees("sluice run -w 'web[1-3]'")
	b.SeesNot("The plan is being made.")
	b.Click("button", "Run on 3 hosts")
	b.Until(`location.pathname.endsWith('/jobs/` + string(jobs[0].ID) + `')`)
	if n := len(s.jobs()); n != 1 || asked.Load() != 2 {
		t.Errorf("%d jobs, asked for %d times", n, asked.Load())
	}
}

// TestNewJobOnce: pressed twice, and sent twice with the answer to the first on its way, it is one job.
func TestNewJobOnce(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	b, d := s.visit("new?targets=all")
	b.Type("textbox", "Shell text", "sim 1ms 0")
	b.Sees("sluice run")
	b.SeesNot("The plan is being made.")
	browser.Eval[bool](b, `((x) => { x.click(); x.click(); x.click(); return true; })([...document.querySelectorAll('button')].find((x) => x.innerText === 'Run on 2 hosts'))`)
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname)`)
	if n, asked := len(s.jobs()), d.count("POST /api/v1/jobs"); n != 1 || asked != 1 {
		t.Errorf("%d jobs, asked for %d times", n, asked)
	}
}

// TestNewJobOfAnother: where a job is there already with the id of this one, and is another, such as before its text was changed,
// the page leads to it and takes a new id only when it is told to.
func TestNewJobOfAnother(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	first := string(s.run("all", "sim 2ms 0"))
	b, _ := s.visit("new/default?targets=all")
	b.Type("textbox", "Shell text", "sim 1ms 0")
	b.Until(`history.state?.job?.draft.command === 'sim 1ms 0'`)
	browser.Eval[bool](b, `(globalThis.before = true, history.replaceState({job: {...history.state.job, id: '`+first+`'}}, ''), setTimeout(() => location.reload()), true)`)
	b.Until(`!globalThis.before && document.querySelector('textarea')?.value === 'sim 1ms 0'`)
	b.Sees("sluice run")
	b.SeesNot("The plan is being made.")
	b.Click("button", "Run on 2 hosts")
	b.Sees("This was submitted as job " + first)
	b.Sees("It was submitted already.")
	b.Click("button", "Make another like it")
	b.SeesNot("It was submitted already.")
	b.Click("button", "Run on 2 hosts")
	b.Until(`/\/jobs\/[0-9a-z]{12}$/.test(location.pathname) && !location.pathname.endsWith('` + first + `')`)
	if n := len(s.jobs()); n != 2 {
		t.Errorf("%d jobs", n)
	}
}
