package crew

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"sluice"
)

// TokenLife is how long an invitation is good for, at most.
const TokenLife = 15 * time.Minute

// Known is a worker as the log knows it.
type Known struct {
	Name     sluice.WorkerName
	Pools    []sluice.Pool
	Enrolled bool // it has had a certificate
	Removed  bool
	Draining bool
	SealKey  []byte
	Expires  time.Time // of the newest certificate
	serials  []string  // that count
	digest   string    // of the invitation that is open
	until    time.Time // its end
	invited  []sluice.Pool
}

// Roster is who may be a worker: the fold of the events of [sluice.AccessNamespace].
type Roster struct {
	seq   uint64
	known map[sluice.WorkerName]*Known
}

// NewRoster is the roster before the first event.
func NewRoster() *Roster { return &Roster{known: map[sluice.WorkerName]*Known{}} }

// Seq is the number of the last event that was applied.
func (r *Roster) Seq() uint64 { return r.seq }

// Apply takes an event in; those that are not about workers change nothing.
func (r *Roster) Apply(e sluice.Event) error {
	if e.Seq != 0 && e.Seq != r.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, r.seq)
	}
	r.seq++
	switch b := e.Body.(type) {
	case sluice.WorkerInvited:
		k := r.known[b.Worker]
		if k == nil {
			k = &Known{Name: b.Worker, Pools: b.Pools}
			r.known[b.Worker] = k
		}
		k.digest, k.until, k.invited = b.Digest, b.Expires, b.Pools
	case sluice.WorkerEnrolled:
		if k := r.known[b.Worker]; k != nil {
			*k = Known{Name: b.Worker, Pools: k.invited, Enrolled: true, SealKey: b.SealKey, Expires: b.Expires, serials: []string{b.Serial}}
		}
	case sluice.WorkerRenewed:
		if k := r.known[b.Worker]; k != nil {
			k.serials, k.Expires = append(slices.Clone(k.serials), b.Serial), b.Expires
			if n := len(k.serials); n > 2 { // the one before may be in use until the new one has arrived
				k.serials = k.serials[n-2:]
			}
		}
	case sluice.WorkerDrained:
		if k := r.known[b.Worker]; k != nil {
			k.Draining = !b.Off
		}
	case sluice.WorkerRemoved:
		if k := r.known[b.Worker]; k != nil {
			k.Removed, k.serials, k.digest = true, nil, ""
		}
	}
	return nil
}

// Digest is what the log keeps of a token's secret.
func Digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// MayEnrol says why a secret does not let a worker enrol under a name.
func (r *Roster) MayEnrol(name sluice.WorkerName, secret string, now time.Time) error {
	k := r.known[name]
	// What a timing could tell about digests helps nobody to find a secret.
	if k == nil || k.digest == "" || k.digest != Digest(secret) {
		return sluice.Errorf(sluice.Denied, "the token does not let a worker enrol as %s, or was used before", name).
			WithHint("sluice workers invite %s", name)
	}
	if !now.Before(k.until) {
		return sluice.Errorf(sluice.Denied, "the token for the worker %s has expired", name).WithHint("sluice workers invite %s", name)
	}
	return nil
}

// Admit says why a worker that shows a certificate is refused.
func (r *Roster) Admit(name sluice.WorkerName, serial string) (Known, error) {
	k := r.known[name]
	switch {
	case k == nil:
		return Known{}, sluice.Errorf(sluice.Denied, "no worker is known as %s", name)
	case k.Removed:
		return Known{}, sluice.Errorf(sluice.Denied, "the worker %s was removed", name).WithHint("sluice workers invite %s lets it enrol anew", name)
	case !slices.Contains(k.serials, serial):
		return Known{}, sluice.Errorf(sluice.Denied, "the certificate of the worker %s is not valid any more", name)
	}
	return *k, nil
}

// Find returns a worker that is not removed.
func (r *Roster) Find(name sluice.WorkerName) (Known, error) {
	if k := r.known[name]; k != nil && !k.Removed {
		return *k, nil
	}
	return Known{}, sluice.Errorf(sluice.NotFound, "there is no worker %s", name).WithHint("sluice workers")
}

// All lists those that are not removed, by name.
func (r *Roster) All() []Known {
	var out []Known
	for _, k := range r.known {
		if !k.Removed {
			out = append(out, *k)
		}
	}
	slices.SortFunc(out, func(a, b Known) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
