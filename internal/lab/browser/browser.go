// Package browser drives Debian's chromium as a person does: opens pages, clicks, types, reads what stands there, looks at
// it in the dark and on a phone, and has axe say where somebody is shut out. There is one browser for a test's program.
package browser

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axe is axe-core as its authors published it, see axe/LICENSE.
//
//go:embed axe/axe.min.js
var axe string

// Patience is how long a page may take to show what is waited for.
const Patience = 30 * time.Second

var one struct {
	sync.Mutex
	ctx  context.Context
	stop func()
	dir  string
}

// Main runs a program's tests and ends the browser after them. Put it into TestMain.
func Main(m *testing.M) int {
	defer Close()
	return m.Run()
}

// Close ends the browser, if there is one.
func Close() {
	one.Lock()
	defer one.Unlock()
	if one.ctx != nil {
		one.stop()
		_ = os.RemoveAll(one.dir)
		one.ctx = nil
	}
}

// program is the browser: Debian calls it chromium.
func program() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no chromium: .ci/install-test-deps installs it")
}

// Start starts the one browser, if it does not run yet. What it returns makes tabs.
func Start() (context.Context, error) {
	one.Lock()
	defer one.Unlock()
	if one.ctx != nil {
		return one.ctx, nil
	}
	path, err := program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "browser")
	if err != nil {
		return nil, err
	}
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WindowSize(1280, 900), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"))
	alloc, end := chromedp.NewExecAllocator(context.Background(), o...)
	ctx, cancel := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		end()
		return nil, fmt.Errorf("chromium: %w", err)
	}
	one.ctx, one.dir = ctx, dir
	one.stop = func() { _ = chromedp.Cancel(ctx); cancel(); end() }
	return ctx, nil
}

// Tab is a page that a person looks at. What goes wrong in it fails the test: an error of its script, a break of its policy.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu      sync.Mutex
	trouble []string
	// Expected are parts of what the browser may complain about in this test.
	Expected []string
}

// New opens a tab of a person of their own: no cookie is shared with other tabs but those made by [Tab.Another].
func New(t testing.TB) *Tab {
	t.Helper()
	base, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	return open(t, base, chromedp.WithNewBrowserContext())
}

// Another opens one more tab of the same person.
func (b *Tab) Another() *Tab {
	b.t.Helper()
	return open(b.t, b.ctx)
}

func open(t testing.TB, base context.Context, o ...chromedp.ContextOption) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(base, o...)
	b := &Tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		b.check()
		cancel()
	})
	err := chromedp.Listen(ctx, b.hear)
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	b.Size(1280, 900, false)
	b.Scheme("light")
	return b
}

func (b *Tab) hear(e any) {
	var text string
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
	case *log.EventEntryAdded:
		// What the network does is the test's own doing.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			text = string(e.Entry.Source) + ": " + e.Entry.Text
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			text = "console.error"
			for _, a := range e.Args {
				text += " " + string(a.Value) + a.Description
			}
		}
	case *page.EventJavascriptDialogOpening:
		text = "a dialog of the browser: " + e.Message
	}
	if text != "" {
		b.mu.Lock()
		b.trouble = append(b.trouble, text)
		b.mu.Unlock()
	}
}

func (b *Tab) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, s := range b.trouble {
		for _, ok := range b.Expected {
			if strings.Contains(s, ok) {
				continue next
			}
		}
		b.t.Errorf("the page: %s", s)
	}
}

// Run has the browser do things. It fails the test if they cannot be done within [Patience].
func (b *Tab) Run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fail(err.Error())
	}
}

// Get is what an action of the browser gives.
func Get[T any](b *Tab, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.fail(err.Error())
	}
	return v
}

// Call sends a command of the DevTools protocol.
func Call[P, R any](b *Tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	r, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.fail(err.Error())
	}
	return r
}

// Heap is what the page's JavaScript holds, in bytes, once what nobody uses any more is gone: what a browser has not yet
// taken away says nothing of the page.
func (b *Tab) Heap() float64 {
	b.t.Helper()
	Call(b, heapprofiler.CollectGarbage, cdp.Empty{})
	return Call(b, runtime.GetHeapUsage, cdp.Empty{}).UsedSize
}

