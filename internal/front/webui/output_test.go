package webui_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
	"sluice/internal/lab/browser"
)

// newLocalStage is a stage whose hosts are this machine: their commands truly run, and print.
func newLocalStage(t *testing.T, hosts ...string) *stage {
	t.Helper()
	s := &stage{t: t, data: filepath.Join(t.TempDir(), "data"), set: []func(*app.Server){func(server *app.Server) { server.Over = nil }}}
	s.start("127.0.0.1:0")
	s.apply("default", "tag:\n  web: ["+strings.Join(hosts, ", ")+"]\nhost:\n  all: {transport: local}\n")
	return s
}

// does submits a job that needs no limits.
func (s *stage) does(targets, command string) sluice.JobID {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Namespace: "default", Targets: targets, Command: command, Options: api.Options{OutputLimit: 256 << 20}})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.ID
}

// mount shows a part of the UI alone, in place of the page.
func mount(b *browser.Tab, part, component string, job sluice.JobID) {
	browser.Eval[bool](b, fmt.Sprintf(`(async () => {
		const base = new URL('.', document.querySelector('script[src]').src);
		const {html, render} = await import(new URL('vendor/preact.js', base));
		const m = await import(new URL('part/%s.js', base));
		const at = document.createElement('section');
		at.setAttribute('aria-label', 'mounted');
		document.getElementById('main').replaceChildren(at);
		const h1 = document.createElement('h1'); h1.textContent = '%s'; at.before(h1);
		render(html`+"`<${m[%q]} job=${%q} />`"+`, at);
		return true;
	})()`, part, component, component, job))
}

const hostileOutput = `<script>window.pwned=1</script><img src=x onerror="window.pwned=1">`

// TestHostileOutputIsText: whatever a host prints is shown as text; what would do something in a terminal is a visible sign.
func TestHostileOutputIsText(t *testing.T) {
	s := newLocalStage(t, "web1")
	script := filepath.Join(t.TempDir(), "corpus")
	corpus := hostileOutput + "\n\x1b[31;1mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07 \x1b]52;c;cHduZWQ=\x07 \x00nul \u202egnp.exe \xff\xfe\u200bzero\n"
	if err := os.WriteFile(script, []byte(corpus), 0o600); err != nil {
		t.Fatal(err)
	}
	id := s.does("web1", "cat "+script+"; : '"+hostileOutput+"'; exit 3")
	b, d := s.visit("jobs/" + string(id) + "/hosts/web1")
	b.Sees("exit 3")
	b.Sees(`<img src=x onerror="window.pwned=1">`)
	for _, sign := range []string{`\e]8;;https://evil.example\x07link`, `\e]52;c;cHduZWQ=\x07`, `\x00nul`, `\u{202e}gnp.exe`, `\xff\xfe\u{200b}zero`} {
		b.Sees(sign)
	}
	b.Until(`document.querySelector('.output-f-red.output-bold').textContent === 'red'`)
	if browser.Eval[bool](b, `'pwned' in window || document.querySelectorAll('main img, main script, main a[href*=evil]').length > 0`) {
		t.Error("something of the output became a part of the page")
	}
	b.Accessible()
	b.Keep("jobhost")
	for _, part := range [][2]string{{"failures", "Failures"}, {"groups", "Groups"}} {
		b.Open(d.URL + "hosts/default/web1")
		b.Sees("Jobs on it")
		mount(b, part[0], part[1], id)
		b.Sees(`\e]52;c;cHduZWQ=\x07`)
		b.Sees("red")
		if browser.Eval[bool](b, `'pwned' in window || document.querySelectorAll('main img, main script').length > 0`) {
			t.Error("something of the output became a part of the page")
		}
		b.Accessible()
		b.Keep(part[0])
	}
}

// TestLongOutput: of 100 MB the page holds one window; the end is one click away, what is looked for is found, and a line of
// 10 MB is shown in part.
func TestLongOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it prints 110 MB")
	}
	s := newLocalStage(t, "web1")
	id := s.does("web1", "yes 'a line of some length, of which there are many' | head -n 2000000; head -c 10000000 /dev/zero | tr '\\0' x; echo; echo 'the Needle is here'; echo last")
	b, _ := s.visit("jobs/" + string(id) + "/hosts/web1")
	b.Sees("succeeded")
	b.Click("button", "End")
	b.Sees("the Needle is here")
	b.Sees("lines 2,000,00")
	b.Click("button", "Start")
	b.Sees("lines 1 to 1,000")
	b.Click("button", "Later")
	b.Sees("lines 1,001 to 2,000")
	b.Click("button", "Earlier")
	b.Sees("lines 1 to 1,000")
	b.Type("textbox", "Find in stdout", "needle")
	b.Keys("Enter")
	b.Sees("1 place")
	b.Until(`document.querySelector('.output-found mark').textContent === 'Needle'`)
	b.Click("link", "2,000,002the Needle is here")
	b.Until(`document.querySelector('.output-hit').textContent.includes('the Needle is here')`)
	b.Click("button", "Earlier")
	b.Sees("bytes more")
	if n := browser.Eval[int](b, `document.querySelector('.output-view').textContent.length`); n > 400_000 {
		t.Errorf("the page holds %d characters", n)
	}
	heap := b.Heap() / 1e6
	t.Logf("%.1f MB of heap, of 110 MB of output", heap)
	if heap > 20 {
		t.Errorf("the page holds %.1f MB", heap)
	}
	if got := browser.Eval[int](b, `fetch(document.querySelector('a[download]').href).then((r) => r.arrayBuffer()).then((b) => b.byteLength)`); got != 2_000_000*47+10_000_000+1+19+5 {
		t.Errorf("%d bytes are downloaded", got)
	}
}

