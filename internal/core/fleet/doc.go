// Package fleet turns fleet files into a [sluice.Fleet], and target expressions into hosts.
//
// It is pure: the same files and the same answers of resolvers give the same fleet, host by host and in the same
// order, and every mistake is an error with its place. What it needs of the world comes through [Source]; it must
// not know where files come from, how programs run, or what becomes of the hosts: plans, budgets and retired hosts
// are other packages' business.
//
// # How a fleet is made
//
//  1. The file and what it includes are read, included files before the file that includes them.
//  2. Tags, resolvers and inventories are declared, so that a name is known wherever it stands.
//  3. The sections are read in the order of the text. This is when hosts become known, each at its first mention:
//     that is fleet order. Resolvers that the files use are run here.
//  4. Tags, sequences, constraints and settings are worked out to sets of hosts.
//
// A [Recorder] makes a [Bundle] of what that needed, so that a fleet is loaded by the same code where its files and
// programs are not.
//
// A set of hosts is a sorted list of places in fleet order, so that "or", "and" and "but not" are merges, and a
// hundred thousand hosts cost about a thousand times as much as a hundred.
package fleet
