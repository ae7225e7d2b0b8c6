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
