// Package sshexec reaches hosts over SSH: it implements [sluice.Transport] with golang.org/x/crypto/ssh, the
// user's ssh_config, known_hosts, keys and agent. It must not know what is run, or why.
//
// # What callers may rely on
//
// There is one connection per way to a host (user, address, port, jump hosts, host key and identities), shared
// by all its links and closed with the last of them; hosts behind the same jump host share the connection to
// it, even when they connect at the same moment.
//
// Everything that a host can draw out has an end: dialling, the handshake, opening a session, answering a
// keepalive. A host whose sshd turns connections away before it says who it is (MaxStartups) is tried again,
// with growing random pauses; nothing else is tried twice, and nothing after a password was sent.
//
// Errors of Connect are [*sluice.ConnectError]. [sluice.Link.Start] fails with one, too, where it is certain
// that the command was not started, and with [sluice.ErrLinkLost] where it may have been. Its context bounds
// the start only; Close ends a session. Wait returns as soon as the exit status is there, which may be before
// the streams end: what the command left running may hold them.
//
// # What is never done
//
// Host keys are always checked, whatever ssh_config says. No agent, port or X11 is forwarded, and channels
// that a host opens are refused; a host that goes on is dropped. No program that a configuration names is run.
// A password is sent once per connection, to a host whose key was right, and in a keyboard-interactive login
// only in answer to a single hidden question for a password.
package sshexec
