package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sluice/internal/lab/browser"
)

// How much goes on while the page is looked at.
const (
	uiHosts  = 10_000
	uiAtOnce = 165 // hosts, of a second each, with three events each
)

// watcher stands in the page from its beginning, and writes down what its user feels.
const watcher = `(() => {
  const m = window.__ui = {long: [], frames: 0, right: 0, paint: 0};
  new PerformanceObserver((l) => { for (const e of l.getEntries()) m.long.push([e.startTime, e.duration]); }).observe({type: 'longtask', buffered: true});
  new PerformanceObserver((l) => { for (const e of l.getEntries()) if (e.name === 'first-contentful-paint') m.paint = e.startTime; }).observe({type: 'paint', buffered: true});
  const frame = () => { m.frames++; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  const look = () => { if (!m.right && document.querySelector('.legend strong') && document.querySelector('.grid canvas')?.width > 1) m.right = performance.now(); };
  new MutationObserver(look).observe(document, {childList: true, subtree: true, attributes: true});
})()`

// ui measures the page of one job in a real browser, while it goes on.
func ui(l *lab, watched time.Duration) (s section, err error) {
	s = section{title: "The page of a job with 10,000 hosts", head: []string{"what", "measured"},
		about: "Debian's chromium, headless, without a GPU: all is drawn by the processors that hosts and server use, too. Hosts fail and are tried again, over and over."}
	if err := l.serve(); err != nil {
		return s, err
	}
	j, err := l.submit(uiHosts, uiAtOnce, "sim 1s 3")
	if err != nil {
		return s, err
	}
	defer l.overAndOver(j.ID)()
	defer browser.Close()
	p := &looked{lab: l, id: j.ID, at: "http://" + l.address + "/ui/"}
	shut, err := p.signIn()
	if err != nil {
		return s, err
	}
	defer shut()
	time.Sleep(5 * time.Second) // in the middle of it
	if err := p.opening(&s); err != nil {
		return s, err
	}
	time.Sleep(5 * time.Second) // what belongs to the loading is over
	return s, p.watching(&s, watched)
}

