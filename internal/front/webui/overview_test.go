package webui_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"sluice"
	"sluice/internal/app"
	"sluice/internal/lab/browser"
)

const shop = `tag:
  colo:
    north: ["web[01-06]"]
    south: ["web[07-12]"]
  canary: [web01]
sequence:
  - {target: $canary, approve: true}
  - $colo
constraint:
  $colo: 50%
`

// TestOverviewIsLive: jobs come and go on by themselves, stand where they belong, and what needs a person is said first.
func TestOverviewIsLive(t *testing.T) {
	s := newStage(t, shop)
	b, d := s.visit("")
	b.Sees("There is no job to show yet")
	everywhere(b, "overview-empty")
	id := s.run("all", "deploy shop 4.2 # sim 20ms 0")
	b.Sees("deploy shop 4.2")
	b.Until(`document.querySelector('[aria-label="Jobs that need a person"]')?.innerText.includes("deploy shop 4.2")`)
	b.Sees("1 of 12 hosts done")
	if _, err := s.client.Approve(t.Context(), id, "", ""); err != nil {
		t.Fatal(err)
	}
	b.Until(`document.querySelector('[aria-label="Jobs that are over"]')?.innerText.includes("succeeded")`)
	s.run("web02", "reboot # sim 10ms 3")
	b.Until(`document.querySelector('section[aria-label="Out of service"]').innerText.includes("web02")`)
	s.run("web04, web05", "smartctl -t short # sim 10ms 0")
	s.run("all", "restart shop # sim 1s 2")
	slow := s.run("web03", "fsck # sim 60s 0")
	b.Sees("1 running")
	everywhere(b, "overview")
	if n := d.count("GET /api/v1/feed"); n != 1 {
		t.Errorf("%d streams were opened", n)
	}
	other := b.Another()
	other.Open(d.URL)
	other.Sees("fsck")
	if n := d.count("GET /api/v1/feed"); n != 1 {
		t.Errorf("%d streams were opened for two tabs", n)
	}
	if _, err := s.client.Cancel(t.Context(), slow, ""); err != nil {
		t.Fatal(err)
	}
	b.SeesNot("1 running")
	other.SeesNot("1 running")
}

// TestFiltersAreInTheAddress: what is asked for can be sent to somebody, and the way back works.
func TestFiltersAreInTheAddress(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1]\n  db: [db1]\n")
	s.run("web1", "uptime # sim 1ms 0")
	s.run("db1", "vacuum # sim 1ms 4")
	b, d := s.visit("")
	b.Sees("vacuum")
	b.Type("textbox", "Text", "upt")
	b.SeesNot("vacuum")
	b.Until(`new URLSearchParams(location.search).get("text") === "upt"`)
	b.Open(d.URL + "?tag=db")
	b.Sees("vacuum")
	b.SeesNot("uptime")
	b.Click("link", "All jobs")
	b.Until(`location.pathname.endsWith("/ui/jobs") && new URLSearchParams(location.search).get("tag") === "db"`)
	b.Sees("vacuum")
	everywhere(b, "jobs")
	b.Run(chromedp.NavigateBack())
	b.Until(`location.pathname.endsWith("/ui/")`)
	b.Open(d.URL + "?state=halted,waiting")
	b.Sees("No such job goes on")
	b.Open(d.URL + "jobs?tag=nosuch")
	b.Sees("There is no such job")
}

// TestManyJobs: of many jobs that wait the first are shown, with a link to the others; each row stays as it is when others change.
func TestManyJobs(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n")
	slow := s.run("web1", "fsck # sim 60s 0")
	for i := range 50 {
		s.run("web1", fmt.Sprintf("echo n%d.", i))
	}
	b, _ := s.visit("")
	b.Until(`document.querySelector('[aria-label="Jobs that wait"]')?.children.length === 40`)
	b.Sees("another task runs on the host: web1 (running)")
	b.Click("link", "and 10 more")
	b.Until(`new URLSearchParams(location.search).get("state") === "waiting"`)
	b.Sees("echo n49.")
	if _, err := s.client.Cancel(t.Context(), slow, ""); err != nil {
		t.Fatal(err)
	}
}

