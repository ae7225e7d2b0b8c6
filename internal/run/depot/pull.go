package depot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/internal/core/artifact"
)

// Pull brings the content of a version into a local file, which has its name only when it is whole and proved. What an earlier
// pull that was killed has brought is not fetched again. Another file of that name is replaced only if over is true.
func (d *Depot) Pull(ctx context.Context, n sluice.ArtifactName, path string, over bool, progress artifact.Progress) (artifact.Shown, error) {
	v, err := d.Find(ctx, n)
	if err != nil {
		return v, err
	}
	if is, err := digestOf(path); err == nil && is == v.Digest {
		return v, nil
	} else if err == nil && !over {
		return v, sluice.Errorf(sluice.Conflict, "%s is there already, with another content", path).WithHint("--force replaces it, --to FILE takes another name")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part-"+strings.TrimPrefix(v.Digest, "sha256:")[:16])
	if err := d.fetch(ctx, v.Record, part, progress); err != nil {
		return v, fmt.Errorf("pulling %s: %w", v.ArtifactName, err)
	}
	return v, errors.Join(os.Rename(part, path), syncDir(filepath.Dir(path)))
}

func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// fetch goes on with what is in the file. Should that not come to what it should be, it begins anew, once.
func (d *Depot) fetch(ctx context.Context, r artifact.Record, part string, progress artifact.Progress) error {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		went, is, err := d.goOn(ctx, f, r, progress)
		if err != nil {
			if sluice.CodeOf(err) == sluice.Conflict { // damaged at its source: no use in what is here
				err = errors.Join(err, os.Remove(part))
			}
			return err
		}
		if is == r.Digest {
			return f.Sync()
		}
		if !went {
			return errors.Join(sluice.Errorf(sluice.Conflict, "the content is damaged: it is %s, and should be %s", is, r.Digest).
				WithHint("push the same version again: that mends it"), os.Remove(part))
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
}

// goOn fetches what is not in the file yet. went says that there was something.
func (d *Depot) goOn(ctx context.Context, f *os.File, r artifact.Record, progress artifact.Progress) (went bool, digest string, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, "", err
	}
	sum := sha256.New()
	there, err := io.Copy(sum, io.LimitReader(f, r.Bytes))
	if err != nil {
		return false, "", err
	}
	if err := f.Truncate(there); err != nil {
		return false, "", err
	}
	in, err := d.Store.Open(ctx, r.Digest)
	if err != nil {
		return false, "", err
	}
	defer in.Close()
	if there > 0 {
		seeker, ok := in.(io.Seeker)
		if !ok {
			return false, "", fmt.Errorf("%T cannot go on in the middle", in)
		}
		if _, err := seeker.Seek(there, io.SeekStart); err != nil {
			return false, "", err
		}
	}
	m := &meter{"fetching", there, r.Bytes, progress}
	if _, err := io.Copy(io.MultiWriter(f, sum, m), io.LimitReader(in, r.Bytes-there+1)); err != nil {
		return false, "", err
	}
	return there > 0, "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
