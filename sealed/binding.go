package sealed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"time"
	"unicode/utf8"

	"sluice"
)

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// Binding says what an envelope is good for.
type Binding struct {
	Job       sluice.JobID
	Namespace sluice.Namespace
	// By is who gives the secrets, as the server knows them. It need not be who submitted the job: somebody else may
	// resume it, with secrets of their own.
	By string
	// Digest is that of the job, and Targets that of its hosts.
	Digest, Targets Digest
	// Expires is when no worker opens it any more; whole seconds.
	Expires time.Time
}

// Bind makes the binding of a job as it stands.
func Bind(j *sluice.Job, by string, expires time.Time) (Binding, error) {
	digest, err := JobDigest(j)
	if err != nil {
		return Binding{}, err
	}
	return Binding{Job: j.ID, Namespace: j.Namespace, By: by, Digest: digest, Targets: targetsDigest(j.Targets),
		Expires: expires.UTC().Truncate(time.Second)}, nil
}

// JobDigest is the digest of all of a job that says what happens: what is run, on which hosts, in which order, reached how,
// with which options. The rules of the fleet are not in it: they say when, and change while it waits.
func JobDigest(j *sluice.Job) (Digest, error) {
	if !plain(reflect.ValueOf(j).Elem()) {
		return Digest{}, sluice.Errorf(sluice.Usage, "job %s has text in it that is no UTF-8, and cannot have secrets", j.ID)
	}
	job := *j
	job.Rules = ""
	b, err := json.Marshal(struct {
		ID     sluice.JobID
		Job    sluice.Job
		Tracks []sluice.Track
	}{j.ID, job, j.Tracks})
	if err != nil {
		return Digest{}, err
	}
	h := sha256.New()
	_, _ = h.Write([]byte("sluice job 1\x00"))
	_, _ = h.Write(b)
	return Digest(h.Sum(nil)), nil
}

// PlanDigest is the digest of what people look at before they approve: all that [JobDigest] says, and the rules, but not who
// submitted it and under which id. It is "sha256:" and 64 hexadecimal digits.
func PlanDigest(j *sluice.Job) (string, error) {
	job := *j
	job.ID, job.By, job.Token, job.Trace = "", "", "", ""
	d, err := JobDigest(&job)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = h.Write([]byte("sluice plan 1\x00"))
	_, _ = h.Write(d[:])
	_, _ = h.Write([]byte(j.Rules))
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// plain reports whether all text in a value is UTF-8: JSON writes other bytes all the same, and then two jobs would have
// one digest.
func plain(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Pointer:
		return v.IsNil() || plain(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if !plain(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for k, e := range v.Seq2() {
			if !plain(k) || !plain(e) {
				return false
			}
		}
	case reflect.Struct:
		for _, f := range v.Fields() {
			if !plain(f) {
				return false
			}
		}
	}
	return true
}

func targetsDigest(hosts []sluice.Host) Digest {
	h := sha256.New()
	_, _ = h.Write([]byte("sluice targets 1\x00"))
	for _, t := range hosts {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t)))) //nolint:gosec // a name has no 4 GB
		_, _ = h.Write([]byte(t))
	}
	return Digest(h.Sum(nil))
}

// Fits says why an envelope is not good for a job at a time, or nil.
func (b Binding) Fits(j *sluice.Job, now time.Time) error {
	again := "sluice resume " + string(j.ID) + " with the flags that give its secrets"
	switch {
	case b.Job != j.ID, b.Namespace != j.Namespace:
		return sluice.Errorf(sluice.Denied, "the secrets are for job %s of namespace %s, not for job %s of %s", b.Job, b.Namespace, j.ID, j.Namespace)
	case b.Targets != targetsDigest(j.Targets):
		return sluice.Errorf(sluice.Denied, "the secrets of job %s are for other hosts than it has", j.ID)
	case !now.Before(b.Expires):
		return sluice.Errorf(sluice.Denied, "the secrets of job %s were good until %s", j.ID, b.Expires.Format(time.RFC3339)).WithHint("%s", again)
	case b.Expires.After(now.Add(MaxLife)):
		return sluice.Errorf(sluice.Denied, "the secrets of job %s are to be good for more than %v", j.ID, MaxLife)
	}
	digest, err := JobDigest(j)
	if err != nil {
		return err
	}
	if b.Digest != digest {
		return sluice.Errorf(sluice.Denied, "the secrets of job %s are for another job than it is now: its command, order, options or the way to its hosts differ", j.ID)
	}
	return nil
}

// encode writes what a signature is bound to, behind the magic of what is signed: names with their lengths, digests, expiry, and
// the key of who signs.
func (b Binding) encode(magic string, signer Key) ([]byte, error) {
	out := []byte(magic)
	for _, s := range []string{string(b.Job), string(b.Namespace), b.By} {
		if len(s) == 0 || len(s) > textMost {
			return nil, sluice.Errorf(sluice.Usage, "a name in what is signed has 1 to %d bytes, not %d", textMost, len(s))
		}
		out = append(append(out, byte(len(s))), s...)
	}
	out = append(append(out, b.Digest[:]...), b.Targets[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(b.Expires.Unix())) //nolint:gosec // goes there and back
	return append(out, signer[:]...), nil
}

// cutBinding takes what encode wrote off the front, and the number that follows it: how many there are of what comes then, which is
// one at least.
func cutBinding(rest *[]byte) (b Binding, signer Key, n int, ok bool) {
	text := func() string {
		n := cut(rest, 1)
		if n == nil || n[0] == 0 {
			*rest = nil
			return ""
		}
		return string(cut(rest, int(n[0])))
	}
	b.Job, b.Namespace, b.By = sluice.JobID(text()), sluice.Namespace(text()), text()
	fixed := cut(rest, 2*sha256.Size+8+KeySize+2)
	if fixed == nil || !b.Job.Valid() {
		return Binding{}, Key{}, 0, false
	}
	b.Digest, b.Targets = Digest(fixed[:32]), Digest(fixed[32:64])
	seconds := binary.BigEndian.Uint64(fixed[64:])
	n = int(binary.BigEndian.Uint16(fixed[104:]))
	if seconds > maxSeconds || n == 0 {
		return Binding{}, Key{}, 0, false
	}
	b.Expires = time.Unix(int64(seconds), 0).UTC() //nolint:gosec // bounded
	return b, Key(fixed[72:104]), n, true
}
