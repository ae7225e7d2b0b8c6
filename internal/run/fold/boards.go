package fold

import (
	"context"
	"errors"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

const (
	// keptTargets is how many hosts the boards that are kept may have in all, so that their memory is bounded.
	keptTargets = 250_000
	// near is how many events of a namespace are read on, before it is cheaper to read those of the job anew.
	near = kept
)

var errShort = errors.New("it ends before its head")

// Boards keep the boards of the jobs that were asked for last, and read on where they are asked for again. It is safe for
// concurrent use.
type Boards struct {
	log  sluice.Log
	live *Live
	most int // hosts

	mu   sync.Mutex
	kept []*boardSpace // newest last
}

// boardSpace is one job. Who has its turn may use the board.
type boardSpace struct {
	id      sluice.JobID
	turn    chan struct{}
	board   *view.Board // nil before the first use
	head    uint64      // of the namespace: up to which it was read
	targets int         // guarded by Boards.mu
}

// NewBoards makes Boards for a log, beside the states of the same log.
func NewBoards(log sluice.Log, live *Live) *Boards {
	return &Boards{log: log, live: live, most: keptTargets}
}

// Look calls look with the state at the head of the log, and board with the board of a job at the same moment. Neither may
// keep or change what it gets. look must be quick: others wait.
func (b *Boards) Look(ctx context.Context, ns sluice.Namespace, id sluice.JobID, look func(*schedule.State) error, board func(*view.Board) error) error {
	sp := b.space(id)
	select {
	case sp.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-sp.turn }()
	// With the turn: whoever comes later gets a head that is no earlier, so that the board never has to go back.
	var head uint64
	err := b.live.Look(ctx, ns, func(s *schedule.State) error {
		head = s.Seq()
		return look(s)
	})
	if err != nil {
		return err
	}
	if err := sp.read(ctx, b.log, ns, head); err != nil {
		return err
	}
	b.keep(sp)
	return board(sp.board)
}

// read brings the board to a head of the namespace.
func (sp *boardSpace) read(ctx context.Context, log sluice.Log, ns sluice.Namespace, head uint64) error {
	if sp.board == nil || head-sp.head > near {
		events, err := log.ReadJob(ctx, ns, sp.id)
		if err != nil {
			return err
		}
		sp.board = view.NewBoard()
		sp.take(events, head)
		sp.head = head
		return nil
	}
	for sp.head < head {
		events, err := log.Read(ctx, ns, sp.head, int(min(head-sp.head, page)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return unreadable(errShort)
		}
		sp.take(events, head)
		sp.head = events[len(events)-1].Seq
	}
	return nil
}

// take applies what is of the job, up to a head.
func (sp *boardSpace) take(events []sluice.Event, head uint64) {
	for _, e := range events {
		if e.Job == sp.id && e.Seq <= head {
			sp.board.Apply(e)
		}
	}
}

// space finds the place of a job, or makes one. It is the newest then.
func (b *Boards) space(id sluice.JobID) *boardSpace {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, sp := range b.kept {
		if sp.id == id {
			b.kept = append(append(b.kept[:i:i], b.kept[i+1:]...), sp)
			return sp
		}
	}
	sp := &boardSpace{id: id, turn: make(chan struct{}, 1)}
	b.kept = append(b.kept, sp)
	return sp
}

// keep drops those that were not asked for the longest, where there are too many. Whoever uses one goes on with it.
func (b *Boards) keep(sp *boardSpace) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sp.targets = len(sp.board.Tasks)
	total := 0
	for i := len(b.kept) - 1; i >= 0; i-- {
		if total += b.kept[i].targets + 1; total > b.most && i < len(b.kept)-1 {
			b.kept = append([]*boardSpace(nil), b.kept[i+1:]...)
			return
		}
	}
}