// overAndOver begins a job again whose hosts have all failed, until what it returns is called.
func (l *lab) overAndOver(id string) (stop func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			var now job
			if l.ask("GET", "jobs/"+id, nil, &now) == nil && (now.State == "failed" || now.State == "halted") {
				_ = l.ask("POST", "jobs/"+id+"/retry", map[string]any{}, nil) // it is looked at again in a moment
			}
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// looked is a page that is looked at.
type looked struct {
	lab       *lab
	base, tab context.Context
	id, at    string
}

// felt is what the watcher in a page has written down. Times are milliseconds after the page began.
type felt struct {
	Right, Paint float64
	Frames       int
	Long         [][2]float64 // tasks: begin and length
	Files, Bytes int
}

// signIn opens a tab of somebody who is signed in, with a watcher in each page.
func (p *looked) signIn() (shut func(), err error) {
	if p.base, err = browser.Start(); err != nil {
		return nil, err
	}
	p.tab, shut = chromedp.NewContext(p.base, chromedp.WithNewBrowserContext())
	err = chromedp.Do(p.tab, chromedp.Navigate(p.at+"signin"))
	if err == nil {
		_, err = chromedp.Run(p.tab, chromedp.Evaluate[bool](fmt.Sprintf(`fetch('../api/v1/session', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({token: %q})}).then((r) => r.ok)`, p.lab.token), chromedp.EvalAwaitPromise))
	}
	if err == nil {
		_, err = chromedp.Call(p.tab, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watcher})
	}
	if err == nil {
		_, err = chromedp.Call(p.tab, network.ClearBrowserCache, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(p.tab, performance.Enable, performance.EnableParams{})
	}
	if err != nil {
		shut()
		return nil, err
	}
	return shut, nil
}

func (p *looked) felt() (felt, error) {
	return chromedp.Run(p.tab, chromedp.Evaluate[felt](`(() => { const f = performance.getEntriesByType('resource').filter((r) => r.name.includes('/ui/a/')); const m = window.__ui;
		return {Right: m.right, Paint: m.paint, Frames: m.frames, Long: m.long, Files: f.length, Bytes: f.reduce((n, r) => n + r.encodedBodySize, 0)}; })()`))
}

// open opens the page of the job, and waits until it is right.
func (p *looked) open() (f felt, err error) {
	if err := chromedp.Do(p.tab, chromedp.Navigate(p.at+"jobs/"+p.id)); err != nil {
		return f, err
	}
	err = p.lab.wait(func() bool {
		var e error
		f, e = p.felt()
		time.Sleep(20 * time.Millisecond)
		return e == nil && f.Right > 0 && f.Paint > 0
	})
	return f, err
}

// opening measures how soon the page is there: without any file kept, and again with them.
func (p *looked) opening(s *section) error {
	cold, err := p.open()
	if err != nil {
		return err
	}
	warm, err := p.open()
	if err != nil {
		return err
	}
	all, err := application("internal/front/webui/ui")
	if err != nil {
		return err
	}
	s.row("first useful paint, cold (no file kept)", fmt.Sprintf("%.0f ms", cold.Paint))
	s.row("right, cold: all 10,000 cells and counts as the server has them", fmt.Sprintf("%.0f ms", cold.Right))
	s.row("sent for this page, packed", fmt.Sprintf("%.0f kB in %d files", float64(cold.Bytes)/1000, cold.Files))
	s.row("first useful paint, again (files kept)", fmt.Sprintf("%.0f ms", warm.Paint))
	s.row("right, again", fmt.Sprintf("%.0f ms", warm.Right))
	s.row("the whole application, packed", fmt.Sprintf("%.0f kB", float64(all)/1000))
	s.aim(aim{what: "the whole application, packed", shall: "< 150 kB", is: fmt.Sprintf("%.0f kB", float64(all)/1000), met: all < 150_000})
	s.aim(aim{what: "right after it was opened", shall: "< 300 ms", is: fmt.Sprintf("%.0f ms", warm.Right), met: warm.Right < 300})
	return nil
}

// awake fails where what the page shows does not change any more: a page that has fallen asleep is fast, too.
func (p *looked) awake() error {
	first := ""
	for i := range 2 {
		if err := p.lab.wait(func() bool {
			text, err := chromedp.Run(p.tab, chromedp.Evaluate[string](`document.querySelector('.legend').innerText`))
			time.Sleep(200 * time.Millisecond)
			if i == 0 {
				first = text
			}
			return err == nil && (i == 0 || text != first)
		}); err != nil {
			return fmt.Errorf("the page does not go on: it shows %q", first)
		}
	}
	return nil
}

// watching measures what the page costs while it goes on.
func (p *looked) watching(s *section, watched time.Duration) error {
	begin, err := tasks(p.tab)
	if err != nil {
		return err
	}
	before, err := p.felt()
	if err != nil {
		return err
	}
	began, listened := time.Now(), min(watched, 20*time.Second)
	size, events, err := p.lab.short(p.id, listened)
	if err != nil {
		return err
	}
	for time.Since(began) < watched {
		time.Sleep(min(time.Second, max(0, watched-time.Since(began))))
	}
	took := time.Since(began)
	end, err := tasks(p.tab)
	if err != nil {
		return err
	}
	after, err := p.felt()
	if err != nil {
		return err
	}
	if err := p.awake(); err != nil {
		return err
	}
	longest := 0.0 // the browser counts those of more than 50 ms alone
	for _, t := range after.Long[len(before.Long):] {
		longest = max(longest, t[1])
	}
	over := len(after.Long) - len(before.Long)
	busy := (end["TaskDuration"] - begin["TaskDuration"]) / took.Seconds()
	hub := hubHeap(p.base)
	memory := end["JSHeapUsedSize"]/1e6 + hub
	s.row("watched for", took.Round(time.Second).String())
	s.row("events a second", fmt.Sprintf("%.0f", float64(events)/listened.Seconds()))
	s.row("bytes on the wire for an event", fmt.Sprintf("%.0f", float64(size)/float64(max(1, events))))
	s.row("frames a second", fmt.Sprintf("%.0f", float64(after.Frames-before.Frames)/took.Seconds()))
	s.row("main thread busy", fmt.Sprintf("%.0f %%", 100*busy))
	s.row("tasks of more than 50 ms", fmt.Sprint(over))
	s.row("longest task", map[bool]string{true: fmt.Sprintf("%.0f ms", longest), false: "under 50 ms"}[longest > 0])
	s.row("JavaScript's memory, page and hub", fmt.Sprintf("%.0f MB (hub %.0f)", memory, hub))
	s.aim(aim{what: "tasks of more than 50 ms", shall: "0", is: fmt.Sprint(over), met: over == 0})
	s.aim(aim{what: "main thread busy", shall: "< 30 %", is: fmt.Sprintf("%.0f %%", 100*busy), met: busy < 0.3})
	s.aim(aim{what: "memory after " + took.Round(time.Second).String(), shall: "< 200 MB", is: fmt.Sprintf("%.0f MB", memory), met: memory < 200})
	return nil
}

// tasks are what the browser counts of the page.
func tasks(tab context.Context) (map[string]float64, error) {
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](`true`)); err != nil {
		return nil, err
	}
	m, err := chromedp.Call(tab, performance.GetMetrics, cdp.Empty{})
	out := map[string]float64{}
	for _, x := range m.Metrics {
		out[x.Name] = x.Value
	}
	return out, err
}

