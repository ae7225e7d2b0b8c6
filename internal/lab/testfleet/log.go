package testfleet

import (
	"bytes"
	"strings"
	"sync"
)

// maxLog is how much of what a host's server says is kept.
const maxLog = 64 << 10

// logBook keeps the end of what was written to it, and hands out the lines while somebody listens.
type logBook struct {
	listener sync.Mutex // held from listen to stop: there is one at a time

	mu    sync.Mutex
	data  []byte
	line  []byte // the beginning of a line whose end did not come yet
	heard chan string
	quiet chan struct{}
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.data = append(l.data, p...)
	if over := len(l.data) - maxLog; over > 0 {
		l.data = append(l.data[:0], l.data[over:]...)
	}
	l.line = append(l.line, p...)
	var lines []string
	for {
		i := bytes.IndexByte(l.line, '\n')
		if i < 0 {
			break
		}
		lines = append(lines, strings.TrimRight(string(l.line[:i]), "\r"))
		l.line = l.line[i+1:]
	}
	if len(l.line) > maxLog {
		l.line = nil
	}
	heard, quiet := l.heard, l.quiet
	l.mu.Unlock()
	if heard == nil {
		return len(p), nil
	}
	for _, line := range lines {
		select {
		case heard <- line:
		case <-quiet:
		}
	}
	return len(p), nil
}

// listen returns the lines from now on, until stop is called.
func (l *logBook) listen() <-chan string {
	l.listener.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard, l.quiet = make(chan string), make(chan struct{})
	return l.heard
}

func (l *logBook) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.quiet)
	l.heard = nil
	l.listener.Unlock()
}

func (l *logBook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.data)
}
