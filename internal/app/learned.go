package app

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/sshexec"
)

// learned has a server of a cluster know the keys of hosts that any of them was told to know: the log names them. Each is made known once:
// what a person takes out of this machine's known_hosts afterwards stays out.
type learned struct {
	log     sluice.Log
	file    string // says up to which event that has been done
	learn   func(ctx context.Context, k sluice.LearnedKey) error
	trouble func(text string)

	mu   sync.Mutex
	read uint64 // events of [sluice.AccessNamespace]
	done uint64
	open map[place]toLearn // are not known here yet: the newest for each
}

// place is what a key is known for.
type place struct {
	host    sluice.Host
	address string
	port    int
}

type toLearn struct {
	seq  uint64
	key  sluice.LearnedKey
	told bool // that it cannot be learned
	next time.Time
}

const (
	learnedName  = "hostkeys.json"
	learnEvery   = time.Second
	learnWithin  = 2 * time.Second  // another program may hold the file
	refusedAgain = 10 * time.Second // until a key is tried again that this machine refuses
	learnedBatch = 10_000
)

// learnedAt is what is kept of it.
type learnedAt struct {
	Seq uint64 `json:"seq"` // of the last event up to which all keys were made known here
}

func newLearned(data string, log sluice.Log, learn func(context.Context, sluice.LearnedKey) error, trouble func(string)) (*learned, error) {
	l := &learned{log: log, file: filepath.Join(data, learnedName), learn: learn, trouble: trouble, open: map[place]toLearn{}}
	text, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var at learnedAt
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "which keys of hosts this server has learned", Err: err, Hint: "remove " + l.file + ": then it learns all of them again"}
	}
	l.read, l.done = at.Seq, at.Seq
	return l, nil
}

// run learns what comes, until ctx ends.
func (l *learned) run(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		if err := l.catchUp(ctx); err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			l.trouble("the keys of hosts that other servers were told to know cannot be learned: " + told)
		}
		select {
		case <-ctx.Done():
		case <-time.After(learnEvery):
		}
	}
}

// catchUp makes known what the log has now. A key that this machine refuses, since it knows another one, is told and tried again.
func (l *learned) catchUp(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		events, err := l.log.Read(ctx, sluice.AccessNamespace, l.read, learnedBatch)
		if err != nil {
			return err
		}
		for _, e := range events {
			l.read = e.Seq
			if n, is := e.Body.(sluice.AccessNoted); is && n.Key != nil && n.Refused == "" {
				l.open[place{n.Key.Host, n.Key.SSH.Address, n.Key.SSH.Port}] = toLearn{seq: e.Seq, key: *n.Key}
			}
		}
		if len(events) < learnedBatch {
			break
		}
	}
	if len(l.open) == 0 {
		return nil
	}
	left := l.read + 1 // the first event whose key is not known
	for at, k := range l.open {
		if time.Now().Before(k.next) {
			left = min(left, k.seq)
			continue
		}
		within, done := context.WithTimeout(ctx, learnWithin)
		err := l.learn(within, k.key)
		done()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			delete(l.open, at)
			continue
		}
		if !k.told {
			l.trouble("the key of " + string(at.host) + ", which the servers were told to know, cannot be learned here: " + err.Error())
		}
		k.told, k.next = true, time.Now().Add(refusedAgain)
		l.open[at] = k
		left = min(left, k.seq)
	}
	if left-1 <= l.done {
		return nil
	}
	text, err := json.Marshal(learnedAt{left - 1})
	if err == nil {
		err = writePrivate(l.file, append(text, '\n'))
	}
	if err == nil {
		l.done = left - 1
	}
	return err
}

// learnKey makes a key known as an administrator's wish does.
func (s *Server) learnKey(ctx context.Context, k sluice.LearnedKey) error {
	key, err := sshexec.ParseHostKey(k.Type, k.Key)
	if err != nil {
		return err
	}
	t, err := s.local().ssh(nil)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.AppendKnownHost(ctx, k.Host, k.SSH, key, nil)
}