// hubHeap is the memory of the worker that tabs share, in MB; 0 where it cannot be asked.
func hubHeap(base context.Context) float64 {
	list, err := chromedp.Targets(base)
	if err != nil {
		return 0
	}
	for _, t := range list {
		if t.Type != "shared_worker" {
			continue
		}
		ctx, cancel := chromedp.NewContext(base, chromedp.WithTargetID(t.TargetID), chromedp.WithDetachOnCancel())
		defer cancel()
		ctx, late := context.WithTimeout(ctx, 5*time.Second)
		defer late()
		u, err := chromedp.Call(ctx, runtime.GetHeapUsage, cdp.Empty{})
		if err != nil {
			return 0
		}
		return u.UsedSize / 1e6
	}
	return 0
}

// application is the size of all files of the UI, packed one by one as they are sent.
func application(dir string) (n int, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".d.ts") {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one that there is
		_, _ = w.Write(text)
		_ = w.Close()
		n += b.Len()
		return nil
	})
	return n, err
}

// short reads the stream that the page reads, for a time: bytes and events.
func (l *lab) short(id string, for_ time.Duration) (size, events int, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, for_)
	defer cancel()
	var board struct{ Seq uint64 }
	if err := l.ask("GET", "jobs/"+id+"/board", nil, &board); err != nil {
		return 0, 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.address+"/api/v1/jobs/"+id+"/events?short=true", nil)
	if err != nil {
		return 0, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Last-Event-ID", fmt.Sprint(board.Seq))
	for ctx.Err() == nil { // a job that is begun again has a stream of its own
		answer, err := client.Do(r)
		if err != nil {
			break
		}
		buf := make([]byte, 64<<10)
		for {
			n, err := answer.Body.Read(buf)
			size += n
			events += bytes.Count(buf[:n], []byte("\nid: "))
			if bytes.HasPrefix(buf[:n], []byte("id: ")) {
				events++
			}
			if err != nil {
				break
			}
		}
		_ = answer.Body.Close()
		if ctx.Err() == nil && l.ask("GET", "jobs/"+id+"/board", nil, &board) == nil {
			r.Header.Set("Last-Event-ID", fmt.Sprint(board.Seq))
		}
	}
	return size, events, nil
}