// TestLiveOutput: what is printed is seen while it is printed, and how it ends without a reload.
func TestLiveOutput(t *testing.T) {
	s := newLocalStage(t, "web1")
	gate := filepath.Join(t.TempDir(), "gate")
	id := s.does("web1", "echo first; until [ -e "+gate+" ]; do sleep 0.1; done; echo second; until [ -e "+gate+"2 ]; do sleep 0.1; done; echo third")
	b, _ := s.visit("jobs/" + string(id) + "/hosts/web1")
	b.Has("status", "Live")
	b.Accessible()
	says := func(line int, text string) {
		b.Until(fmt.Sprintf(`document.querySelectorAll('.output-text')[%d].textContent === %q`, line, text))
	}
	says(0, "first")
	for i, text := range []string{"second", "third"} {
		if err := os.WriteFile(gate+[]string{"", "2"}[i], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		says(i+1, text)
	}
	b.Sees("exit 0")
	b.Until(`!document.querySelector('.output-where [role=status]')`)
	says(2, "third")
}

// TestFailuresAndGroups: hosts that failed alike stand together, texts are compared, and all of it leads to the hosts.
func TestFailuresAndGroups(t *testing.T) {
	s := newLocalStage(t, "web1", "web2", "web3")
	dir := t.TempDir()
	// Each of them takes its turn once: the third prints something else, and ends well.
	id := s.does("all", fmt.Sprintf("mkdir %s/1 2>/dev/null || mkdir %s/2 2>/dev/null || { echo same; echo new; echo tail; exit 0; }; echo same; echo old; echo tail; echo it is broken >&2; exit 5", dir, dir))
	b, d := s.visit("hosts/default/web1")
	b.Sees("Jobs on it")
	mount(b, "failures", "Failures", id)
	b.Sees("2 hosts")
	b.Sees("command, exit 5")
	b.Sees("it is broken")
	b.Accessible()
	b.Open(d.URL + "hosts/default/web1")
	b.Sees("Jobs on it")
	mount(b, "groups", "Groups", id)
	b.Sees("2 texts")
	b.Click("button", "Difference")
	b.Until(`document.querySelector('[data-kind=gone]').textContent.includes('old') && document.querySelector('[data-kind=new]').textContent.includes('new')`)
	b.Accessible()
	b.Keep("groups-diff")
	b.Open(d.URL + "hosts/default/web1")
	b.Sees("Jobs on it")
	b.Accessible()
	b.Keep("host")
}

// TestJobShowsFailuresAndOutputs: the page of a job has what went wrong by itself, and what was printed where it is asked for.
func TestJobShowsFailuresAndOutputs(t *testing.T) {
	s := newLocalStage(t, "web1", "web2")
	id := s.does("all", "echo it says this; echo it is broken >&2; exit 5")
	b, _ := s.visit("jobs/" + string(id))
	b.Has("heading", "Failures")
	b.Sees("it is broken")
	b.SeesNot("1 text")
	b.Until(`document.querySelector(".head .mark").innerText.includes("failed")`)
	b.Click("button", "Show outputs")
	b.Sees("1 text")
	b.Until(`document.querySelector('.groups-text').textContent === 'it says this'`)
	b.Accessible()
	b.Keep("job-outputs")
}

// TestSpansShowEverything: of any bytes all that can be read is there, nothing of it hides or does something, and each byte
// that is no text has its sign.
func TestSpansShowEverything(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1]\n")
	b, _ := s.visit("")
	b.Sees("Sluice")
	bad := browser.Eval[string](b, `(async () => {
		const base = new URL('.', document.querySelector('script[src]').src);
		const {spans, decode, plain} = await import(new URL('lib/ansi.js', base));
		const {clean} = await import(new URL('lib/clean.js', base));
		let seed = 42;
		const rnd = (n) => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n; };
		const bits = ['\x1b[', '31', ';', 'm', '\x1b]8;;', '\x07', '<script>', '&amp;', 'a', 'ö', '\u202e', '\u200b', '\0', '\r', '\t', '38;5;', '48:2::1:2:3', '\u{1f600}', '\u{e0041}', '\ud800', '\x9b', '0'];
		for (let round = 0; round < 20000; round++) {
			let style = plain, raw = [];
			const enc = new TextEncoder();
			for (let i = rnd(12); i >= 0; i--) raw.push(...(rnd(4) ? enc.encode(bits[rnd(bits.length)]) : [rnd(256)]));
			raw = raw.filter((c) => c !== 10);
			const text = decode(new Uint8Array(raw));
			const got = spans(text, style).spans;
			const all = got.map((x) => x.text).join('');
			if (clean(all.replaceAll('\t', '')) !== all.replaceAll('\t', '')) return 'hidden: ' + JSON.stringify(text);
			if (/[\ud800-\udfff]/u.test(all)) return 'half a character: ' + JSON.stringify(text);
			// The same by the other rule: colours left out, bytes and characters that hide as signs.
			const want = text.replace(/\r$/, '').replace(/\x1b\[[0-9;:]*m/g, '').split('\t').map((p) => p.replace(/[\udc80-\udcff]/gu, (c) => '\\x' + (c.charCodeAt(0) - 0xdc00).toString(16)).split(/(\\x[0-9a-f]{2})/).map(clean).join('')).join('\t');
			if (all !== want) return JSON.stringify([text, all, want]);
			for (const x of got) if (!/^[a-z -]*$/.test(x.look)) return 'look: ' + x.look;
		}
		return '';
	})()`)
	if bad != "" {
		t.Error(bad)
	}
}
