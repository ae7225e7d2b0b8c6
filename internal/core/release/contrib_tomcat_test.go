package release_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// war is an application that says something; one that is bad has no class that it wants when it starts.
func war(t *testing.T, text string, bad bool) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	files := map[string]string{"index.html": text, "WEB-INF/web.xml": `<web-app version="6.0" xmlns="https://jakarta.ee/xml/ns/jakartaee"/>`}
	if bad {
		files["WEB-INF/web.xml"] = `<web-app version="6.0" xmlns="https://jakarta.ee/xml/ns/jakartaee"><listener><listener-class>no.Such</listener-class></listener></web-app>`
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// standIn does what the manager of a Tomcat does with what the hook asks it, as that of 10.1 answers.
type standIn struct {
	mu       sync.Mutex
	contexts map[string]webapp // by what stands behind the last colon of list
	calls    []string
}

type webapp struct {
	path, text string
	runs       bool
	sessions   int
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	word, ok := strings.CutPrefix(r.URL.Path, "/manager/text/")
	if !ok { // what is served is the highest version that runs
		text := ""
		for _, base := range slices.Sorted(maps.Keys(s.contexts)) {
			if c := s.contexts[base]; c.runs && r.URL.Path == c.path+"/index.html" {
				text = c.text
			}
		}
		_, _ = io.WriteString(w, text)
		return
	}
	if user, password, _ := r.BasicAuth(); user != "sluice" || password != "s3cret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path, version := r.FormValue("path"), r.FormValue("version")
	base := strings.ReplaceAll(cmp.Or(strings.TrimPrefix(path, "/"), "ROOT"), "/", "#") + "##" + version
	shown := path + "##" + version
	say := func(text string, args ...any) { _, _ = fmt.Fprintf(w, text+"\n", args...) }
	_, there := s.contexts[base]
	switch word {
	case "list":
		say("OK - Listed applications for virtual host [localhost]")
		for base, c := range s.contexts {
			say("%s:%s:%d:%s", c.path, map[bool]string{true: "running", false: "stopped"}[c.runs], c.sessions, base)
		}
		return
	case "deploy":
		file := strings.TrimPrefix(r.FormValue("war"), "file:")
		z, err := zip.OpenReader(file)
		switch {
		case there:
			say("FAIL - Application already exists at path [%s]", shown)
			return
		case err != nil:
			say("FAIL - Unable to copy [%s] to [%s.war], details of the error may be in the server logs", file, base)
			return
		}
		defer func() { _ = z.Close() }()
		c := webapp{path: path, text: within(&z.Reader, "index.html"), runs: !strings.Contains(within(&z.Reader, "WEB-INF/web.xml"), "no.Such")}
		s.contexts[base] = c
		if c.runs {
			say("OK - Deployed application at context path [%s]", shown)
		} else {
			say("FAIL - Deployed application at context path [%s] but context failed to start", shown)
		}
	case "undeploy":
		if !there {
			say("FAIL - No context exists named [%s]", shown)
			return
		}
		delete(s.contexts, base)
		say("OK - Undeployed application at context path [%s]", shown)
	default:
		say("FAIL - Unknown command [/%s]", word)
	}
	s.calls = append(s.calls, word+" "+version)
}

func within(z *zip.Reader, name string) string {
	f, err := z.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, _ := io.ReadAll(f)
	return string(b)
}

// tomcat is where one is: a stand-in, for a Tomcat takes a Java of 190 MB. SLUICE_TEST_TOMCAT names the manager of a real one, with nothing at
// /shop, and a user sluice whose password is s3cret.
func tomcat(t *testing.T) (string, *standIn) {
	if url := os.Getenv("SLUICE_TEST_TOMCAT"); url != "" {
		return strings.TrimSuffix(url, "/manager/text"), nil
	}
	s := &standIn{contexts: map[string]webapp{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL, s
}

// One version runs, the live one, also after a rollback; one that does not start changes nothing.
func TestTomcat(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		url, fake := tomcat(t)
		netrc := filepath.Join(m.dir, "netrc")
		write(t, netrc, "machine 127.0.0.1 login sluice password s3cret\n")
		ask := func(word string, args ...string) string {
			return run(t, "curl", append([]string{"-sSf", "--netrc-file", netrc, "-G", url + "/manager/text/" + word}, args...)...)
		}
		m.env = map[string]string{"TOMCAT_URL": url + "/manager/text", "TOMCAT_NETRC": netrc}
		app := func(text string, bad bool) map[string]string {
			return map[string]string{"shop.war": war(t, text, bad), "*deploy/hooks/deployed.d/50-tomcat": m.contrib("tomcat")}
		}
		runs := func(text, contexts string) {
			t.Helper()
			if got := run(t, "curl", "-s", url+"/shop/index.html"); got != text {
				t.Errorf("%q is served, not %q\n%s", got, text, m.out)
			}
			var lines []string
			for line := range strings.Lines(ask("list")) {
				if rest, ok := strings.CutPrefix(line, "/shop:"); ok {
					lines = append(lines, strings.TrimSpace(rest))
				}
			}
			slices.Sort(lines)
			if got := strings.Join(lines, " "); got != contexts {
				t.Errorf("there are %s, not %s", got, contexts)
			}
		}
		t.Cleanup(func() {
			for line := range strings.Lines(ask("list")) {
				if strings.HasPrefix(line, "/shop:") {
					_, version, _ := strings.Cut(strings.TrimSpace(line), "##")
					ask("undeploy", "-d", "path=/shop", "-d", "version="+version)
				}
			}
		})
		one := m.tree(app("one", false))
		m.want(0, m.wish("1.10", one))
		runs("one", "running:0:shop##000001-1.10")
		m.want(0, m.wish("1.9", m.tree(app("two", false))))
		runs("two", "running:0:shop##000002-1.9")
		m.want(0, m.back("1.10", one.Digest()))
		runs("one", "running:0:shop##000003-1.10")
		m.want(0, m.wish("1.10", one)) // what runs is left alone
		runs("one", "running:0:shop##000003-1.10")

		m.want(1, m.wish("3+bad", m.tree(app("three", true))))
		if !strings.Contains(m.out, "tomcat: /shop does not run with 3+bad: FAIL - ") {
			t.Error(m.out)
		}
		runs("one", "running:0:shop##000003-1.10")

		// What an attempt that was killed has left is done, or done anew.
		four, five := filepath.Join(m.dir, "four.war"), filepath.Join(m.dir, "five.war")
		write(t, four, war(t, "four", true))
		write(t, five, war(t, "five", false))
		ask("deploy", "--data-urlencode", "path=/shop", "--data-urlencode", "version=000004-4", "--data-urlencode", "war=file:"+four)
		m.want(0, m.wish("4", m.tree(app("four", false))))
		runs("four", "running:0:shop##000005-4")
		ask("deploy", "--data-urlencode", "path=/shop", "--data-urlencode", "version=000006-5", "--data-urlencode", "war=file:"+five)
		m.want(0, m.wish("5", m.tree(app("five", false))))
		runs("five", "running:0:shop##000006-5")

		// Sessions of the version before are waited for, as long as they may be.
		if fake != nil {
			fake.mu.Lock()
			c := fake.contexts["shop##000006-5"]
			c.sessions = 1
			fake.contexts["shop##000006-5"] = c
			fake.calls = nil
			fake.mu.Unlock()
			m.env["TOMCAT_SESSIONS"] = "2"
			m.want(0, m.wish("6", m.tree(app("six", false))))
			runs("six", "running:0:shop##000007-6")
			if got := strings.Join(fake.calls, ", "); got != "deploy 000007-6, undeploy 000006-5" {
				t.Error(got)
			}
		}

		// What somebody else has deployed is theirs.
		ask("deploy", "--data-urlencode", "path=/shop", "--data-urlencode", "version=mine", "--data-urlencode", "war=file:"+five)
		m.want(1, m.wish("7", m.tree(app("seven", false))))
		if !strings.Contains(m.out, "tomcat: /shop is in the way: something else than this hook has deployed it (version mine)") {
			t.Error(m.out)
		}
		write(t, netrc, "machine 127.0.0.1 login sluice password wr0ng\n")
		m.want(1, m.wish("8", m.tree(app("eight", false))))
		if !strings.Contains(m.out, "401") || strings.Contains(m.out, "wr0ng") {
			t.Error(m.out)
		}
		write(t, netrc, "machine 127.0.0.1 login sluice password s3cret\n")
		none := app("nine", false)
		delete(none, "shop.war")
		m.want(1, m.wish("9", m.tree(none)))
		if !strings.Contains(m.out, "tomcat: the version has no shop.war") {
			t.Error(m.out)
		}
	})
}