// fail ends the test and keeps what the page looked like.
func (b *Tab) fail(text string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	said, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + '\n' + document.body.innerText.slice(0, 3000)`))
	if err != nil {
		said = "(the page does not answer)"
	}
	b.t.Fatalf("%s\nthe page says:\n%s", text, said)
}

// Open goes to an address.
func (b *Tab) Open(url string) {
	b.t.Helper()
	b.Run(chromedp.Navigate(url))
}

// Eval is a value of JavaScript; a promise is waited for.
func Eval[T any](b *Tab, js string) T {
	b.t.Helper()
	return Get(b, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// Until waits until an expression of JavaScript is true. A page that goes elsewhere meanwhile is asked again.
func (b *Tab) Until(js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	again := time.NewTicker(30 * time.Millisecond)
	defer again.Stop()
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(() => { try { return !!("+js+"); } catch { return false; } })()"))
		if err == nil && is {
			return
		}
		select {
		case <-ctx.Done():
			b.fail("not so: " + js)
		case <-again.C:
		}
	}
}

// Sees waits until a text is to be read on the page.
func (b *Tab) Sees(text string) {
	b.t.Helper()
	b.Until("document.body.innerText.includes(" + quote(text) + ")")
}

// SeesNot waits until a text is not to be read on the page.
func (b *Tab) SeesNot(text string) {
	b.t.Helper()
	b.Until("!document.body.innerText.includes(" + quote(text) + ")")
}

// Click clicks on what has this role and name, as assistive technology knows them: Click("button", "Halt").
func (b *Tab) Click(role, name string) {
	b.t.Helper()
	b.point(role, name)
	// Nobody hits what moves: it has stood still for a moment, on the page as a whole, before it is clicked on.
	b.Until(`(() => { const e = document.querySelector("[data-pointed]"), r = e?.getBoundingClientRect(), k = r && [r.x, r.y + scrollY, r.width, r.height].join();
	  const s = window.__still ??= {n: 0}; s.n = k && k === s.k ? s.n + 1 : 0; s.k = k; return s.n >= 4; })()`)
	b.Run(chromedp.Click(pointed))
}

// Type types into the field of this role and name.
func (b *Tab) Type(role, name, text string) {
	b.t.Helper()
	b.point(role, name)
	b.Run(chromedp.Focus(pointed))
	Eval[bool](b, `document.activeElement.select?.() ?? true`)
	b.Run(chromedp.KeyEvent("\b"), chromedp.KeyEvent(text))
}

// Has waits until there is something of this role and name.
func (b *Tab) Has(role, name string) {
	b.t.Helper()
	b.point(role, name)
}

// point marks what has a role and name. Of several with that beginning, it is the one that has exactly that name, or the first.
func (b *Tab) point(role, name string) {
	b.t.Helper()
	b.Until(`(` + pointing + `)(` + quote(role) + `, ` + quote(name) + `)`)
}

const pointed = chromedp.CSS("[data-pointed]")

// pointing finds elements by role and name: enough of the rules for pages like ours.
const pointing = `(role, name) => {
  const roles = {button: 'button,[role=button],summary', link: 'a[href],[role=link]', textbox: 'input:not([type]),input[type=text],input[type=password],input[type=search],input[type=number],textarea,[role=textbox]',
    checkbox: 'input[type=checkbox],[role=checkbox]', radio: 'input[type=radio],[role=radio]', combobox: 'select,[role=combobox]', slider: 'input[type=range],[role=slider]', tab: '[role=tab]', dialog: 'dialog[open],[role=dialog]',
    heading: 'h1,h2,h3,h4,[role=heading]', row: 'tr,[role=row]', option: 'option,[role=option]', region: 'section[aria-label],section[aria-labelledby],[role=region]'};
  const named = (e) => {
    const by = e.getAttribute('aria-labelledby');
    if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
    return e.getAttribute('aria-label') || (e.labels?.length ? [...e.labels].map((l) => l.textContent).join(' ') : '') || e.textContent || e.title || e.placeholder || '';
  };
  const flat = (s) => s.replace(/\s+/g, ' ').trim();
  document.querySelectorAll('[data-pointed]').forEach((e) => e.removeAttribute('data-pointed'));
  const open = [...document.querySelectorAll('dialog[open]')].pop() ?? document;
  const all = [...(role === 'dialog' ? document : open).querySelectorAll(roles[role] ?? '[role=' + role + ']')].filter((e) => e.checkVisibility());
  const found = all.find((e) => flat(named(e)) === name) ?? all.find((e) => flat(named(e)).startsWith(name));
  found?.setAttribute('data-pointed', '');
  return found;
}`

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a text has a form
	}
	return string(b)
}

// Keys presses keys one after another, by name ("Tab", "Enter", "Escape", "ArrowDown", "Shift+Tab") or as they are typed.
func (b *Tab) Keys(keys ...string) {
	b.t.Helper()
	named := map[string]string{"Tab": kb.Tab, "Enter": kb.Enter, "Escape": kb.Escape, "ArrowDown": kb.ArrowDown, "ArrowUp": kb.ArrowUp,
		"ArrowLeft": kb.ArrowLeft, "ArrowRight": kb.ArrowRight, "Home": kb.Home, "End": kb.End, "PageDown": kb.PageDown, "PageUp": kb.PageUp, "Space": " "}
	for _, k := range keys {
		if len(k) == 1 { // in one piece, as a keyboard does it: what a page does with the key may keep the letter from being typed
			Call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: k, Text: k})
			Call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: k})
			continue
		}
		plain, shift := strings.CutPrefix(k, "Shift+")
		text, is := named[plain]
		if !is {
			text = plain
		}
		var o []chromedp.KeyOption
		if shift {
			o = append(o, chromedp.KeyModifiers(kb.ModifierShift))
		}
		b.Run(chromedp.KeyEvent(text, o...))
	}
}

// Focused is the name of what has the focus.
func (b *Tab) Focused() string {
	b.t.Helper()
	return Eval[string](b, `(() => { const e = document.activeElement; return (e?.getAttribute('aria-label') || e?.labels?.[0]?.textContent || e?.textContent || '').replace(/\s+/g, ' ').trim(); })()`)
}

// Size makes the window so large, in CSS pixels. A phone has touch and a finer screen.
func (b *Tab) Size(width, height int64, phone bool) {
	b.t.Helper()
	scale := 1.0
	if phone {
		scale = 2
	}
	Call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: scale, Mobile: phone})
	Call(b, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: phone})
}

// Scheme asks for "light" or "dark".
func (b *Tab) Scheme(scheme string) {
	b.t.Helper()
	Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// Offline cuts the page itself off from everything; workers that it shares with others are not.
func (b *Tab) Offline(is bool) {
	b.t.Helper()
	Call(b, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: is, DownloadThroughput: -1, UploadThroughput: -1})
}

// Accessible has axe look for what shuts somebody out, by WCAG 2.2 A and AA and its own good practice.
func (b *Tab) Accessible() {
	b.t.Helper()
	Eval[bool](b, axe+"; true")
	type node struct {
		Target         []any
		HTML           string
		FailureSummary string
	}
	type violation struct {
		ID, Help string
		Nodes    []node
	}
	found := Eval[[]violation](b, `axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((r) =>
		r.violations.map((v) => ({ID: v.id, Help: v.help, Nodes: v.nodes.slice(0, 5).map((n) => ({Target: n.target, HTML: n.html.slice(0, 200), FailureSummary: n.failureSummary}))})))`)
	for _, v := range found {
		for _, n := range v.Nodes {
			b.t.Errorf("axe: %s: %s\n  %v %s\n  %s", v.ID, v.Help, n.Target, n.HTML, n.FailureSummary)
		}
	}
	if wide := Eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
		b.t.Errorf("the page is %d pixels wider than the window", wide)
	}
}

// Shot is a picture of the window, or of the whole page, as PNG.
func (b *Tab) Shot(whole bool) []byte {
	b.t.Helper()
	a := chromedp.CaptureScreenshot()
	if whole {
		a = chromedp.FullScreenshot(100)
	}
	out := Get(b, a)
	if _, err := png.Decode(bytes.NewReader(out)); err != nil {
		b.t.Fatalf("no picture: %v", err)
	}
	return out
}

// Keep writes pictures of the page, light and dark, wide and on a phone, as NAME-wide-light.png and so on into the
// directory that SLUICE_SHOTS names; none if it is not set.
func (b *Tab) Keep(name string) {
	b.t.Helper()
	dir := os.Getenv("SLUICE_SHOTS")
	if dir == "" {
		return
	}
	for _, form := range []string{"wide", "phone"} {
		if form == "phone" {
			b.Size(390, 844, true)
		}
		for _, scheme := range []string{"light", "dark"} {
			b.Scheme(scheme)
			Eval[bool](b, `new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))`)
			if err := os.WriteFile(filepath.Join(dir, name+"-"+form+"-"+scheme+".png"), b.Shot(false), 0o644); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.Size(1280, 900, false)
	b.Scheme("light")
}

// Context is the tab's, for what only the DevTools protocol can do.
func (b *Tab) Context() context.Context { return b.ctx }

// Picture writes what the window shows, light and dark, wide and on a phone, as NAME-wide-light.webp and so on into a
// directory: small enough for documents.
func (b *Tab) Picture(dir, name string) {
	b.t.Helper()
	for _, form := range []string{"wide", "phone"} {
		if form == "phone" {
			b.Size(390, 844, true)
		} else {
			b.Size(1280, 900, false)
		}
		for _, scheme := range []string{"light", "dark"} {
			b.Scheme(scheme)
			Eval[bool](b, `new Promise((r) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => r(true))), 300))`)
			quality := int64(82)
			out := Call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: "webp", Quality: &quality})
			if err := os.WriteFile(filepath.Join(dir, name+"-"+form+"-"+scheme+".webp"), out.Data, 0o644); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.Size(1280, 900, false)
	b.Scheme("light")
}
