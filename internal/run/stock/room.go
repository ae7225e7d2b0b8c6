package stock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/internal/core/manifest"
)

const busySuffix = ".busy"

// held is a tree that the cache has, as it is on the disk.
type held struct {
	path  string
	used  time.Time
	files map[string]int64 // sizes by digest
}

// room makes room for a tree, and returns the lock that keeps it here. The tree counts with all its files from now on, be
// they here or on their way.
func (s *Stock) room(ctx context.Context, m manifest.Manifest) (lock *os.File, err error) {
	text := m.Encode()
	err = s.locked(ctx, func() error {
		s.sweep()
		p := s.tree(m)
		is, err := os.ReadFile(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		counts := bytes.Equal(is, text)
		if !counts {
			if err := s.free(m); err != nil {
				return err
			}
		}
		if lock, err = os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil && !counts { // what is there was cut off by a kill
			_, err = lock.WriteAt(text, 0)
			err = errors.Join(err, lock.Truncate(int64(len(text))))
		}
		if err == nil {
			err = os.Chtimes(p, time.Time{}, time.Now())
		}
		if err != nil {
			return errors.Join(err, lock.Close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the cache of artifacts in %s: %w", s.dir, err)
	}
	return lock, nil
}

func sizes(m manifest.Manifest) map[string]int64 {
	out := map[string]int64{}
	for _, e := range m {
		if e.Kind == manifest.File {
			out[e.SHA256] = e.Size
		}
	}
	return out
}

// free removes trees, those first that were used longest ago, until there is room for m beside the others; and files that are
// in none.
func (s *Stock) free(m manifest.Manifest) error {
	trees, err := s.trees()
	if err != nil {
		return err
	}
	own := s.tree(m)
	trees = slices.DeleteFunc(trees, func(h held) bool { return h.path == own })
	slices.SortFunc(trees, func(a, b held) int { return a.used.Compare(b.used) })
	need := sizes(m)
	for i := 0; total(trees, need) > s.most; {
		if i == len(trees) {
			return sluice.Errorf(sluice.Conflict, "there is no room: it may have %d bytes, and what is in use now and this artifact need %d", s.most, total(trees, need)).
				WithHint("give it more room, or let jobs end first")
		}
		if !remove(trees[i].path) {
			i++
			continue
		}
		trees = slices.Delete(trees, i, i+1)
	}
	return s.dropOthers(trees, need)
}

// total counts each file once.
func total(trees []held, more map[string]int64) (n int64) {
	seen := map[string]bool{}
	count := func(files map[string]int64) {
		for sum, size := range files {
			if !seen[sum] {
				seen[sum] = true
				n += size
			}
		}
	}
	count(more)
	for _, t := range trees {
		count(t.files)
	}
	return n
}

// remove takes a tree out, unless somebody has it.
func remove(p string) bool {
	f, err := os.Open(p)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	if err := os.Remove(p); err != nil {
		return false
	}
	_ = os.Remove(p + busySuffix) // nobody unpacks what nobody has
	return true
}

// dropOthers removes the files that are in none of the trees.
func (s *Stock) dropOthers(trees []held, more map[string]int64) error {
	needed := map[string]bool{}
	for sum := range more {
		needed[sum] = true
	}
	for _, t := range trees {
		for sum := range t.files {
			needed[sum] = true
		}
	}
	found, err := os.ReadDir(filepath.Join(s.dir, "files"))
	if err != nil {
		return err
	}
	for _, e := range found {
		if !needed[e.Name()] {
			s.mu.Lock()
			delete(s.proved, e.Name())
			s.mu.Unlock()
			if err := os.Remove(s.file(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// trees are those that the cache has. One that cannot be read was cut off by a kill, and is removed, unless somebody has it:
// then nothing can be removed.
func (s *Stock) trees() (out []held, err error) {
	found, err := os.ReadDir(filepath.Join(s.dir, "trees"))
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		p := filepath.Join(s.dir, "trees", e.Name())
		if strings.HasSuffix(p, busySuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		m, err := manifest.Parse(text)
		if err != nil || s.tree(m) != p {
			if !remove(p) {
				return nil, fmt.Errorf("%s is in use, and cannot be read: %w", p, errors.Join(err, errors.New("its digest differs")))
			}
			continue
		}
		out = append(out, held{p, info.ModTime(), sizes(m)})
	}
	return out, nil
}
