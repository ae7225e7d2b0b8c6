package sealed

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func secret(s string) sluice.Secret { return sluice.NewSecret([]byte(s)) }

func aJob() *sluice.Job {
	hosts := []sluice.Host{"web1", "web2"}
	most := sluice.Count(2)
	return &sluice.Job{ID: "0123456789ab", Namespace: "prod", By: "ann", Fleet: "fleet.yaml", Expression: "$web", Command: "true",
		Action:  sluice.Action{Kind: sluice.RunCommand, Shell: "true", Args: []string{"a"}},
		Options: sluice.Options{MaxFailures: &most, Sudo: "root", Env: map[string]string{"A": "b"}, AskPassword: true, Prompts: []string{"p"}},
		Targets: hosts, Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: hosts}}}},
		Rules: "sha256:1", SSH: sluice.SSH{User: "ops", Port: 22, Jump: []string{"gate"}},
		HostSSH: map[sluice.Host]sluice.SSH{"web2": {Address: "10.0.0.2"}}, Target: sluice.TargetSettings{PreHooks: "/etc/sluice/pre.d"}}
}

func anyone(string, Key) error { return nil }

// set is a job with an envelope that opens.
type set struct {
	job      *sluice.Job
	worker   *WorkerKey
	signer   *Signer
	envelope Envelope
}

func newSet(t testing.TB) set {
	t.Helper()
	worker, err := NewWorkerKey()
	other, err2 := NewWorkerKey()
	signer, err3 := NewSigner()
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	s := set{job: aJob(), worker: worker, signer: signer}
	b, err := Bind(s.job, "ann", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s.envelope, err = Seal(b, Content{Password: secret("hunter2"), Passphrase: secret("")}, []Key{other.Public(), worker.Public()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	s := newSet(t)
	c, err := Open(s.envelope, s.worker, s.job, now, func(by string, k Key) error {
		if by != "ann" || k != s.signer.Public() {
			t.Errorf("signed by %s with %s", by, k.Fingerprint())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Password.Reveal()) != "hunter2" || !c.Passphrase.Set() || len(c.Passphrase.Reveal()) != 0 || c.Sudo.Set() || c.PrivateKey.Set() {
		t.Error("it is not what was sealed")
	}
	c.Wipe()
	if len(c.Password.Reveal()) != 0 {
		t.Error("it is not wiped")
	}
	if bytes.Contains(s.envelope, []byte("hunter2")) {
		t.Error("it can be read as it is")
	}
	h, err := s.envelope.Header()
	if err != nil || h.Job != s.job.ID || h.By != "ann" || !h.For(s.worker.Public()) || h.For(s.signer.Public()) {
		t.Errorf("%+v, error %v", h, err)
	}
}

// TestTheLogMakesNoOtherJob: a job that was written to the log and read again has the same digest, and another rule set or
// generation of rules changes nothing.
func TestTheLogMakesNoOtherJob(t *testing.T) {
	j := aJob()
	want, err := JobDigest(j)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(sluice.Event{Seq: 1, Time: now, Job: j.ID, Body: sluice.JobSubmitted{Submitted: *j}})
	if err != nil {
		t.Fatal(err)
	}
	var e sluice.Event
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	back := e.Body.(sluice.JobSubmitted).Submitted
	back.ID, back.Rules = j.ID, "sha256:2"
	if got, err := JobDigest(&back); err != nil || got != want {
		t.Errorf("%x, want %x, error %v", got, want, err)
	}
}

// TestEveryFieldCounts: whatever changes in a job, the envelope is not for it any more. The fields are found by
// reflection, so that one that is added is not forgotten.
func TestEveryFieldCounts(t *testing.T) {
	s := newSet(t)
	tried := 0
	plan := planDigest(t, s.job)
	var walk func(path string, v reflect.Value)
	refused := func(path string) {
		tried++
		if _, err := Open(s.envelope, s.worker, s.job, now, anyone); sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("with another %s: %v", path, err)
		}
		if who := path == "ID" || path == "By" || path == "Token" || path == "Trace"; who != (planDigest(t, s.job) == plan) {
			t.Errorf("with another %s an approval is as good as before: %v", path, !who)
		}
	}
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for f, e := range v.Fields() {
				if f.IsExported() && path+f.Name != "Rules" {
					walk(path+f.Name, e)
				}
			}
			return
		case reflect.Slice:
			was := v.Interface()
			v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 1, 1), v))
			refused(path)
			v.Set(reflect.ValueOf(was))
			if v.Len() > 0 {
				walk(path+"[0]", v.Index(0))
			}
			return
		}
		was := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Pointer:
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			} else {
				v.SetZero()
			}
		case reflect.Map:
			m := reflect.MakeMap(v.Type())
			m.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
			v.Set(m)
		default:
			t.Fatalf("%s is a %s: say here how it is changed", path, v.Kind())
		}
		refused(path)
		v.Set(was)
	}
	walk("", reflect.ValueOf(s.job).Elem())
	if tried < 50 {
		t.Errorf("only %d fields were changed", tried)
	}
	if _, err := Open(s.envelope, s.worker, s.job, now, anyone); err != nil {
		t.Errorf("as it was: %v", err)
	}
}

