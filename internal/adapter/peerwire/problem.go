package peerwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"sluice"
)

// problem is an error on the wire.
type problem struct {
	Code    sluice.Code      `json:"code,omitempty"`
	Text    string           `json:"text"`
	Hint    string           `json:"hint,omitempty"`
	Lasting bool             `json:"lasting,omitempty"`
	Of      sluice.Namespace `json:"of,omitempty"`
	Absent  bool             `json:"absent,omitempty"` // it is or wraps fs.ErrNotExist
}

func problemOf(err error) problem {
	p := problem{Code: sluice.CodeOf(err), Text: err.Error(), Lasting: sluice.IsLasting(err), Of: sluice.LastingOf(err), Absent: errors.Is(err, fs.ErrNotExist)}
	var e *sluice.Error
	if errors.As(err, &e) {
		p.Hint = e.Hint
	}
	if len(p.Text) > maxProblem/8 {
		p.Text = p.Text[:maxProblem/8] + " ..."
	}
	return p
}

func (p problem) text() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("a problem that cannot be written: %v", err)) // strings and booleans can
	}
	return text
}

// err is the error as it was said by the server named who.
func (p problem) err(who string) error {
	e := &sluice.Error{Code: p.Code, Text: p.Text, Hint: p.Hint, Lasting: p.Lasting, Of: p.Of}
	if p.Code == "" {
		e.Text = fmt.Sprintf("the server %s: %s", who, p.Text)
	}
	if p.Absent {
		e.Text, e.Err = strings.TrimSuffix(e.Text, ": "+fs.ErrNotExist.Error()), fs.ErrNotExist
	}
	return e
}

var statusOf = map[sluice.Code]int{
	sluice.Usage: http.StatusBadRequest, sluice.Config: http.StatusUnprocessableEntity, sluice.NotFound: http.StatusNotFound,
	sluice.Conflict: http.StatusConflict, sluice.Contact: http.StatusServiceUnavailable, sluice.Denied: http.StatusForbidden,
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	p := problemOf(err)
	status := statusOf[p.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	refuseWith(w, status, p)
}

func refuseWith(w http.ResponseWriter, status int, p problem) {
	w.Header().Set(ownHeader, problemOwn)
	w.Header().Set(protocolHeader, spoken)
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(status)
	_, _ = w.Write(p.text()) // who does not read it is gone
}

// answer answers with JSON, or with an error.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		refuse(w, err)
		return
	}
	fine(w, contentJSON)
	_, _ = w.Write(text)
}

func fine(w http.ResponseWriter, kind string) {
	w.Header().Set(ownHeader, fineOwn)
	w.Header().Set(protocolHeader, spoken)
	w.Header().Set("Content-Type", kind)
}

// said is the error that an answer is, or nil; with an error the answer is closed.
func (c *Client) said(who string, res *http.Response) error {
	own := res.Header.Get(ownHeader)
	if own == fineOwn || own == problemOwn {
		v := protocolOf(res.Header)
		if c.cfg.Heard != nil {
			c.cfg.Heard(v)
		}
		if !Fits(v) {
			_ = res.Body.Close()
			return apart(c.cfg.Name, v, "this server")
		}
	}
	if own == fineOwn {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	if own == problemOwn {
		text, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
		var p problem
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err == nil {
			return p.err(who)
		}
	}
	return sluice.Errorf(sluice.Contact, "the server %s answers what is not understood: %s", who, res.Status)
}

// contact says that a server does not answer.
func contact(ctx context.Context, who, address string, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	e := sluice.Errorf(sluice.Contact, "the server %s, at %s, does not answer", who, address)
	e.Err = err
	return e
}
