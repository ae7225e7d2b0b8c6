package httpapi

import (
	"net/http"
	"strings"

	"sluice"
	"sluice/api"
)

// dispatch hands a request to its route. Where there is none, or it takes no such method, the answer is a problem, too,
// with what the mux says about it (Allow).
func (a *API) dispatch(w http.ResponseWriter, r *http.Request) {
	h, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.guard.ServeHTTP(w, r)
		return
	}
	said := &unsaid{header: http.Header{}}
	h.ServeHTTP(said, r)
	p := api.Problem{Status: said.status, Title: http.StatusText(said.status), Code: string(sluice.NotFound),
		Detail: "there is nothing at this path", Hint: "GET /api/v1/ lists what there is"}
	if allow := said.header.Get("Allow"); said.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		p.Code, p.Detail, p.Hint = string(sluice.Usage), "this path does not take that method", "it takes "+strings.ReplaceAll(allow, ", ", " or ")
	}
	writeProblem(w, &problem{Problem: p})
}

// unsaid takes an answer that nobody sees.
type unsaid struct {
	header http.Header
	status int
}

func (u *unsaid) Header() http.Header         { return u.header }
func (u *unsaid) Write(b []byte) (int, error) { return len(b), nil }
func (u *unsaid) WriteHeader(status int)      { u.status = status }
