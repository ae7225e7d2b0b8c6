package httpapi

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"time"
)

// assets are the page of the API and what belongs to it.
//
//go:embed page/index.html page/page.css page/page.js
var assets embed.FS

// pagePolicy lets the page run its own script and ask its own server, and nothing else: neither text that slipped into
// it, nor a page around it, nor any other server.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// addPage: whoever may look at the description may look at the page that shows it. It can do nothing without a token that
// somebody types in.
func (a *API) addPage() {
	for pattern, file := range map[string]string{"GET /api/v1/{$}": "index.html", "GET /api/v1/page.css": "page.css", "GET /api/v1/page.js": "page.js"} {
		b, err := assets.ReadFile(path.Join("page", file))
		if err != nil {
			panic(err) // it is built in
		}
		a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", pagePolicy)
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("X-Frame-Options", "DENY")
			http.ServeContent(w, r, file, time.Time{}, bytes.NewReader(b))
		})
	}
}

// addUI: the pages show nothing without a session; whoever opens the bare address of the server gets to them.
func (a *API) addUI() {
	if a.cfg.UI == nil {
		return
	}
	a.mux.Handle("GET /ui/", a.cfg.UI)
	a.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "ui/") // relative, so that it holds behind a prefix
		w.WriteHeader(http.StatusFound)
	})
}
