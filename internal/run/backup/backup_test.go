package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sluice"
	"sluice/internal/run/backup"
)

// records are a log of which only the records are asked for.
type records []sluice.Record

func (l records) Records(_ context.Context, _ map[sluice.Namespace]uint64, visit func(sluice.Record) error) error {
	for _, r := range l {
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}
func (records) Heads(context.Context) ([]sluice.Head, error) { return nil, nil }
func (records) HashAt(context.Context, sluice.Namespace, uint64) (h sluice.ChainHash, ok bool, err error) {
	return h, false, nil
}

func chain(ns sluice.Namespace, size int, n uint64) (out records) {
	var end sluice.Head
	for i := range n {
		b, _ := json.Marshal(sluice.Event{Seq: i + 1, Time: time.Unix(0, 0), Body: sluice.HostHeld{Host: "h", Reason: strings.Repeat("x", size)}})
		r := sluice.Record{Namespace: ns, First: i + 1, Last: i + 1, Prev: end.Hash, Payload: append(b, '\n')}
		r.Hash = r.Sum()
		out, end = append(out, r), r.Head()
	}
	return out
}

var files = fstest.MapFS{"outputs/a.out": {Data: []byte("printed"), Mode: 0o600}, "blobs/sha256-00": {Data: bytes.Repeat([]byte("b"), 100000), Mode: 0o400},
	"heads.key": {Data: []byte("secret"), Mode: 0o600}, "empty": {Mode: 0o600}, "journal.db": {Data: []byte("no")}, "snapshots/x": {Data: []byte("no")},
	"blobs/.new-1": {Data: []byte("no")}, "control": {Mode: fs.ModeSocket}}

var leave = backup.LeaveAll([]string{"journal.db", "snapshots"}, []string{".new-"})

func write(t *testing.T, log records) []byte {
	t.Helper()
	var b bytes.Buffer
	s, err := backup.Write(t.Context(), &b, backup.Source{Log: log, Files: files, Leave: leave}, time.Unix(1e9, 0), "test")
	if err != nil || s.Records != len(log) || s.Files != 4 {
		t.Fatalf("%+v, error %v", s, err)
	}
	return b.Bytes()
}

type restored struct {
	log   records
	files map[string]string
}

type file struct {
	bytes.Buffer
	done func(string)
}

func (f *file) Close() error { f.done(f.String()); return nil }

func read(t *testing.T, b []byte) (restored, backup.Summary, error) {
	t.Helper()
	out := restored{files: map[string]string{}}
	s, err := backup.Read(t.Context(), bytes.NewReader(b), backup.Target{
		Put: func(_ context.Context, all iter.Seq2[sluice.Record, error]) error {
			for r, err := range all {
				if err != nil {
					return err
				}
				out.log = append(out.log, r)
			}
			return nil
		},
		Create: func(name string, _ uint32, _ time.Time) (io.WriteCloser, error) {
			if _, twice := out.files[name]; twice {
				return nil, errors.New(name + " is there already")
			}
			out.files[name] = ""
			return &file{done: func(text string) { out.files[name] = text }}, nil
		}})
	return out, s, err
}

// What would silently be missing ends the backup.
func TestLinksAreRefused(t *testing.T) {
	odd := fstest.MapFS{"link": {Data: []byte("elsewhere"), Mode: fs.ModeSymlink}}
	_, err := backup.Write(t.Context(), io.Discard, backup.Source{Log: records(nil), Files: odd, Leave: leave}, time.Unix(1e9, 0), "test")
	if sluice.CodeOf(err) != sluice.Config {
		t.Error(err)
	}
}

func TestComesBack(t *testing.T) {
	for name, log := range map[string]records{"empty": nil, "small": append(chain("lab", 1, 3), chain("prod", 10, 5)...), "large": chain("prod", 1<<20, 12)} {
		got, s, err := read(t, write(t, log))
		if err != nil || s.Records != len(log) || !s.Made.Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s: %+v, error %v", name, s, err)
		}
		if !slices.EqualFunc(got.log, log, func(a, b sluice.Record) bool { return a.Hash == b.Hash && a.Sum() == a.Hash }) {
			t.Errorf("%s: another log came back: %d records of %d", name, len(got.log), len(log))
		}
		for name, f := range files {
			if text, is := got.files[name]; is == leave(name) && name != "snapshots/x" && name != "control" || is && text != string(f.Data) {
				t.Errorf("%s: %v, %d bytes", name, is, len(text))
			}
		}
		if len(got.files) != 4 {
			t.Errorf("%s: %d files", name, len(got.files))
		}
	}
}