func planDigest(t *testing.T, j *sluice.Job) string {
	t.Helper()
	d, err := PlanDigest(j)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAnApprovalIsForTheRules(t *testing.T) {
	j := aJob()
	before := planDigest(t, j)
	j.Rules += "0"
	if planDigest(t, j) == before {
		t.Error("with other rules an approval is as good as before")
	}
}

func TestRefused(t *testing.T) {
	s := newSet(t)
	stranger, _ := NewWorkerKey()
	thief, _ := NewSigner()
	for _, c := range []struct {
		name, says string
		open       func() error
	}{
		{"another worker", "other workers", func() error {
			_, err := Open(s.envelope, stranger, s.job, now, anyone)
			return err
		}},
		{"too late", "good until 2026-03-04T06:06:07Z", func() error {
			_, err := Open(s.envelope, s.worker, s.job, now.Add(time.Hour), anyone)
			return err
		}},
		{"for too long", "more than 168h0m0s", func() error {
			b, _ := Bind(s.job, "ann", now.Add(MaxLife+time.Second))
			e, err := Seal(b, Content{}, []Key{s.worker.Public()}, s.signer)
			if err != nil {
				return err
			}
			_, err = Open(e, s.worker, s.job, now, anyone)
			return err
		}},
		{"somebody who is not known", "not ann", func() error {
			_, err := Open(s.envelope, s.worker, s.job, now, func(string, Key) error { return sluice.Errorf(sluice.Denied, "not ann") })
			return err
		}},
		{"another's signature", "not signed", func() error {
			p, _ := s.envelope.split()
			e := bytes.Clone(p.signed)
			at := bytes.Index(e, s.signer.Public().bytes())
			copy(e[at:], thief.Public().bytes())
			_, err := Open(append(e, p.signature...), s.worker, s.job, now, anyone)
			return err
		}},
		{"signed anew by somebody else", "do not open", func() error {
			p, _ := s.envelope.split()
			e := bytes.Clone(p.signed)
			at := bytes.Index(e, s.signer.Public().bytes())
			copy(e[at:], thief.Public().bytes())
			_, err := Open(thief.sign(e), s.worker, s.job, now, anyone)
			return err
		}},
		{"another job, signed anew by somebody else", "do not open", func() error {
			j := *s.job
			j.ID = "zzzzzzzzzzzz"
			b, _ := Bind(&j, "eve", now.Add(time.Hour))
			e, err := Seal(b, Content{}, []Key{s.worker.Public()}, thief)
			if err != nil {
				return err
			}
			p, _ := e.split()
			was, _ := s.envelope.split()
			copy(p.wrapped[0], was.wrapped[1])
			copy(p.content, was.content)
			_, err = Open(thief.sign(bytes.Clone(p.signed)), s.worker, &j, now, anyone)
			return err
		}},
		{"no worker at all", "1 to 256 workers", func() error {
			_, err := Seal(Binding{}, Content{}, nil, s.signer)
			return err
		}},
		{"a key that is none", "nothing can be sealed", func() error {
			b, _ := Bind(s.job, "ann", now.Add(time.Hour))
			_, err := Seal(b, Content{}, []Key{{}}, s.signer)
			return err
		}},
		{"a password that is too long", "4096 are the most", func() error {
			b, _ := Bind(s.job, "ann", now.Add(time.Hour))
			_, err := Seal(b, Content{Sudo: secret(strings.Repeat("x", MaxPassword+1))}, []Key{s.worker.Public()}, s.signer)
			return err
		}},
		{"text that is none", "no UTF-8", func() error {
			j := *s.job
			j.Action.Shell = "echo \xff"
			_, err := Bind(&j, "ann", now)
			return err
		}},
	} {
		if err := c.open(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func (k Key) bytes() []byte { return k[:] }

func (s *Signer) sign(signed []byte) Envelope {
	e, err := reSign(signed, s)
	if err != nil {
		panic(err)
	}
	return e
}

func reSign(signed []byte, by *Signer) (Envelope, error) {
	sig, err := by.private.Sign(nil, append([]byte(signLabel), signed...), crypto.Hash(0))
	return append(signed, sig...), err
}

// TestNoByteCanBeChanged: an envelope with one byte changed, cut off or added does not open.
func TestNoByteCanBeChanged(t *testing.T) {
	s := newSet(t)
	for i := range s.envelope {
		e := bytes.Clone(s.envelope)
		e[i] ^= 1 << (i % 8)
		if _, err := Open(e, s.worker, s.job, now, anyone); err == nil {
			t.Errorf("it opens with byte %d of %d changed", i, len(e))
		}
		if _, err := Open(s.envelope[:i], s.worker, s.job, now, anyone); err == nil {
			t.Errorf("it opens with %d of %d bytes", i, len(e))
		}
	}
	if _, err := Open(append(bytes.Clone(s.envelope), 0), s.worker, s.job, now, anyone); err == nil {
		t.Error("it opens with a byte more")
	}
}

// TestNoByteCanBeSignedAnew: also who has the signer's key cannot change what is inside, unless they know the secrets.
func TestNoByteCanBeSignedAnew(t *testing.T) {
	s := newSet(t)
	p, err := s.envelope.split()
	if err != nil {
		t.Fatal(err)
	}
	mine := len(p.header) + wrapSize // what is for the other worker may be anything: it is not ours to open
	for i := range p.signed {
		if i >= len(p.header) && i < mine {
			continue
		}
		e := bytes.Clone(p.signed)
		e[i] ^= 1 << (i % 8)
		if _, err := Open(s.signer.sign(e), s.worker, s.job, now, anyone); err == nil {
			t.Errorf("it opens with byte %d of %d changed", i, len(e))
		}
	}
}

// TestSizeTellsLittle: passwords of any usual length make envelopes of one size.
func TestSizeTellsLittle(t *testing.T) {
	s := newSet(t)
	b, _ := Bind(s.job, "ann", now.Add(time.Hour))
	sizes := map[int]bool{}
	for n := range 300 {
		e, err := Seal(b, Content{Password: secret(strings.Repeat("x", n)), Sudo: secret(strings.Repeat("y", n))}, []Key{s.worker.Public()}, s.signer)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(e)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("sizes %v", sizes)
	}
}

func TestAnyContentComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, most int) sluice.Secret {
			if !rapid.Bool().Draw(t, name+" is set") {
				return sluice.Secret{}
			}
			return sluice.NewSecret(rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, name))
		}
		c := Content{Password: draw("password", 200), Sudo: draw("sudo", MaxPassword), Passphrase: draw("passphrase", 9), PrivateKey: draw("key", 3000)}
		b, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeContent(b)
		if err != nil {
			t.Fatal(err)
		}
		was, is := c.fields(), back.fields()
		for i := range was {
			if was[i].secret.Set() != is[i].secret.Set() || !bytes.Equal(was[i].secret.Reveal(), is[i].secret.Reveal()) {
				t.Errorf("the %s is another", was[i].name)
			}
		}
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] ^= rapid.Byte().Filter(func(b byte) bool { return b != 0 }).Draw(t, "by")
		if other, err := decodeContent(b); err == nil { // then it is another one, and has one form, too
			if again, err := other.encode(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("two forms of one content, error %v", err)
			}
		}
	})
}

