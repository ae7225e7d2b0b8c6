package sshexec

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sluice/internal/adapter/sshexec/sshconfig"
)

// userConfig holds the parsed ssh_config files and reads them again when they, what they include, or the
// directories of the included files have changed.
type userConfig struct {
	home, user, system string
	env                func(string) string

	mu     sync.Mutex
	loaded bool
	stamps map[string]stamp
	files  []*sshconfig.File
	err    error
}

func (u *userConfig) resolve(q sshconfig.Query) (sshconfig.Settings, error) {
	files, err := u.current()
	if err != nil {
		return sshconfig.Settings{}, err
	}
	return sshconfig.Resolve(q, files...)
}

func (u *userConfig) current() ([]*sshconfig.File, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.loaded && !u.changed() {
		return u.files, u.err
	}
	u.loaded, u.stamps, u.files, u.err = true, map[string]stamp{}, nil, nil
	for _, f := range []struct{ path, dir string }{
		{u.user, filepath.Join(u.home, ".ssh")},
		{u.system, filepath.Dir(systemConfig)},
	} {
		if f.path == none {
			continue
		}
		data, err := u.read(f.path)
		if err != nil {
			u.err = err
			break
		}
		parsed, err := sshconfig.Parse(sshconfig.Source{Name: f.path, Data: data}, func(pattern string) ([]sshconfig.Source, error) {
			return u.include(pattern, f.dir)
		})
		if err != nil {
			u.err = err
			break
		}
		u.files = append(u.files, parsed)
	}
	return u.files, u.err
}

func (u *userConfig) changed() bool {
	for path, at := range u.stamps {
		if stampOf(path) != at {
			return true
		}
	}
	return false
}

func (u *userConfig) read(path string) ([]byte, error) {
	u.stamps[path] = stampOf(path)
	return readFile(path)
}

func (u *userConfig) include(pattern, dir string) (sources []sshconfig.Source, err error) {
	pattern, err = sshconfig.Tokens{}.Path(pattern, u.home, u.env)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	names := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		u.stamps[filepath.Dir(pattern)] = stampOf(filepath.Dir(pattern))
		if names, err = filepath.Glob(pattern); err != nil {
			return nil, err
		}
		slices.Sort(names)
	}
	for _, name := range names {
		data, err := u.read(name)
		if err != nil {
			return nil, err
		}
		if data != nil {
			sources = append(sources, sshconfig.Source{Name: name, Data: data})
		}
	}
	return sources, nil
}
