// Package gosshd is a small real SSH server in Go, for the demonstration, for measuring without the cost of a new
// process, and for playing a hostile host. It runs commands by /bin/sh as the current user, or lets a function answer
// them.
//
// As with OpenSSH each command is a session of its own, and goes on when its link is lost. Unlike OpenSSH it serves
// any user name, always as the user who runs it, and its shell is not a login shell. It has no sftp and forwards nothing.
//
// It must listen on loopback or in a private network only: whoever holds one of its keys is the user who runs it. It
// knows nothing of fleets and of what is tested with it.
package gosshd
