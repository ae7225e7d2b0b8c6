package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice/internal/lab/gosshd"
)

// answer is a server that starts no process: it says at once, or when so many have come, that the command succeeded.
// It ends with its standard input, or when it is killed.
func answer(args []string) int {
	fs := flag.NewFlagSet("answer", flag.ContinueOnError)
	port := fs.Int("port", 0, "to listen at")
	key := fs.String("key", "", "private key `file` of the host")
	login := fs.String("login", "", "public key `file` of who may log in")
	gather := fs.Int("gather", 0, "answer no command before `N` have come")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	err := serveAnswers(*port, *key, *login, *gather)
	fmt.Fprintln(os.Stderr, "answer:", err)
	return 1
}

var marks = regexp.MustCompile(`echo (\S+); echo (\S+) >&2;`)

func serveAnswers(port int, key, login string, gather int) error {
	private, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	host, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(login)
	if err != nil {
		return err
	}
	may, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	come, all := 0, make(chan struct{})
	_, err = gosshd.Start(gosshd.Config{
		Addr: fmt.Sprintf("0.0.0.0:%d", port), HostKey: host, Authorized: []ssh.PublicKey{may},
		Answer: func(e *gosshd.Exec) (int, bool) {
			mu.Lock()
			if come++; come == max(gather, 1) {
				close(all)
			}
			mu.Unlock()
			select {
			case <-all:
			case <-time.After(time.Minute):
				_, _ = io.WriteString(e.Stderr, "the others did not come\n")
				return 1, true
			}
			// What is to come before the output of the command, on both streams.
			if m := marks.FindStringSubmatch(e.Command); m != nil {
				_, _ = io.WriteString(e.Stdout, m[1]+"\n")
				_, _ = io.WriteString(e.Stderr, m[2]+"\n")
			}
			return 0, true
		},
	})
	if err != nil {
		return err
	}
	select {} // the reaper ends it
}
