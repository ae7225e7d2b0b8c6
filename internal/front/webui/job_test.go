package webui_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/browser"
)

// legend is true on a page where the legend says many hosts are in a state.
func legend(state string, n int) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".legend button")].some((b) => b.innerText.replace(/\s+/g, " ").includes(%q) && b.querySelector("strong").innerText === %q)`, state, fmt.Sprint(n))
}

// TestJobPage: a job is right when it is opened in the middle, goes on by itself, waits at its gate, and ends; the same by grid
// and list, by stage and tag, by keyboard, and told in words.
func TestJobPage(t *testing.T) {
	s := newStage(t, shop)
	id := s.run("all", "deploy shop 4.2 # sim 30ms 0")
	b, d := s.visit("jobs/" + string(id))
	b.Has("heading", "deploy shop 4.2")
	b.Sees("waits for approval")
	b.Until(legend("succeeded", 1))
	b.Until(legend("waiting", 11))
	b.Sees("0 of 3 out")
	everywhere(b, "job-gate")
	other := b.Another()
	other.Open(d.URL + "jobs/" + string(id))
	other.Until(legend("succeeded", 1))
	if n := d.count("GET /api/v1/jobs/" + string(id) + "/events"); n != 1 {
		t.Errorf("%d streams for two tabs", n)
	}
	if _, err := s.client.Approve(t.Context(), id, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, tab := range []*browser.Tab{b, other} {
		tab.Until(legend("succeeded", 12))
		tab.Until(`document.querySelector(".head .mark").innerText.includes("succeeded")`)
		tab.Sees("It is over, and takes up no room")
	}
	b.Click("button", "List")
	b.Until(`new URLSearchParams(location.search).get("as") === "list"`)
	b.Sees("web12")
	b.Accessible()
	b.Click("button", "Grid")
	browser.Eval[bool](b, `(document.querySelector(".grid-list").focus(), true)`)
	b.Keys("Home", "ArrowDown") // to the next section, and back
	b.Until(`document.querySelector("[role=option]").innerText.startsWith("web02, succeeded")`)
	b.Keys("ArrowUp")
	b.Until(`document.querySelector("[role=option]").innerText.startsWith("web01, succeeded")`)
	b.Keys("ArrowRight")
	b.Until(`document.querySelector("[role=option]").innerText.startsWith("web02, succeeded")`)
	b.Keys("Enter")
	b.Until(`location.pathname.endsWith("/ui/jobs/` + string(id) + `/hosts/web02")`)
}

// TestJobInTheMiddle: what was before the page was opened is there at once, what comes then follows without a gap, and a line that
// is lost in between leaves none either.
func TestJobInTheMiddle(t *testing.T) {
	s := newStage(t, "tag: {colo: {north: ['h[001-150]'], south: ['h[151-300]']}}\nconstraint: {$colo: 4}\n")
	id := s.run("all", "sim 400ms 0")
	b, d := s.visit("jobs/" + string(id) + "?by=$colo")
	b.Until(`+document.querySelector('.legend [data-state="succeeded"] strong')?.innerText > 20`)
	b.Sees("$colo.north")
	b.Sees("of 4 out")
	everywhere(b, "job")
	d.Shut(true)
	b.Sees("No connection")
	b.Keep("job-lost")
	d.Shut(false)
	b.Until(legend("succeeded", 300))
	b.SeesNot("No connection")
	if text := browser.Eval[string](b, `document.querySelector(".legend").innerText`); strings.Contains(text, "waiting") || strings.Contains(text, "running") {
		t.Errorf("it says %q at the end", text)
	}
	b.Until(`document.querySelector(".timeline canvas").getAttribute("aria-label").includes("Done: 300")`)
	b.Open(d.URL + "jobs/" + string(id) + "?group=$colo") // a tag that is no group of a constraint, of a job without any by now
	b.Until(`document.querySelector(".timeline canvas")?.getAttribute("aria-label").includes("Done: 300")`)
	b.Size(390, 420, true)
	browser.Eval[bool](b, `(document.querySelector(".grid-list").focus(), true)`)
	b.Keys("End")
	b.Until(`(() => { const c = document.querySelector(".grid-cursor")?.getBoundingClientRect(), l = document.querySelector(".grid-list").getBoundingClientRect();
		return document.querySelector("[role=option]").innerText.startsWith("h300") && c && c.top >= l.top - 1 && c.bottom <= l.bottom + 1; })()`)
}

// TestHaltedJob: a job that halts says why, and goes on on the page when somebody resumes it.
func TestHaltedJob(t *testing.T) {
	s := newStage(t, "tag: {web: ['w[1-6]']}\nconstraint: {$web: 2}\n")
	b, d := s.visit("")
	none := sluice.Count(0)
	j, err := s.client.Submit(t.Context(), api.Submit{Namespace: "default", Targets: "all", Command: "sim 20ms 3", Options: api.Options{MaxFailures: none.String()}})
	if err != nil {
		t.Fatal(err)
	}
	b.Open(d.URL + "jobs/" + string(j.ID))
	b.Sees("Halted:")
	b.Until(`document.querySelector(".head .mark").innerText.includes("halted")`)
	b.Sees("no room")
	everywhere(b, "job-halted")
	b.Click("button", "failed")
	b.Until(`new URLSearchParams(location.search).get("state") === "failed"`)
	more := sluice.Count(100)
	hosts, err := s.client.HostsOut(t.Context(), "default")
	if err != nil || len(hosts) == 0 {
		t.Fatalf("%v, %v", hosts, err)
	}
	var names []sluice.Host
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	if _, err := s.client.ChangeHosts(t.Context(), "default", "release", names, "looked at"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Resume(t.Context(), j.ID, &more); err != nil {
		t.Fatal(err)
	}
	b.Until(`+document.querySelector('.legend [data-state="failed"] strong').innerText > ` + fmt.Sprint(len(names)))
}

// TestTagCalledStage: hosts can be grouped by a tag of that name, too.
func TestTagCalledStage(t *testing.T) {
	s := newStage(t, "tag: {stage: {blue: [w1], green: [w2]}}\n")
	id := s.run("all", "sim 10ms 0")
	b, d := s.visit("jobs/" + string(id) + "?by=$stage")
	b.Until(`[...document.querySelectorAll(".grid-name")].map((p) => p.innerText).join().includes("$stage.green")`)
	b.Until(`document.querySelector(".job-hosts select").value === "$stage"`)
	b.Open(d.URL + "jobs/" + string(id))
	b.Until(`document.querySelector(".job-hosts select")?.value === "stage"`)
	if text := browser.Eval[string](b, `document.querySelector(".grid").innerText`); strings.Contains(text, "$stage") {
		t.Errorf("by stage it says %q", text)
	}
	if at := browser.Eval[string](b, `document.querySelector("a[href*='new/default']").href`); !strings.HasSuffix(at, "new/default?like="+string(id)) {
		t.Errorf("it is run again at %s", at)
	}
}

// TestCellsComeOneByOne: at a gate, where nothing is loaded anew, cells that changed one by one through a lost line are those of
// a page that is opened now.
func TestCellsComeOneByOne(t *testing.T) {
	s := newStage(t, "tag: {first: ['h[01-60]'], rest: ['h[61-64]']}\nconstraint: {$first: 4}\nsequence: [{target: $first, approve: true}, $rest]\n")
	id := s.run("all", "sim 200ms 0")
	b, d := s.visit("jobs/" + string(id))
	b.Until(`+document.querySelector('.legend [data-state="succeeded"] strong')?.innerText > 4`)
	d.Shut(true)
	b.Sees("No connection")
	d.Shut(false)
	b.Until(legend("succeeded", 60))
	b.Sees("waits for approval")
	if n := d.count("GET /api/v1/jobs/" + string(id) + "/board"); n != 1 {
		t.Errorf("the board was loaded %d times", n)
	}
	now := b.Another()
	now.Open(d.URL + "jobs/" + string(id))
	now.Until(legend("succeeded", 60))
	cells := `[...document.querySelectorAll(".grid canvas")].map((c) => c.toDataURL()).join()`
	now.Until(cells + `.length > 1000`)
	if was, is := browser.Eval[string](b, cells), browser.Eval[string](now, cells); was != is {
		t.Errorf("the cells are\n%s\nand shall be\n%s", was, is)
	}
}

// TestTriedAgain: a job that is over is followed again when somebody tries its hosts again.
func TestTriedAgain(t *testing.T) {
	s := newStage(t, "tag: {web: ['w[1-3]']}\n")
	id := s.run("all", "sim 6s 3")
	b, _ := s.visit("jobs/" + string(id))
	b.Until(`document.querySelector(".head .mark")?.innerText.includes("failed")`)
	b.Until(legend("failed", 3))
	if _, err := s.client.Retry(t.Context(), id, nil, nil); err != nil {
		t.Fatal(err)
	}
	b.Until(legend("running", 3))
	b.Until(legend("failed", 3))
}
