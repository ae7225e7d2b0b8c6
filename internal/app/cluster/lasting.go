package cluster

import (
	"errors"
	"maps"
	"net/http"

	"sluice"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
)

// owning answers requests that other servers hand on, in a term of this server.
type owning struct {
	lasts  func() bool
	answer doors.Answers
}

// whileLasts has requests answered as long as the term of the owner surely goes on: when an answer is begun, and again when its first part
// goes out. A process that stood still in between answers nothing from what may be old by now. It returns false where the next life is to
// answer.
func whileLasts(lasts func() bool, here http.Handler) doors.Answers {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if own(r) {
			here.ServeHTTP(w, r)
			return true
		}
		if !lasts() {
			return false
		}
		out := &lasting{to: w, header: maps.Clone(w.Header()), lasts: lasts, asks: httpapi.IsQuestion(r)}
		here.ServeHTTP(out, r)
		if !out.late && !out.begun {
			out.WriteHeader(http.StatusOK)
		}
		switch {
		case !out.late:
			return true
		case reads(r):
			return false // it had no body that was read, and changed nothing
		}
		httpapi.Refuse(w, sluice.Errorf(sluice.Contact, "this server has ceased to own the log; what it would have answered may be old").WithHint("ask again; if this would change something, look first whether it has"))
		return true
	}
}

var errLate = errors.New("the term is over, and the answer is not sent")

// lasting is an answer that is not begun when the term is over. That something was done is sent all the same: it was appended, which the
// engine has compared with the term.
type lasting struct {
	to          http.ResponseWriter
	header      http.Header
	lasts       func() bool
	asks        bool
	begun, late bool
}

func (l *lasting) Header() http.Header { return l.header }

func (l *lasting) WriteHeader(status int) {
	if l.begun || l.late {
		return
	}
	if status >= http.StatusOK && (l.asks || status >= http.StatusMultipleChoices) && !l.lasts() {
		l.late = true
		return
	}
	l.begun = status >= http.StatusOK
	h := l.to.Header()
	clear(h)
	maps.Copy(h, l.header)
	l.to.WriteHeader(status)
}

func (l *lasting) Write(b []byte) (int, error) {
	l.WriteHeader(http.StatusOK)
	if l.late {
		return len(b), nil // who writes it need not know: another answer is given
	}
	return l.to.Write(b)
}

// FlushError sends what there is, if it is sent at all.
func (l *lasting) FlushError() error {
	l.WriteHeader(http.StatusOK)
	if l.late {
		return errLate
	}
	return http.NewResponseController(l.to).Flush()
}

// Unwrap lets deadlines through.
func (l *lasting) Unwrap() http.ResponseWriter { return l.to }
