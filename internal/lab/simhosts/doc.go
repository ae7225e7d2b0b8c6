// Package simhosts simulates any number of hosts in one process, as a worker sees them: a session on a host speaks the
// protocol of the supervisor, an attempt starts at most once and runs on when the link is lost, and its record stays until
// it is acknowledged. No command is run: one that says "sim 50ms 3" takes that long and ends with that status.
//
// Hosts are served on a socket, so that workers may be killed and the hosts live on. What started where is kept in a trace
// of its own, for checkers that believe nobody else.
package simhosts
