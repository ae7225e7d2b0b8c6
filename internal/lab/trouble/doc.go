// Package trouble starts a program whose system calls go wrong: syncs that are slow or fail, writes that crawl, a wall
// clock that is set. It works for any program, static ones too, because it asks the kernel: a filter (seccomp) hands the
// calls over to the process that started the program, which lets them pass, later, or answers in the kernel's place.
//
// For the clock, the program is also made to ask the kernel what time it is, in place of the page that the kernel maps
// into every process (vDSO). The clock that only goes forward stays as it is, as it does when somebody sets the time.
//
// The package knows nothing of what is tested with it. A program that starts others gives them the same troubles; rules
// see which file a call is about, and leave alone what they do not mean.
package trouble
