// Package halts sees to halts that a server was asked for while it had no contact with a majority of its cluster: there they are kept
// ([Keeper]), and whoever owns the log next appends them ([Taker]), each of them once.
//
// It knows nothing of files, requests and connections, nor of who owns the log when.
package halts

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
)

// Shelf keeps halts from one start of the server to the next. What was put is durable.
type Shelf interface {
	All() ([]sluice.KeptHalt, error)
	Put(sluice.KeptHalt) error
	Remove(id string) error
}

// Keeper keeps the halts that one server was asked for. It is safe for concurrent use.
type Keeper struct {
	shelf  Shelf
	server sluice.ServerName
	heads  func(context.Context) ([]sluice.Head, error)
	clock  sluice.Clock

	mu   sync.Mutex
	kept []sluice.KeptHalt    // in the order in which they came
	when map[string]time.Time // the same moments by a clock that nobody sets, by ids

	offered string // the last one that was; it may be forgotten
}

const (
	// most is how many one server keeps: more than people ask for, and less than what a disk feels.
	most = 1000
	// atOnce bounds what is offered at once, in bytes of JSON: it goes into one question, or one answer, beside what else is in it.
	atOnce = 256 << 10
	// mostReason and mostKnown bound one halt, so that it can be offered: a reason in characters, of which none is more than six bytes of JSON,
	// and what was known in bytes.
	mostReason, mostKnown = 1000, 128 << 10
)

// New reads what is kept already. heads are those of the server's copy of the log.
func New(shelf Shelf, server sluice.ServerName, heads func(context.Context) ([]sluice.Head, error), clock sluice.Clock) (*Keeper, error) {
	k := &Keeper{shelf: shelf, server: server, heads: heads, clock: clock, when: map[string]time.Time{}}
	var err error
	if k.kept, err = shelf.All(); err != nil {
		return nil, &sluice.Error{Code: sluice.Contact, Text: "the halts that are kept here cannot be read, and they were promised", Err: err,
			Hint: "when a majority of the other servers runs, halt there what was meant; then take the file away"}
	}
	InOrder(k.kept)
	for _, h := range k.kept {
		k.when[h.ID] = time.Now().Add(-max(clock().Sub(h.At), 0))
	}
	return k, nil
}

// InOrder sorts halts by when they were asked for.
func InOrder(list []sluice.KeptHalt) {
	slices.SortFunc(list, func(a, b sluice.KeptHalt) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID)) })
}

// Keep keeps a halt; id, server, time and what was known then are the keeper's. It is durable when Keep returns. One that the same person asked
// for earlier is not needed any more.
func (k *Keeper) Keep(ctx context.Context, h sluice.KeptHalt) (sluice.KeptHalt, error) {
	if ns := h.Namespace; ns != "" && (ns.Reserved() || !ns.Valid()) { // nobody could ever append it
		return h, sluice.Errorf(sluice.NotFound, "there is no namespace %q", string(ns))
	}
	heads, err := k.heads(ctx)
	if err != nil {
		return h, unkept(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	same := slices.IndexFunc(k.kept, func(is sluice.KeptHalt) bool {
		return is.Principal == h.Principal && is.Token == h.Token && is.Namespace == h.Namespace && is.Job == h.Job
	})
	if same < 0 && len(k.kept) >= most {
		return h, sluice.Errorf(sluice.Conflict, "this server keeps %d halts already, and takes no more", most).WithHint("sluice halt --all halts all jobs with one; or ask another server")
	}
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	h.ID = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random[:]))
	h.Server, h.At, h.Age, h.Known, h.Reason = k.server, k.clock(), 0, known(heads, h.Namespace), shortened(h.Reason)
	if err := k.shelf.Put(h); err != nil {
		return h, unkept(err)
	}
	k.kept, k.when[h.ID] = append(k.kept, h), time.Now()
	if same >= 0 {
		_ = k.remove(same) // where that fails both are appended, and the second has nothing to do
	}
	return h, nil
}

// known are the ends of one namespace, or of all for "". If those are too many it is of some of them: for the others the moment alone decides.
func known(heads []sluice.Head, of sluice.Namespace) map[sluice.Namespace]uint64 {
	out, size := map[sluice.Namespace]uint64{}, 0
	for _, head := range heads {
		if head.Namespace.Reserved() || of != "" && head.Namespace != of {
			continue
		}
		if size += len(head.Namespace) + len(`"":,`) + 20; size > mostKnown {
			break
		}
		out[head.Namespace] = head.Seq
	}
	return out
}

// shortened is the beginning of a reason that is too long.
func shortened(reason string) string {
	n := 0
	for i := range reason {
		if n++; n > mostReason {
			return reason[:i]
		}
	}
	return reason
}

func unkept(err error) error {
	return &sluice.Error{Code: sluice.Contact, Text: "the halt could not be kept, and so it does not hold", Err: err, Hint: "ask another server of the cluster"}
}

// All are those that are kept, and how old each is now.
func (k *Keeper) All() []sluice.KeptHalt {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := slices.Clone(k.kept)
	for i, h := range out {
		out[i].Age = time.Since(k.when[h.ID])
	}
	return out
}

// Next are those of All that are to be offered to another server now, as many as fit into one question: first those behind the last that was
// offered, and then from the beginning. So all come where all fit, and one that nobody can settle now hides none where they do not.
func (k *Keeper) Next() []sluice.KeptHalt {
	all := k.All()
	k.mu.Lock()
	defer k.mu.Unlock()
	from := 1 + slices.IndexFunc(all, func(h sluice.KeptHalt) bool { return h.ID == k.offered })
	all = slices.Concat(all[from:], all[:from])
	size, n := 0, 0
	for n < len(all) {
		text, err := json.Marshal(all[n])
		if size += len(text) + 1; err != nil || n > 0 && size > atOnce {
			break
		}
		n++
	}
	if all = all[:n]; n > 0 {
		k.offered = all[n-1].ID
	}
	return all
}

// Forget keeps those no longer that were settled.
func (k *Keeper) Forget(ids []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		i := slices.IndexFunc(k.kept, func(h sluice.KeptHalt) bool { return h.ID == id })
		if i < 0 {
			continue
		}
		if err := k.remove(i); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) remove(i int) error {
	id := k.kept[i].ID
	if err := k.shelf.Remove(id); err != nil {
		return err
	}
	k.kept = slices.Delete(k.kept, i, i+1)
	delete(k.when, id)
	return nil
}
