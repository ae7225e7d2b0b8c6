// Package target is what happens on a target, as values: the text of the supervisor that is sent there, the
// quoting of what stands in it, the form of what comes back, and what a client may conclude from that. It
// matches prompts and masks secrets, too.
//
// It is pure: it opens no connection, reads no clock and makes no random numbers. How the text gets to a
// target and what is done with the conclusions is a question of internal/run/work.
package target
