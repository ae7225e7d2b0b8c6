// Package soak kills real processes of a server at random, again and again, while jobs run on simulated hosts that live
// on; and then holds what truly happened on the hosts against what was allowed. The checker reads the hosts' own trace, and
// nothing that Sluice wrote.
package soak
