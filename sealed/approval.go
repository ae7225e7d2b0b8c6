package sealed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"sluice"
)

// Approval is somebody's signature that a job, as it stands, may pass gates. It is no secret: it may be kept and shown. Who
// carries it in between, a server above all, can make none.
//
// The form, all numbers big-endian: magic, version, job, namespace, by, digest of the job, digest of its targets, expiry, key
// of who signs, number of gates, and of each its track, its stage and its place; then the signature, Ed25519, of all before it.
type Approval []byte

// Pass is a gate that an approval opens: that behind a stage of a track, by its name and its place.
type Pass struct {
	Track, Stage string
	Index        int
}

// Approved is what an approval says.
type Approved struct {
	Binding
	Signer Key
	Passes []Pass
}

const (
	approvalMagic = "sluice-approval\x00\x01" // the last byte is the version
	approvalLabel = "sluice approval 1 signature\x00"
	// maxPasses is the number of gates of one approval.
	maxPasses = 256
	// MaxApproval is the number of bytes of an approval.
	MaxApproval = 64 << 10
	passMost    = 1<<16 - 1
)

// Approve signs that a job may pass gates.
func Approve(b Binding, passes []Pass, by *Signer) (Approval, error) {
	if len(passes) == 0 || len(passes) > maxPasses {
		return nil, sluice.Errorf(sluice.Usage, "an approval is for 1 to %d gates, not for %d", maxPasses, len(passes))
	}
	out, err := b.encode(approvalMagic, by.Public())
	if err != nil {
		return nil, err
	}
	out = binary.BigEndian.AppendUint16(out, uint16(len(passes))) //nolint:gosec // bounded above
	for _, p := range passes {
		for _, s := range []string{p.Track, p.Stage} {
			if len(s) > passMost {
				return nil, sluice.Errorf(sluice.Usage, "a stage in an approval has at most %d bytes", passMost)
			}
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(s))), s...) //nolint:gosec // bounded above
		}
		out = binary.BigEndian.AppendUint32(out, uint32(p.Index)) //nolint:gosec // there are not that many stages
	}
	out = append(out, ed25519.Sign(by.private, append([]byte(approvalLabel), out...))...)
	if len(out) > MaxApproval {
		return nil, sluice.Errorf(sluice.Usage, "the approval has %d bytes; %d are the most", len(out), MaxApproval)
	}
	return out, nil
}

var errApproval = sluice.Errorf(sluice.Usage, "this is no approval, or one of another version")

// Read says what an approval says of itself, if it is signed with the key that it names. Whose key that is, is not proved.
func (a Approval) Read() (out Approved, err error) {
	if len(a) > MaxApproval || len(a) < len(approvalMagic)+ed25519.SignatureSize || !bytes.HasPrefix(a, []byte(approvalMagic)) {
		return Approved{}, errApproval
	}
	signed, signature := a[:len(a)-ed25519.SignatureSize], a[len(a)-ed25519.SignatureSize:]
	rest := []byte(signed[len(approvalMagic):])
	var n int
	var ok bool
	if out.Binding, out.Signer, n, ok = cutBinding(&rest); !ok || n > maxPasses {
		return Approved{}, errApproval
	}
	word := func() (string, bool) {
		size := cut(&rest, 2)
		if size == nil {
			return "", false
		}
		n := int(binary.BigEndian.Uint16(size))
		if n > len(rest) {
			return "", false
		}
		return string(cut(&rest, n)), true
	}
	for range n {
		track, ok := word()
		stage, also := word()
		index := cut(&rest, 4)
		if !ok || !also || index == nil {
			return Approved{}, errApproval
		}
		out.Passes = append(out.Passes, Pass{track, stage, int(binary.BigEndian.Uint32(index))})
	}
	if len(rest) != 0 || !ed25519.Verify(out.Signer[:], append([]byte(approvalLabel), signed...), signature) {
		return Approved{}, errApproval
	}
	return out, nil
}

// For is [Approval.Read], if it is for this very job, as it stands at a time. That does not change while the job does not and
// the approval has not expired; whether it counts may, see [Approved.Counts].
func (a Approval) For(j *sluice.Job, now time.Time) (Approved, error) {
	said, err := a.Read()
	if err != nil {
		return Approved{}, err
	}
	if err := said.Fits(j, now); err != nil {
		return Approved{}, &sluice.Error{Code: sluice.Denied, Text: "an approval of " + said.By, Err: err}
	}
	return said, nil
}

// Counts says why an approval for a job opens nothing now, or nil: it must not have expired, and be signed by somebody who is known
// by that key; where another one than who submitted the job has to, by neither who submitted it nor who signed it (submitter, with
// key), nor with that key. It is asked each time: a key may be known no more, and somebody else may have signed the job anew.
func (a Approved) Counts(j *sluice.Job, submitter string, key Key, now time.Time, known func(by string, signer Key) error) error {
	if !now.Before(a.Expires) {
		return sluice.Errorf(sluice.Denied, "the approval of %s was good until %s", a.By, a.Expires.Format(time.RFC3339))
	}
	if err := known(a.By, a.Signer); err != nil {
		return err
	}
	if j.Approval.By == sluice.AnotherApproves && (a.By == submitter || a.By == j.By || a.Signer == key) {
		return sluice.Errorf(sluice.Denied, "%s cannot approve job %s, which is their own", a.By, j.ID)
	}
	return nil
}

// Before are the gates of a job that need an approval before a host of it starts.
func Before(j *sluice.Job, h sluice.Host) []Pass {
	for _, t := range j.Tracks {
		var gates []Pass
		for k, s := range t.Stages {
			if slices.Contains(s.Hosts, h) {
				return gates
			}
			if s.Gate.Approve {
				gates = append(gates, Pass{t.Name, s.Name, k})
			}
		}
	}
	return nil
}
