// Package sshconfig reads OpenSSH client configuration and says what it means for one host.
//
// It is a pure function of the bytes of the files and of the question: reading files, included ones too, is
// left to the caller. It must not know how connections are made.
//
// As in OpenSSH, the first value of a keyword wins, but for IdentityFile and CertificateFile, which add up.
// Keywords that it does not know are ignored: they are between the user and ssh. What would run a program
// that a file names ("Match exec", ProxyCommand) is refused where it matters for the host, never run.
package sshconfig