type entry struct {
	tar.Header
	text []byte
}

// TestDamageIsFound, of whatever kind, also by somebody who can lock a backup anew.
func TestDamageIsFound(t *testing.T) {
	good := write(t, append(chain("lab", 1, 3), chain("prod", 10, 5)...))
	at := func(list []entry, name string) int {
		return slices.IndexFunc(list, func(e entry) bool { return strings.HasPrefix(e.Name, name) })
	}
	replace := func(name, old, by string) func([]entry) []entry {
		return func(list []entry) []entry {
			e := &list[at(list, name)]
			if !bytes.Contains(e.text, []byte(old)) {
				t.Fatalf("%s has no %q", name, old)
			}
			e.text = bytes.Replace(e.text, []byte(old), []byte(by), 1)
			return list
		}
	}
	rename := func(to string, kind byte) func([]entry) []entry {
		return func(list []entry) []entry {
			e := &list[at(list, "files/empty")]
			e.Name, e.Typeflag = to, kind
			return list
		}
	}
	drop := func(name string) func([]entry) []entry {
		return func(list []entry) []entry { return slices.Delete(list, at(list, name), at(list, name)+1) }
	}
	for name, do := range map[string]func([]entry) []entry{
		"a changed event": replace("log/", "xxxxxxxxxx", "xxxxxxxxxy"),
		"a missing record": func(list []entry) []entry {
			e := &list[at(list, "log/")]
			e.text = e.text[bytes.IndexByte(e.text, '\n')+1:]
			return list
		},
		"a log cut off": func(list []entry) []entry {
			e := &list[at(list, "log/")]
			e.text = e.text[:bytes.LastIndexByte(e.text[:len(e.text)-1], '\n')+1]
			return list
		},
		"no log":            drop("log/"),
		"a changed file":    replace("files/outputs/a.out", "printed", "painted"),
		"a missing file":    drop("files/empty"),
		"no end":            drop("end.json"),
		"no beginning":      drop("backup.json"),
		"another form":      replace("backup.json", `"form":1`, `"form":2`),
		"two names changed": rename("files/other", tar.TypeReg),
		"a file outside":    rename("files/../../etc/passwd", tar.TypeReg),
		"an absolute file":  rename("files//etc/passwd", tar.TypeReg),
		"a file elsewhere":  rename("elsewhere/x", tar.TypeReg),
		"a link":            rename("files/empty", tar.TypeSymlink),
		"a file twice":      func(list []entry) []entry { i := at(list, "files/empty"); return slices.Insert(list, i, list[i]) },
		"a log after a file": func(list []entry) []entry {
			i := at(list, "log/")
			e := list[i]
			return slices.Insert(slices.Delete(list, i, i+1), at(list, "end.json")-1, e)
		},
	} {
		var list []entry
		for r := tar.NewReader(bytes.NewReader(good)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			text, _ := io.ReadAll(r)
			list = append(list, entry{*h, text})
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range do(list) {
			e.Size = int64(len(e.text))
			if err := w.WriteHeader(&e.Header); err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(e.text)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(t, b.Bytes()); err == nil || sluice.CodeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := read(t, good); err != nil {
		t.Errorf("nothing: %v", err)
	}
}
