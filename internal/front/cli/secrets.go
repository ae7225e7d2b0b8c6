package cli

import (
	"bytes"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/run/control"
)

// secretFlags say where passwords come from. None of them takes a password itself: arguments are seen by everybody.
type secretFlags struct {
	askPassword, askSudo, askPassphrase bool
	passwordFD, sudoFD, passphraseFD    int
	identityFile                        string
	sign                                bool
	trust                               []string
}

func (s *secretFlags) add(c *cobra.Command) {
	s.addHere(c)
	fs := c.Flags()
	fs.BoolVar(&s.sign, "sign", false, "sign the job, so that a worker of a server carries out what was asked for and nothing else")
	fs.StringArrayVar(&s.trust, "trust-worker", nil, "give secrets to the worker of a server whose key has this `fingerprint`, without a question; may be repeated")
}

// addHere adds those of what is done from this machine.
func (s *secretFlags) addHere(c *cobra.Command) {
	fs := c.Flags()
	fs.BoolVar(&s.askPassword, "ask-password", false, "ask for the password to log in with")
	fs.BoolVar(&s.askSudo, "ask-sudo-password", false, "ask for the password that sudo asks for")
	fs.BoolVar(&s.askPassphrase, "ask-passphrase", false, "ask for the passphrase of encrypted keys")
	fs.IntVar(&s.passwordFD, "password-fd", -1, "read the password from file descriptor `N` instead")
	fs.IntVar(&s.sudoFD, "sudo-password-fd", -1, "read the sudo password from file descriptor `N` instead")
	fs.IntVar(&s.passphraseFD, "passphrase-fd", -1, "read the passphrase from file descriptor `N` instead")
	fs.StringVar(&s.identityFile, "identity-file", "", "log in with the private key in this local `file`; a server keeps it as it keeps passwords, in memory and sealed")
	for _, name := range []string{"password-fd", "sudo-password-fd", "passphrase-fd"} {
		fs.Lookup(name).DefValue = "0" // so that no default is shown
	}
}

// none says that there are no descriptors: 0 would be one.
func (s *secretFlags) none() { s.passwordFD, s.sudoFD, s.passphraseFD = -1, -1, -1 }

// wants says which secrets the job will have.
func (s *secretFlags) wants() (password, sudo, passphrase bool) {
	return s.askPassword || s.passwordFD >= 0, s.askSudo || s.sudoFD >= 0, s.askPassphrase || s.passphraseFD >= 0
}

// secrets asks for what the flags say, once, before anything starts.
func (a *app) secrets(s secretFlags) (control.Secrets, error) {
	var out control.Secrets
	out.Workers = s.trust
	for _, w := range []struct {
		ask    bool
		fd     int
		flag   string
		prompt string
		to     *sluice.Secret
	}{
		{s.askPassword, s.passwordFD, "--ask-password", "Password for logging in: ", &out.Password},
		{s.askSudo, s.sudoFD, "--ask-sudo-password", "Password for sudo: ", &out.Sudo},
		{s.askPassphrase, s.passphraseFD, "--ask-passphrase", "Passphrase of your keys: ", &out.Passphrase},
	} {
		switch {
		case w.fd >= 0:
			text, err := a.ReadFD(w.fd)
			if err != nil {
				return out, &sluice.Error{Code: sluice.Usage, Text: "reading a secret", Err: err}
			}
			text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
			if len(text) == 0 || bytes.ContainsAny(text, "\n\x00") {
				return out, sluice.Errorf(sluice.Usage, "descriptor %d has no secret of one line", w.fd)
			}
			*w.to = sluice.NewSecret(text)
		case w.ask:
			if a.Ask == nil {
				return out, sluice.Errorf(sluice.Usage, "%s needs a terminal to ask at", w.flag).
					WithHint("--password-fd, --sudo-password-fd and --passphrase-fd read from descriptors")
			}
			secret, err := a.Ask(w.prompt)
			if err != nil {
				return out, &sluice.Error{Code: sluice.Usage, Text: "reading a secret", Err: err}
			}
			*w.to = secret
		}
	}
	var err error
	out.PrivateKey, err = a.privateKey(s.identityFile)
	return out, err
}

// privateKey reads the file of a private key; "" is none.
func (a *app) privateKey(file string) (sluice.Secret, error) {
	if file == "" {
		return sluice.Secret{}, nil
	}
	text, err := a.Files.Read(file)
	if err != nil {
		return sluice.Secret{}, &sluice.Error{Code: sluice.Usage, Text: "--identity-file", Err: err}
	}
	if !bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return sluice.Secret{}, sluice.Errorf(sluice.Usage, "--identity-file: %s is no private key", file).
			WithHint("it is the file without .pub, as ssh-keygen makes it")
	}
	return sluice.NewSecret(text), nil
}
