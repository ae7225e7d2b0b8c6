package app

import (
	"slices"
	"strings"
	"sync"

	"sluice/internal/adapter/authority"
	"sluice/internal/core/crew"
)

// places are the addresses of the servers of a worker, in the order in which they are tried. They are kept in a file, one in a line.
type places struct {
	file    string
	given   []string // by a person
	trouble func(error)

	mu   sync.Mutex
	list []string
	kept []string // those that are in the file; nil: this process has not written it
	at   string   // where the line goes; "": it has given no lease, or there is none
	try  string   // where the line goes that has given no lease yet
}

func addressLines(list []string) []byte { return []byte(strings.Join(list, "\n") + "\n") }

func (p *places) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// prefer tries these first.
func (p *places) prefer(first []string) {
	for _, a := range slices.Backward(first) {
		p.list = crew.ServedBy(p.list, a)
	}
}

// leave says that a line is to be opened anew. A server that took the last one, and gave no lease, is tried after all others.
func (p *places) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = crew.Missed(p.list, p.try)
	p.try = ""
}

// come says where a line goes.
func (p *places) come(at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.try = at
}

// serves says that the server has given a lease.
func (p *places) serves() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.try = p.try, ""
	p.list = crew.ServedBy(p.list, p.at)
	p.keep()
}

// told takes in the servers that there are.
func (p *places) told(servers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.at
	if p.try != "" {
		now = p.try
	}
	p.list = crew.Told(p.list, p.given, now, servers)
	p.keep()
}

// keep writes what is new. The caller holds the lock.
func (p *places) keep() {
	if slices.Equal(p.list, p.kept) {
		return
	}
	if err := authority.WriteFile(p.file, addressLines(p.list)); err != nil {
		p.trouble(err)
		return
	}
	p.kept = slices.Clone(p.list)
}
