// Package headsdir keeps in files what is remembered of heads of logs: by a server the key that it signs them with and
// those that did not fit, by a client those that servers have shown to it, by a worker also the highest term of an owner.
//
// It knows nothing of what heads mean. Files are replaced as a whole and synced, for this user alone.
package headsdir

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"sluice"
)

const (
	keyName   = "heads.key"
	keySize   = 32
	alarmName = "heads.alarm"
)

// Dir is a directory that is made when it is first written to.
type Dir string

// Key returns the key that a server signs heads with. It is made at random if there is none.
func (d Dir) Key() ([]byte, error) {
	path := filepath.Join(string(d), keyName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, keySize)
		_, _ = rand.Read(b) // does not fail
		return b, d.replace(keyName, b)
	}
	if err == nil && len(b) != keySize {
		return nil, sluice.Errorf(sluice.Contact, "%s has %d bytes, not %d; heads that were signed before cannot be told from forged ones", path, len(b), keySize).
			WithHint("put the file back from a backup, or remove it: then what others have seen so far does not count any more")
	}
	return b, err
}

// Alarm returns the heads that did not fit and that nobody has repaired yet.
func (d Dir) Alarm() ([]sluice.SeenHead, error) { return d.read(alarmName) }

// SetAlarm keeps them; without any the alarm is over.
func (d Dir) SetAlarm(heads []sluice.SeenHead) error { return d.write(alarmName, heads) }

// Seen returns the heads that a server has shown to this user.
func (d Dir) Seen(server string) ([]sluice.SeenHead, error) { return d.read(fileOf(server)) }

// SetSeen keeps the heads that a server has shown.
func (d Dir) SetSeen(server string, heads []sluice.SeenHead) error {
	return d.write(fileOf(server), heads)
}

// Term is the highest term of owners that was seen of a server or a cluster.
func (d Dir) Term(server string) (t sluice.SeenTerm, err error) {
	path := filepath.Join(string(d), termOf(server))
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// SetTerm keeps it.
func (d Dir) SetTerm(server string, t sluice.SeenTerm) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return d.replace(termOf(server), append(b, '\n'))
}

func termOf(server string) string { return url.QueryEscape(server) + ".term" }

// fileOf names the file of a server; no two servers share one.
func fileOf(server string) string { return url.QueryEscape(server) + ".heads" }

func (d Dir) read(name string) (out []sluice.SeenHead, err error) {
	path := filepath.Join(string(d), name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func (d Dir) write(name string, heads []sluice.SeenHead) error {
	if len(heads) == 0 {
		err := os.Remove(filepath.Join(string(d), name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, d.sync())
	}
	b, err := json.MarshalIndent(heads, "", "  ")
	if err != nil {
		return err
	}
	return d.replace(name, append(b, '\n'))
}

func (d Dir) replace(name string, b []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(string(d), name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return d.sync()
}

func (d Dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
