package sqlitelog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sluice"

	"github.com/klauspost/compress/zstd"
)

// A snapshot is what somebody folded from the events up to a number, kept to start faster. It is a cache: it may
// be missing, old or damaged at any time, and is then ignored. It is a file of its own and not in the database,
// so that writing one holds up no append.

type snapshotHeader struct {
	Form int    `json:"form"`
	Seq  uint64 `json:"seq"`
	// Chain is the hash of the record that ends with the event Seq: the snapshot was folded from that chain and no other.
	Chain string `json:"chain"`
	Size  int    `json:"size"`
	Sum   string `json:"sum"` // of the data before compression
}

const snapshotForm = 1

var _ sluice.Snapshots = (*Log)(nil)

// SaveSnapshot keeps data as what is folded from the events up to seq, which must be the last of an append. One is
// kept for each namespace; the one before is gone.
func (l *Log) SaveSnapshot(ctx context.Context, ns sluice.Namespace, seq uint64, data []byte) error {
	if err := l.mayRead(ctx, ns); err != nil {
		return err
	}
	chain, ok, err := l.hashAt(ctx, ns, seq)
	if err != nil {
		return l.problem("reading", err)
	}
	if !ok {
		return sluice.Errorf(sluice.Conflict, "no snapshot can be kept of event %d of the namespace %s: no append ends there", seq, ns)
	}
	if len(data) > maxPayload {
		return sluice.Errorf(sluice.Conflict, "a snapshot of %d bytes is not kept: at most %d can be read again", len(data), maxPayload)
	}
	sum := sha256.Sum256(data)
	head, err := json.Marshal(snapshotHeader{snapshotForm, seq, chain, len(data), hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	l.sweep()
	file := l.packer.zip.EncodeAll(data, append(head, '\n'))
	return l.problem("writing a snapshot of", replaceFile(l.snapshotPath(ns), file))
}

// Snapshot returns the snapshot of a namespace, or seq 0 if there is none that fits the journal.
func (l *Log) Snapshot(ctx context.Context, ns sluice.Namespace) (seq uint64, data []byte, err error) {
	if err := l.mayRead(ctx, ns); err != nil {
		return 0, nil, err
	}
	file, err := os.ReadFile(l.snapshotPath(ns))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, l.problem("reading a snapshot of", err)
	}
	head, data, ok := parseSnapshot(file, l.packer.unzip)
	if !ok {
		return 0, nil, nil
	}
	chain, ok, err := l.hashAt(ctx, ns, head.Seq)
	if err != nil || !ok || chain != head.Chain {
		return 0, nil, l.problem("reading", err)
	}
	return head.Seq, data, nil
}

func parseSnapshot(file []byte, unzip *zstd.Decoder) (head snapshotHeader, data []byte, ok bool) {
	line, packed, found := bytes.Cut(file, []byte{'\n'})
	if !found || json.Unmarshal(line, &head) != nil || head.Form != snapshotForm || head.Size < 0 || head.Seq == 0 {
		return head, nil, false
	}
	data, err := unzip.DecodeAll(packed, nil)
	if err != nil {
		return head, nil, false
	}
	sum := sha256.Sum256(data)
	return head, data, len(data) == head.Size && hex.EncodeToString(sum[:]) == head.Sum
}

func (l *Log) snapshotPath(ns sluice.Namespace) string {
	return filepath.Join(l.dir, snapshotsDir, string(ns)+".snapshot")
}

// hashAt is the hash of the record that ends with an event.
func (l *Log) hashAt(ctx context.Context, ns sluice.Namespace, seq uint64) (sum string, ok bool, err error) {
	return l.hashBy(ctx, l.read, ns, seq)
}

func (l *Log) hashBy(ctx context.Context, q querier, ns sluice.Namespace, seq uint64) (sum string, ok bool, err error) {
	found, err := l.texts(ctx, q, "SELECT lower(hex(hash)) FROM record WHERE ns = ? AND last = ?", string(ns), int64(seq))
	if err != nil || len(found) == 0 {
		return "", false, err
	}
	return found[0][0], true, nil
}

// unfinished is what files are called that are being written; one that is older than abandoned never will be finished.
const (
	unfinished = ".new-*"
	abandoned  = time.Hour
)

// sweep removes what processes left behind that were killed while they wrote a snapshot.
func (l *Log) sweep() {
	left, _ := filepath.Glob(filepath.Join(l.dir, snapshotsDir, unfinished))
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(path)
		}
	}
}

// replaceFile puts a file in the place of another. It is not synced: its sum tells a torn one from a whole one.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, unfinished)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
