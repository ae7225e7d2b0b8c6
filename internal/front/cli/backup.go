package cli

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice"
)

// BackupOptions say what a backup is locked to, and where it goes.
type BackupOptions struct {
	Data       string // "": where a server keeps it by default
	Path       string // "": Out
	Out        io.Writer
	Passphrase sluice.Secret
	Recipients []byte // one a line; age1...
	// Work is the logarithm of how much work a guess of the passphrase takes; 0: about a second.
	Work int
}

// BackedUp is what is in a backup.
type BackedUp struct {
	Made    time.Time     `json:"made"`
	Heads   []sluice.Head `json:"heads"`
	Records int           `json:"records"`
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
}

// RestoreOptions say what opens a backup, and where it comes from.
type RestoreOptions struct {
	Data       string // an empty directory, or one that is not there
	Path       string // "": In
	In         io.Reader
	Passphrase sluice.Secret
	Identities sluice.Secret // as age-keygen writes them
}

// Restored is what was restored.
type Restored struct {
	Data    string         `json:"data"`
	Made    time.Time      `json:"made"`
	Version string         `json:"version"`
	Epoch   int            `json:"epoch"`
	Halted  []sluice.JobID `json:"halted"`
	Records int            `json:"records"`
	Files   int            `json:"files"`
	Bytes   int64          `json:"bytes"`
}

// lockFlags say where a passphrase comes from.
type lockFlags struct {
	fd   int
	file string
}

func (f *lockFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.fd, "passphrase-fd", -1, "read the passphrase from file descriptor `N`")
	c.Flags().Lookup("passphrase-fd").DefValue = "0"
	c.Flags().StringVar(&f.file, "passphrase-file", "", "read the passphrase from this `file`")
}

// passphrase is what the flags say; without any a person is asked, where there is one, twice if it is new.
func (a *app) passphrase(f lockFlags, isNew bool) (sluice.Secret, error) {
	var text []byte
	var err error
	switch {
	case f.fd >= 0 && f.file != "":
		return sluice.Secret{}, sluice.Errorf(sluice.Usage, "--passphrase-fd or --passphrase-file, not both")
	case f.fd >= 0:
		text, err = a.ReadFD(f.fd)
	case f.file != "":
		text, err = a.Files.Read(f.file)
	case a.Ask == nil:
		return sluice.Secret{}, nil
	default:
		return a.askTwice(isNew)
	}
	if err != nil {
		return sluice.Secret{}, err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return sluice.Secret{}, sluice.Errorf(sluice.Usage, "the passphrase is empty")
	}
	return sluice.NewSecret(text), nil
}

func (a *app) askTwice(isNew bool) (sluice.Secret, error) {
	first, err := a.Ask("Passphrase of the backup: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := a.Ask("The same again: ")
	if err == nil && (!bytes.Equal(first.Reveal(), second.Reveal()) || len(first.Reveal()) == 0) {
		err = sluice.Errorf(sluice.Usage, "the two are not the same, or empty; nothing was done")
	}
	return first, err
}

func (a *app) backupCommand() *cobra.Command {
	var o BackupOptions
	var f lockFlags
	var recipients []string
	var file string
	c := &cobra.Command{
		Use:   "backup {FILE | -}",
		Short: "Write all that a server keeps into one encrypted file",
		Long: `Write all that a server keeps into one encrypted file: log, outputs, what jobs
send, keys. The server may run. The file is locked to a passphrase, or to
recipients as age-keygen makes them; without one it cannot be read.`,
		Args: args(1, 1, "a file, or - for the standard output"),
		RunE: func(c *cobra.Command, given []string) error {
			var err error
			if o.Recipients, err = a.recipients(recipients, file); err != nil {
				return err
			}
			if len(o.Recipients) == 0 || f.fd >= 0 || f.file != "" {
				if o.Passphrase, err = a.passphrase(f, true); err != nil {
					return err
				}
			}
			if o.Path = given[0]; o.Path == "-" {
				if a.StdoutTerminal {
					return sluice.Errorf(sluice.Usage, "a backup is nothing for a terminal").WithHint("%s FILE", c.CommandPath())
				}
				o.Path, o.Out = "", a.Stdout
			}
			done, err := a.Backup(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json() && o.Path != "" {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.Stderr, "backed up: %d records, %d files of %d bytes\n", done.Records, done.Files, done.Bytes)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&o.Data, "data", "", "`directory` of all that the server keeps")
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "lock it to this `recipient`, age1...; may be repeated")
	c.Flags().StringVar(&file, "recipients-file", "", "lock it to the recipients in this `file`, one a line")
	return c
}

func (a *app) recipients(list []string, file string) ([]byte, error) {
	var out []byte
	if file != "" {
		var err error
		if out, err = a.Files.Read(file); err != nil {
			return nil, err
		}
	}
	for _, r := range list {
		out = append(append(out, '\n'), r...)
	}
	return out, nil
}

func (a *app) restoreCommand() *cobra.Command {
	var o RestoreOptions
	var f lockFlags
	var identities string
	c := &cobra.Command{
		Use:   "restore {FILE | -} [--data DIRECTORY]",
		Short: "Make the data of a server of a backup; it begins halted",
		Long: `Make the data of a server of a backup, in a directory that is empty or not there
yet. All of it is proved first. Every job that is not over is halted: nothing
starts before somebody resumes it.`,
		Args: args(1, 1, "a file, or - for the standard input"),
		RunE: func(c *cobra.Command, given []string) error {
			var err error
			if identities != "" {
				text, err := a.Files.Read(identities)
				if err != nil {
					return err
				}
				o.Identities = sluice.NewSecret(text)
			}
			if identities == "" || f.fd >= 0 || f.file != "" {
				if o.Passphrase, err = a.passphrase(f, false); err != nil {
					return err
				}
			}
			if o.Path = given[0]; o.Path == "-" {
				o.Path, o.In = "", a.Stdin
			}
			done, err := a.Restore(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.Stdout, "Restored into %s what was kept on %s: %d records, %d files. Epoch %d.\n", done.Data,
				done.Made.Format("2006-01-02 15:04:05"), done.Records, done.Files, done.Epoch)
			for _, id := range done.Halted {
				fmt.Fprintf(a.Stdout, "halted %s\n", id)
			}
			fmt.Fprintln(a.Stdout, "Before you resume anything, look on the hosts for what happened since.\nNext: sluice server --data", done.Data)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&o.Data, "data", "", "`directory` for all that the server keeps")
	c.Flags().StringVar(&identities, "identity-file", "", "open it with the identities in this `file`, as age-keygen writes them")
	return c
}
