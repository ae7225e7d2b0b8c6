// Package linear asks whether what clients see of a job could have happened one after another. Histories of submit, halt,
// resume, cancel, claim, complete and reading are recorded from clients that act at once, and checked with porcupine
// against a small machine; an answer that never came leaves its operation open to the end.
//
// All of it is in the tests of this package.
package linear
