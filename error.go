package sluice

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of error it is, for programs. Exit statuses are made from it.
type Code string

const (
	Usage    Code = "usage"    // the command line or a request is wrong; nothing was done
	Config   Code = "config"   // a fleet file or other configuration is wrong; nothing was done
	NotFound Code = "notfound" // no such job, host, gate ...
	Conflict Code = "conflict" // it is in another state than the request needs
	Contact  Code = "contact"  // no contact to the server or the journal
	Denied   Code = "denied"   // who asks has no right to it
)

// Error is an error for people: where it is, what is wrong, and what to do about it.
type Error struct {
	Code Code
	At   Position // where in a file; zero if nowhere
	Text string   // what is wrong, without a trailing full stop
	Hint string   // what to do or type next; "" if there is nothing to say
	Err  error    // the cause, or nil
	// Lasting says that to try again is of no use before somebody has acted on it.
	Lasting bool
	// Of is the one namespace that a lasting error is about; "" is all of them.
	Of Namespace
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.At.File != "" || e.At.Line > 0 {
		b.WriteString(e.At.String())
		b.WriteString(": ")
	}
	b.WriteString(e.Text)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a position.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Lasts says that to try again is of no use before somebody has acted on it.
func (e *Error) Lasts() *Error {
	e.Lasting = true
	return e
}

// WithHint adds what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// IsLasting reports whether any Error in err's chain is lasting.
func IsLasting(err error) bool {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return false
		}
		if e.Lasting {
			return true
		}
		err = e.Err
	}
	return false
}

// LastingOf is the one namespace that the lasting errors of err's chain are about; "" where they are about all, or where
// none is lasting.
func LastingOf(err error) Namespace {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Lasting {
			return e.Of
		}
		err = e.Err
	}
	return ""
}

// CodeOf returns the code of the first Error in err's chain, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}