func TestItDoesNotPrint(t *testing.T) {
	s := newSet(t)
	for _, f := range []string{"%v", "%s", "%x", "%q", "%+v", "%#v", "%d"} {
		if out := fmt.Sprintf(f, s.envelope); out != placeholder {
			t.Errorf("%s: %s", f, out)
		}
	}
	private, _ := s.worker.Marshal()
	for _, v := range []any{s.worker, s.signer} {
		if out := fmt.Sprintf("%v %+v", v, v); strings.Contains(out, string(private)) {
			t.Errorf("%T prints its key", v)
		}
	}
	b, err := json.Marshal(map[string]Envelope{"e": s.envelope})
	var back map[string]Envelope
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || !bytes.Equal(back["e"], s.envelope) {
		t.Errorf("over the wire: error %v", err)
	}
}

func TestKeysInFiles(t *testing.T) {
	s := newSet(t)
	text, err := s.worker.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseWorkerKey(text)
	if err != nil || k.Public() != s.worker.Public() {
		t.Fatalf("error %v", err)
	}
	if _, err := Open(s.envelope, k, s.job, now, anyone); err != nil {
		t.Error(err)
	}
	if _, err := ParseSigner(text); err == nil {
		t.Error("a worker's key signs")
	}
	text, err = s.signer.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if signer, err := ParseSigner(text); err != nil || signer.Public() != s.signer.Public() {
		t.Errorf("error %v", err)
	}
}

