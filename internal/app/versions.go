package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sluice"
	"sluice/internal/adapter/agefile"
	"sluice/internal/run/stock"
	"sluice/internal/run/versions"
)

// stockRoom is how many bytes of unpacked artifacts are kept near the hosts.
const stockRoom = 20 << 30

// identityFile has the age identities that sealed values of configurations are opened with, as age-keygen writes them.
const identityFile = "identity.txt"

// newVersions are the versions of releases for a worker whose data are in a directory, and whose identity is in another.
func newVersions(data, identity string, from stock.Opener) *versions.Versions {
	v := &versions.Versions{From: from, Stock: func(ctx context.Context) (*stock.Stock, error) {
		return stock.Open(ctx, filepath.Join(data, "stock"), stockRoom)
	}}
	path := filepath.Join(identity, identityFile)
	v.Unlock = func(armored string) (sluice.Secret, error) {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			return sluice.Secret{}, sluice.Errorf(sluice.Config, "%s has the mode %04o: others can read what opens sealed values", path, info.Mode().Perm()).WithHint("chmod 600 %s", path)
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return sluice.Secret{}, sluice.Errorf(sluice.Denied, "it is sealed, and there is no identity to open it with").
				WithHint("age-keygen -o %s, and seal it to that", path)
		}
		if err != nil {
			return sluice.Secret{}, &sluice.Error{Code: sluice.Config, Text: "the identity for sealed values", Err: err}
		}
		k := agefile.Key{Identities: sluice.NewSecret(text)}
		defer k.Identities.Wipe()
		return k.Unlock(armored)
	}
	return v
}