// TestPagesOfJobs: a long list is read a page at a time.
func TestPagesOfJobs(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n")
	for i := range 60 {
		s.run("web1", fmt.Sprintf("echo n%d.", i))
	}
	b, _ := s.visit("jobs")
	b.Sees("echo n59.")
	b.SeesNot("echo n9.")
	b.Click("link", "Older")
	b.Sees("echo n9.")
	b.SeesNot("echo n59.")
	b.Click("link", "Newest")
	b.Sees("echo n59.")
}

// TestWhoSeesWhat: of a namespace that somebody has no right in, nothing is shown.
func TestWhoSeesWhat(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n")
	s.apply("other", "namespace: other\ntag: {web: [web9]}\n")
	ann := s.person("ann", sluice.Grant{Role: "operator", Namespace: "other"})
	s.run("web1", "secret-thing # sim 1ms 0")
	b := browser.New(t)
	d := s.door("", ann)
	b.Open(d.URL)
	b.Sees("There is no job to show yet")
	b.SeesNot("secret-thing")
	b.Open(d.URL + "?namespace=default")
	b.Sees("You may see no jobs here")
	b.Open(d.URL + "workers")
	b.Sees("Workers")
	b.Until(`document.querySelector("[aria-disabled]")`)
	b.Accessible()
}

// TestHaltAll: one place to stop everything, after its word was typed.
func TestHaltAll(t *testing.T) {
	s := newStage(t, "tag: {web: [web1, web2]}\n")
	b, _ := s.visit("")
	s.run("web1", "first # sim 15s 0")
	s.run("web2", "second # sim 15s 0")
	b.Until(`document.querySelector('[aria-label="Jobs that go on"]')?.children.length === 2`)
	b.Click("button", "Halt all")
	b.Has("dialog", "Halt all jobs of all namespaces")
	b.Sees("2 jobs go on")
	b.Accessible()
	b.Keys("Enter")
	b.Type("textbox", "Type halt all to confirm", "halt all")
	b.Keys("Enter")
	b.Sees("Halted 2 jobs.")
	b.Until(`document.body.innerText.split("halting").length > 2`)
}

// TestSearch: by the keyboard alone to a job, a host, a user.
func TestSearch(t *testing.T) {
	s := newStage(t, "tag: {web: [web1, web2]}\n")
	id := s.run("web1", "find-me # sim 1ms 0")
	b, d := s.visit("audit")
	b.Has("heading", "Audit")
	b.Keys("/", "find-me")
	b.Until(`document.querySelector('[role=option]')?.innerText.includes("find-me")`)
	b.Accessible()
	b.Keep("search")
	b.Keys("Enter")
	b.Until(`location.pathname.endsWith("/ui/jobs/` + string(id) + `")`)
	b.Open(d.URL)
	b.Has("heading", "Overview")
	b.Keys("/", "web2")
	b.Until(`[...document.querySelectorAll('[role=option]')].some((o) => o.innerText.includes("web2"))`)
	b.Keys("ArrowDown", "ArrowUp", "Enter")
	b.Until(`location.pathname.endsWith("/ui/hosts/default/web2")`)
}

// TestWorkersPage: workers are invited and removed with the effect said before.
func TestWorkersPage(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n", func(s *app.Server) { s.WorkerListen = "127.0.0.1:0" })
	b, _ := s.visit("workers")
	b.Sees("embedded")
	b.Click("button", "Invite a worker")
	b.Type("textbox", "Name", "dmz1")
	b.Type("textbox", "Pools", "dmz")
	b.Keys("Enter")
	b.Sees("sluice worker --server")
	b.Click("button", "Done")
	b.Sees("invited")
	everywhere(b, "workers")
	b.Click("button", "Remove dmz1")
	b.Sees("has to be invited anew")
	b.Type("textbox", "Type dmz1 to confirm", "dmz1")
	b.Keys("Enter")
	b.Until(`!document.querySelector("section[aria-label=Workers]").innerText.includes("dmz1")`)
}
