package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
)

// problem is an error that goes to the client by RFC 9457.
type problem struct {
	api.Problem
	headers http.Header
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.headers }
func (p *problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the problem itself.
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

var statuses = map[sluice.Code]int{
	sluice.Usage:    http.StatusUnprocessableEntity,
	sluice.Config:   http.StatusUnprocessableEntity,
	sluice.NotFound: http.StatusNotFound,
	sluice.Conflict: http.StatusConflict,
	sluice.Contact:  http.StatusServiceUnavailable,
	sluice.Denied:   http.StatusForbidden,
}

// problemOf makes a problem of an error. What is none of ours says nothing of itself to the outside.
func problemOf(err error) *problem {
	var known *problem
	if errors.As(err, &known) {
		return known
	}
	var status huma.StatusError
	if errors.As(err, &status) {
		return &problem{Problem: api.Problem{Title: http.StatusText(status.GetStatus()), Status: status.GetStatus(), Detail: status.Error()}}
	}
	p := api.Problem{Status: http.StatusInternalServerError, Detail: "the server met an error that it did not expect; its log has it"}
	var e *sluice.Error
	if errors.As(err, &e) {
		p.Code, p.Hint, p.Detail = string(e.Code), e.Hint, err.Error()
		if e.At.Line > 0 {
			said, _, _ := strings.Cut(e.Text, "\n") // what follows shows the place
			p.Errors = []api.Wrong{{Where: e.At.File, Message: said, Line: e.At.Line, Column: e.At.Column}}
		}
		if s, ok := statuses[e.Code]; ok {
			p.Status = s
		}
	}
	p.Title = http.StatusText(p.Status)
	return &problem{Problem: p}
}

// discreet makes a problem of what huma says is wrong with a request, without the values that it repeats: somebody may have
// sent a password in the wrong place, and answers end up in the logs of proxies and clients.
func discreet(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &problem{Problem: api.Problem{Title: m.Title, Status: m.Status, Detail: m.Detail}}
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, api.Wrong{Where: e.Location, Message: e.Message})
	}
	return p, nil
}

// answer writes a problem where no handler does.
func answer(ctx huma.Context, p *problem) {
	ctx.SetHeader("Content-Type", "application/problem+json")
	for name := range p.headers {
		ctx.SetHeader(name, p.headers.Get(name))
	}
	ctx.SetStatus(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p) // who is gone does not want to know
}

func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// Refuse answers a request with an error, as the API would have.
func Refuse(w http.ResponseWriter, err error) { writeProblem(w, problemOf(err)) }
