package work

import (
	"context"
	"fmt"
	"io"
	"path"

	"sluice/internal/core/target"
	"sluice/internal/run/tree"
)

// copyFile puts one file in its place: beside it first, under a name of its own that nobody else made, then by
// one rename. $1 blob, $2 destination, $3 name, $4 mode, $5 attempt.
const copyFile = `umask 077
d=$2
case $d in /*) ;; *) d=./$d ;; esac
case $d in */) d=$d$3 ;; *) if [ -d "$d" ]; then d=$d/$3; fi ;; esac
if [ -d "$d" ]; then echo "$d is a directory" >&2; exit 1; fi
t=${d%/*}/.sluice-$5
trap 'rm -f "$t"' 0
trap 'exit 1' HUP INT TERM
rm -f "$t"
set -C
cat "$1" >"$t" || exit 1
set +C
chmod "$4" "$t" || exit 1
sync "$t" 2>/dev/null || sync
mv -f "$t" "$d" || exit 1
`

// copyTree unpacks beside the destination, and then moves every file to its place by a rename. What the
// destination has besides stays. $1 blob, $2 destination, $3 attempt.
const copyTree = `d=$2
case $d in /*) ;; *) d=./$d ;; esac
mkdir -p "$d" || exit 1
umask 077
s=$d/.sluice-$3
rm -rf "$s"
mkdir "$s" || exit 1
trap 'rm -rf "$s"' 0
trap 'exit 1' HUP INT TERM
tar -xpof "$1" -C "$s" || exit 1
sync
merge() (
a=$1 b=$2
set --
for f in "$a"/* "$a"/.[!.]* "$a"/..?*; do
if [ ! -e "$f" ] && [ ! -L "$f" ]; then continue; fi
n=$b/${f##*/}
if [ -d "$f" ] && [ ! -L "$f" ]; then
if [ -d "$n" ]; then merge "$f" "$n" || exit 1; continue; fi
if [ -e "$n" ] || [ -L "$n" ]; then echo "$n is in the way: it is no directory" >&2; exit 1; fi
elif [ -d "$n" ] && [ ! -L "$n" ]; then echo "$n is in the way: it is a directory" >&2; exit 1
fi
set -- "$@" "$f"
if [ $# -ge 200 ]; then mv -f "$@" "$b/" || exit 1; set --; fi
done
if [ $# -gt 0 ]; then mv -f "$@" "$b/" || exit 1; fi
)
merge "$s" "$d"
`

// prepareCopy looks at what is to be copied, once for all hosts: one file goes as it is, so that the target
// needs no tar for it.
func (t *attempt) prepareCopy(ctx context.Context) error {
	act := t.job.Action
	if act.Dest == "" {
		return fmt.Errorf("a copy needs a destination")
	}
	look, err := t.w.look(ctx, act.Source)
	if err != nil {
		return err
	}
	blob := target.Word{Text: target.Blob, Here: true}
	if !look.Single {
		t.main = append(target.Words("sh", "-c", copyTree, "sh"), blob)
		t.main = append(t.main, target.Words(act.Dest, string(t.a.Attempt))...)
		t.parcel = t.blobParcel(act.Source)
		return nil
	}
	t.main = append(target.Words("sh", "-c", copyFile, "sh"), blob)
	t.main = append(t.main, target.Words(act.Dest, path.Base(look.Name), fmt.Sprintf("%04o", look.Mode), string(t.a.Attempt))...)
	t.parcel = &parcel{sha: look.SHA256, open: func(ctx context.Context) (io.ReadCloser, error) {
		r, err := t.w.cfg.Blobs.Open(ctx, act.Source)
		if err != nil {
			return nil, err
		}
		return tree.OpenSingle(r)
	}}
	return nil
}

// look inspects a packed tree, and remembers what it saw: the content never changes under a digest.
func (w *Worker) look(ctx context.Context, digest string) (tree.Look, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l, ok := w.looks[digest]; ok {
		return l, nil
	}
	r, err := w.cfg.Blobs.Open(ctx, digest)
	if err != nil {
		return tree.Look{}, fmt.Errorf("what is to be copied is not in the store: %w", err)
	}
	defer func() { _ = r.Close() }()
	l, err := tree.Inspect(r)
	if err != nil {
		return l, fmt.Errorf("what is to be copied: %w", err)
	}
	w.looks[digest] = l
	return l, nil
}
