// Package agefile encrypts and decrypts streams in the format of age (age-encryption.org): to a passphrase, or to
// recipients who have keys of their own.
//
// It knows nothing of what is in them.
package agefile

import (
	"bytes"
	"errors"
	"io"

	"filippo.io/age"

	"sluice"
)

// Lock is what a stream is locked to: a passphrase, or recipients, one a line, such as age1....
type Lock struct {
	Passphrase sluice.Secret
	Recipients []byte
	// Work is the logarithm of how much work a guess of the passphrase takes; 0: about a second.
	Work int
}

// Seal returns a writer that encrypts to w. What was written is whole only when Close has returned without an error.
func (l Lock) Seal(w io.Writer) (io.WriteCloser, error) {
	if len(bytes.TrimSpace(l.Recipients)) > 0 {
		if l.Passphrase.Set() {
			return nil, sluice.Errorf(sluice.Usage, "a passphrase or recipients, not both: age does not mix them")
		}
		to, err := age.ParseRecipients(bytes.NewReader(l.Recipients))
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Usage, Text: "the recipients", Err: err, Hint: "one a line, such as age1...; age-keygen makes a key and says its recipient"}
		}
		return age.Encrypt(w, to...)
	}
	if !l.Passphrase.Set() {
		return nil, sluice.Errorf(sluice.Usage, "a backup has secrets in it and is never written without a lock").WithHint("--passphrase-fd, --passphrase-file, --recipient or --recipients-file")
	}
	to, err := age.NewScryptRecipient(string(l.Passphrase.Reveal()))
	if err != nil {
		return nil, err
	}
	if l.Work > 0 {
		to.SetWorkFactor(l.Work)
	}
	return age.Encrypt(w, to)
}

// Key opens what was locked: a passphrase, or identities as age-keygen writes them.
type Key struct {
	Passphrase sluice.Secret
	Identities sluice.Secret
}

// Open returns a reader of what was encrypted. It ends with an error where the stream was changed or cut off.
func (k Key) Open(r io.Reader) (io.Reader, error) {
	var with []age.Identity
	if k.Identities.Set() {
		ids, err := age.ParseIdentities(bytes.NewReader(k.Identities.Reveal()))
		if err != nil {
			return nil, sluice.Errorf(sluice.Usage, "the identities are none that age-keygen has made") // the cause may quote them
		}
		with = append(with, ids...)
	}
	if k.Passphrase.Set() {
		id, err := age.NewScryptIdentity(string(k.Passphrase.Reveal()))
		if err != nil {
			return nil, err
		}
		with = append(with, id)
	}
	if len(with) == 0 {
		return nil, sluice.Errorf(sluice.Usage, "a backup is locked").WithHint("--passphrase-fd, --passphrase-file or --identity-file")
	}
	out, err := age.Decrypt(r, with...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, sluice.Errorf(sluice.Denied, "neither passphrase nor identity opens the backup")
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Usage, Text: "this is no backup, or its beginning is damaged", Err: err}
	}
	return out, nil
}
