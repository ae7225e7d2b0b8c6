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
  const m = window.__ui = {long: [], frames: 0, began: performance.now(), right: 0, paint: 0};
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
	ctx, stop := context.WithCancel(l.ctx)
	defer stop()
	ended := make(chan struct{})
	go func() { // a job whose hosts all failed is begun again
		defer close(ended)
		for ctx.Err() == nil {
			var now job
			if l.ask("GET", "jobs/"+j.ID, nil, &now) == nil && (now.State == "failed" || now.State == "halted") {
				_ = l.ask("POST", "jobs/"+j.ID+"/retry", map[string]any{}, nil) // it is looked at again in a moment
			}
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	defer func() { stop(); <-ended }()

	defer browser.Close()
	base, err := browser.Start()
	if err != nil {
		return s, err
	}
	tab, shut := chromedp.NewContext(base, chromedp.WithNewBrowserContext())
	defer shut()
	at := "http://" + l.address + "/ui/"
	if err := chromedp.Do(tab, chromedp.Navigate(at+"signin")); err != nil {
		return s, err
	}
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](fmt.Sprintf(`fetch('../api/v1/session', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({token: %q})}).then((r) => r.ok)`, l.token), chromedp.EvalAwaitPromise)); err != nil {
		return s, err
	}
	_, err = chromedp.Call(tab, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watcher})
	if err == nil {
		_, err = chromedp.Call(tab, network.ClearBrowserCache, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(tab, performance.Enable, performance.EnableParams{})
	}
	if err != nil {
		return s, err
	}
	time.Sleep(5 * time.Second) // in the middle of it
	look := func() (m struct {
		Right, Paint, Began float64
		Frames              int
		Long                [][2]float64
		Files, Bytes        int
	}, err error) {
		m, err = chromedp.Run(tab, chromedp.Evaluate[struct {
			Right, Paint, Began float64
			Frames              int
			Long                [][2]float64
			Files, Bytes        int
		}](`(() => { const f = performance.getEntriesByType('resource').filter((r) => r.name.includes('/ui/a/')); const m = window.__ui;
			return {Right: m.right, Paint: m.paint, Began: m.began, Frames: m.frames, Long: m.long, Files: f.length, Bytes: f.reduce((n, r) => n + r.encodedBodySize, 0)}; })()`))
		return m, err
	}
	open := func() (right, paint float64, files, size int, err error) {
		if err := chromedp.Do(tab, chromedp.Navigate(at+"jobs/"+j.ID)); err != nil {
			return 0, 0, 0, 0, err
		}
		err = l.wait(func() bool {
			m, e := look()
			right, paint, files, size = m.Right, m.Paint, m.Files, m.Bytes
			time.Sleep(20 * time.Millisecond)
			return e == nil && m.Right > 0 && m.Paint > 0
		})
		return right, paint, files, size, err
	}
	right, paint, files, size, err := open()
	if err != nil {
		return s, err
	}
	s.row("first useful paint, cold (no file kept)", fmt.Sprintf("%.0f ms", paint))
	s.row("right, cold: all 10,000 cells and counts as the server has them", fmt.Sprintf("%.0f ms", right))
	s.row("sent for this page, packed", fmt.Sprintf("%.0f kB in %d files", float64(size)/1000, files))
	warm, warmPaint, _, _, err := open()
	if err != nil {
		return s, err
	}
	s.row("first useful paint, again (files kept)", fmt.Sprintf("%.0f ms", warmPaint))
	s.row("right, again", fmt.Sprintf("%.0f ms", warm))
	all, err := application("internal/front/webui/ui")
	if err != nil {
		return s, err
	}
	s.row("the whole application, packed", fmt.Sprintf("%.0f kB", float64(all)/1000))

	time.Sleep(5 * time.Second) // what belongs to the loading is over
	begin, err := tasks(tab)
	if err != nil {
		return s, err
	}
	before, err := look()
	if err != nil {
		return s, err
	}
	began := time.Now()
	bytesAt, eventsAt, err := l.short(j.ID, min(watched, 20*time.Second))
	if err != nil {
		return s, err
	}
	for time.Since(began) < watched {
		time.Sleep(min(time.Second, max(0, watched-time.Since(began))))
	}
	took := time.Since(began)
	end, err := tasks(tab)
	if err != nil {
		return s, err
	}
	after, err := look()
	if err != nil {
		return s, err
	}
	// A page that has fallen asleep is fast, too.
	shows := `document.querySelector('.legend [data-state="running"] strong')?.innerText ?? ''`
	var seen [2]string
	for i := range seen {
		if err := l.wait(func() bool {
			text, e := chromedp.Run(tab, chromedp.Evaluate[string](`document.querySelector('.legend').innerText`))
			seen[i] = text
			time.Sleep(200 * time.Millisecond)
			return e == nil && (i == 0 || text != seen[0])
		}); err != nil {
			return s, fmt.Errorf("the page does not go on: it shows %q", seen[0])
		}
	}
	if running, err := chromedp.Run(tab, chromedp.Evaluate[string](shows)); err != nil || running == "" {
		s.notes = append(s.notes, "At the very end no host ran.")
	}
	longest, over := 0.0, 0
	for _, t := range after.Long[len(before.Long):] {
		longest = max(longest, t[1])
		if t[1] > 50 {
			over++
		}
	}
	busy := (end["TaskDuration"] - begin["TaskDuration"]) / took.Seconds()
	hub := hubHeap(base)
	memory := end["JSHeapUsedSize"]/1e6 + hub
	s.row("watched for", took.Round(time.Second).String())
	s.row("events a second", fmt.Sprintf("%.0f", float64(eventsAt)/min(watched, 20*time.Second).Seconds()))
	s.row("bytes on the wire for an event", fmt.Sprintf("%.0f", float64(bytesAt)/float64(max(1, eventsAt))))
	s.row("frames a second", fmt.Sprintf("%.0f", float64(after.Frames-before.Frames)/took.Seconds()))
	s.row("main thread busy", fmt.Sprintf("%.0f %%", 100*busy))
	s.row("tasks of more than 50 ms", fmt.Sprint(over))
	s.row("longest task", map[bool]string{true: fmt.Sprintf("%.0f ms", longest), false: "under 50 ms"}[longest > 0])
	s.row("JavaScript's memory, page and hub", fmt.Sprintf("%.0f MB (hub %.0f)", memory, hub))
	s.aim(aim{what: "tasks of more than 50 ms", shall: "0", is: fmt.Sprint(over), met: over == 0})
	s.aim(aim{what: "main thread busy", shall: "< 30 %", is: fmt.Sprintf("%.0f %%", 100*busy), met: busy < 0.3})
	s.aim(aim{what: "memory after " + took.Round(time.Second).String(), shall: "< 200 MB", is: fmt.Sprintf("%.0f MB", memory), met: memory < 200})
	s.aim(aim{what: "the whole application, packed", shall: "< 150 kB", is: fmt.Sprintf("%.0f kB", float64(all)/1000), met: all < 150_000})
	s.aim(aim{what: "right after it was opened", shall: "< 300 ms", is: fmt.Sprintf("%.0f ms", warm), met: warm < 300})
	return s, nil
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