func TestKnown(t *testing.T) {
	s := newSet(t)
	text := "# people\n\nann " + s.signer.Public().String() + "\nann " + s.worker.Public().String() + "\nbob " + s.worker.Public().String() + "\n"
	k, err := ParseKnown([]byte(text + text))
	if err != nil || len(k) != 3 || !k.Has("bob", s.worker.Public()) || k.Has("bob", s.signer.Public()) || len(k.Of("ann")) != 2 {
		t.Errorf("%v, error %v", k, err)
	}
	if again, err := ParseKnown(k.Text()); err != nil || !slices.Equal(again, k) {
		t.Errorf("%v, error %v", again, err)
	}
	for _, bad := range []string{"ann", "ann x", "ann " + s.signer.Public().String() + " more", "ann " + strings.Repeat("A", 42) + "B="} {
		if _, err := ParseKnown([]byte("\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for name, is := range map[string]bool{"ann": true, "": false, "#ann": false, "a b": false, "a\n": false, "ann@x": true} {
		if Namable(name) != is {
			t.Errorf("%q", name)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	s := newSet(f)
	f.Add([]byte(s.envelope))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Envelope(b).Header()
		if err != nil {
			return
		}
		again, err := h.encode() // one form of each
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Errorf("%+v, error %v", h, err)
		}
		if _, err := Open(b, s.worker, s.job, now, anyone); err == nil && !bytes.Equal(b, s.envelope) {
			t.Error("it opens")
		}
	})
}

func FuzzContent(f *testing.F) {
	b, _ := Content{Password: secret("x"), PrivateKey: secret("y")}.encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeContent(b)
		if err != nil {
			return
		}
		if again, err := c.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("two forms of one content, error %v", err)
		}
	})
}

func FuzzKnown(f *testing.F) {
	f.Add([]byte("ann " + Key{}.String() + "\n# x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKnown(b)
		if err != nil {
			return
		}
		if again, err := ParseKnown(k.Text()); err != nil || !slices.Equal(again, k) {
			t.Errorf("%v became %v, error %v", k, again, err)
		}
	})
}
