// Package agefile encrypts and decrypts streams in the format of age (age-encryption.org): to a passphrase, or to
// recipients who have keys of their own.
//
// It knows nothing of what is in them.
package agefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

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
		to, err := recipients(string(l.Recipients))
		if err != nil {
			return nil, err
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

// recipients reads them, one a line, and says which one is wrong.
func recipients(text string) (to []age.Recipient, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r, err := recipient(line)
		if err != nil {
			return nil, err
		}
		to = append(to, r)
	}
	if len(to) == 0 {
		return nil, sluice.Errorf(sluice.Usage, "there is no recipient among the recipients").WithHint("%s", madeBy)
	}
	return to, nil
}

const madeBy = "one is age1..., as age-keygen says it when it makes a key"

func recipient(text string) (r age.Recipient, err error) {
	bad := func(format string, args ...any) *sluice.Error {
		return sluice.Errorf(sluice.Usage, format, args...).WithHint("%s", madeBy)
	}
	kind, _, _ := strings.Cut(text, " ")
	switch {
	case strings.HasPrefix(text, "AGE-SECRET-KEY-"): // not shown: it opens backups
		return nil, bad("a recipient is what a backup is locked to, and this is what opens it: an identity").WithHint("age-keygen -y FILE says its recipient")
	case strings.HasPrefix(text, "age1pq1"):
		r, err = age.ParseHybridRecipient(text)
	case strings.HasPrefix(text, "age1"):
		r, err = age.ParseX25519Recipient(text)
	case strings.HasPrefix(kind, "ssh-"):
		return nil, bad("the recipient %s ... is a key of ssh; backups are locked to keys of age alone", kind)
	default: // not shown: it may be anything out of a file
		return nil, bad("a recipient of %d characters is none: it does not begin with age1", len(text))
	}
	if err != nil {
		why := strings.TrimPrefix(err.Error(), fmt.Sprintf("malformed recipient %q: ", text)) // it is named here already
		return nil, bad("the recipient %s is none, or mistyped: %s", text, why)
	}
	return r, nil
}

// Key opens what was locked: a passphrase, or identities as age-keygen writes them.
type Key struct {
	Passphrase sluice.Secret
	Identities sluice.Secret
}

// identities are what age tries.
func (k Key) identities() (with []age.Identity, err error) {
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
	return with, nil
}

// Open returns a reader of what was encrypted. It ends with an error where the stream was changed or cut off.
func (k Key) Open(r io.Reader) (io.Reader, error) {
	with, err := k.identities()
	if err != nil {
		return nil, err
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

// maxText is how long a text can be that is unlocked at once.
const maxText = 1 << 20

// Unlock opens a text that was encrypted and armored, such as a sealed value of a configuration. An error says nothing of what
// is in it.
func (k Key) Unlock(armored string) (sluice.Secret, error) {
	with, err := k.identities()
	if err != nil {
		return sluice.Secret{}, err
	}
	if len(with) == 0 {
		return sluice.Secret{}, sluice.Errorf(sluice.Denied, "there is no identity to open sealed values with")
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(armored)), with...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return sluice.Secret{}, sluice.Errorf(sluice.Denied, "it is sealed to others: no identity here opens it").WithHint("seal it to the recipient of this identity as well: age-keygen -y FILE says it")
	}
	if err != nil {
		return sluice.Secret{}, &sluice.Error{Code: sluice.Config, Text: "age has not sealed this, or it is damaged"} // the cause may quote what stands there
	}
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err != nil || len(text) > maxText {
		clear(text)
		return sluice.Secret{}, sluice.Errorf(sluice.Config, "what age has sealed is damaged, or has more than %d bytes", maxText)
	}
	return sluice.NewSecret(text), nil
}
