// Package soak kills real processes at random, again and again, while jobs run: servers, workers elsewhere, command lines
// that wait; and it has workers stand still for about as long as their lease. Hosts are simulated in a process of their own
// that lives on, or real ones with sshd. Then what truly happened on the hosts is held against what was allowed, and against
// the log. The checkers read the hosts' own trace and the log, and share no code with what decides.
package soak
