// Package webui is the web UI: the files of its pages, built in, and how they are served. The pages take all they show
// from the API, as any client does; nothing here knows a job.
//
// The files are served as they are written, under a path that holds their digest, so that browsers keep them for ever and
// two versions never mix. All links are relative: the UI works behind any prefix of a path, without being told.
package webui

//go:generate go run ../../lab/vendoring ui/vendor/preact.js

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed ui
var built embed.FS

// Prefix is where the pages are, below the server's address.
const Prefix = "/ui/"

// policy lets a page run the UI's own script and ask its own server, and nothing else: neither text that slipped into it,
// nor a page around it, nor any other server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; worker-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sluice"

var kinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

// UI serves the pages.
type UI struct {
	version string
	digest  string
	index   string
	files   map[string]*file
	loaded  []string // modules that every page needs
}

type file struct {
	kind   string
	body   []byte
	once   sync.Once
	packed []byte
}

// gzip is the file, packed the first time that somebody wants it so.
func (f *file) gzip() []byte {
	f.once.Do(func() {
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one that there is
		_, _ = w.Write(f.body)                                // neither fails on a buffer
		_ = w.Close()
		f.packed = b.Bytes()
	})
	return f.packed
}

// New makes the UI of a program's version.
func New(version string) *UI {
	u := &UI{version: version, files: map[string]*file{}}
	sum := sha256.New()
	var sheets []string
	err := fs.WalkDir(built, "ui", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := built.ReadFile(p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, "ui/")
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(b), b) // a sum never fails
		switch {
		case name == "index.html":
			u.index = string(b)
		case path.Ext(name) == ".css":
			sheets = append(sheets, name)
		case kinds[path.Ext(name)] != "":
			u.files[name] = &file{kind: kinds[path.Ext(name)], body: b}
		}
		return nil
	})
	if err != nil {
		panic(err) // they are built in
	}
	// One sheet of all: the tokens, what goes for all pages, and then what belongs to parts and pages, by name.
	first := []string{"style/tokens.css", "style/base.css"}
	sheets = slices.DeleteFunc(sheets, func(s string) bool { return slices.Contains(first, s) })
	var sheet []byte
	for _, name := range append(first, sheets...) {
		b, err := built.ReadFile("ui/" + name)
		if err != nil {
			panic(err)
		}
		sheet = append(append(sheet, b...), '\n')
	}
	u.files["all.css"] = &file{kind: kinds[".css"], body: sheet}
	u.digest = hex.EncodeToString(sum.Sum(nil))[:12]
	for name := range u.files {
		if dir := path.Dir(name); path.Ext(name) == ".js" && (dir == "." || dir == "lib" || dir == "vendor") {
			u.loaded = append(u.loaded, name)
		}
	}
	slices.Sort(u.loaded)
	return u
}

// ServeHTTP answers for everything below [Prefix].
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	below := strings.TrimPrefix(r.URL.EscapedPath(), Prefix) // a slash within a name is none of the path
	if rest, is := strings.CutPrefix(below, "a/"); is {
		u.asset(w, r, rest)
		return
	}
	// Every other path is a page, which the UI itself finds: links may name anything that a job or a host is called.
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(u.page(strings.Repeat("../", strings.Count(below, "/"))))
}

// page is the page's frame. up leads from its path to [Prefix].
func (u *UI) page(up string) []byte {
	at := up + "a/" + u.digest + "/"
	var preload strings.Builder
	for _, name := range u.loaded {
		fmt.Fprintf(&preload, "<link rel=\"modulepreload\" href=\"%s%s\">\n", at, name)
	}
	return []byte(strings.NewReplacer("{{at}}", at, "{{version}}", u.version, "{{preload}}\n", preload.String()).Replace(u.index))
}

func (u *UI) asset(w http.ResponseWriter, r *http.Request, rest string) {
	digest, name, _ := strings.Cut(rest, "/")
	f, is := u.files[name]
	if !is || digest != u.digest { // of another version: whoever asks loads the page anew
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "there is no such file in this version", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.gzip()
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body)
}
