// Package webhookfiles keeps, in a directory that nobody else may read, the secrets of webhooks and how far each has got:
// NAME.secret and NAME.places. It knows nothing of what is sent.
package webhookfiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sluice"
)

// Dir is the directory.
type Dir struct{ path string }

// New makes the directory where it is not there.
func New(path string) (Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return Dir{}, &sluice.Error{Code: sluice.Config, Text: "the files of webhooks", Err: err}
	}
	return Dir{path}, nil
}

// name is a file of a webhook. A name that could lead elsewhere has none.
func (d Dir) name(id sluice.WebhookID, kind string) (string, error) {
	if _, err := sluice.ParseWebhookID(string(id)); err != nil {
		return "", err
	}
	return filepath.Join(d.path, string(id)+"."+kind), nil
}

// Secret reads a secret.
func (d Dir) Secret(id sluice.WebhookID) (sluice.Secret, error) {
	file, err := d.name(id, "secret")
	if err != nil {
		return sluice.Secret{}, err
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return sluice.Secret{}, sluice.Errorf(sluice.Config, "the webhook %s has no secret on this server any more", id).
			WithHint("sluice webhook set %s --new-secret ...", id)
	}
	if err != nil {
		return sluice.Secret{}, fmt.Errorf("the secret of the webhook %s: %w", id, err)
	}
	return sluice.NewSecret(b), nil
}

// SetSecret keeps a secret in place of the one before.
func (d Dir) SetSecret(id sluice.WebhookID, s sluice.Secret) error {
	return d.write(id, "secret", s.Reveal())
}

// Places reads how far a webhook has got.
func (d Dir) Places(id sluice.WebhookID) (map[sluice.Namespace]uint64, error) {
	file, err := d.name(id, "places")
	if err != nil {
		return nil, err
	}
	out := map[sluice.Namespace]uint64{}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("how far the webhook %s has got: %w", id, err)
	}
	return out, nil
}

// SetPlaces keeps how far a webhook has got.
func (d Dir) SetPlaces(id sluice.WebhookID, p map[sluice.Namespace]uint64) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return d.write(id, "places", b)
}

// write replaces a file, so that after a crash there is the old one or the new one.
func (d Dir) write(id sluice.WebhookID, kind string, b []byte) error {
	file, err := d.name(id, kind)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(d.path, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return d.sync()
}

func (d Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Remove forgets a webhook.
func (d Dir) Remove(id sluice.WebhookID) error {
	for _, kind := range []string{"secret", "places"} {
		file, err := d.name(id, kind)
		if err != nil {
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return d.sync()
}
