// Package release is what a deploy or a rollback does on one host, as values: what the host says about itself, which
// directory a version gets there, what has to be sent, why the host cannot take it, what is kept, and the text of the steps
// that carry it out.
//
// A deploy begins with a look ([LookText], [Report]), from which [Decide] makes a [Plan] or says why not. [Plan.Parcel] is
// what is sent, and [Plan.Steps] what the supervisor of package target runs.
//
// It is pure: it opens no connection and no file. How the text gets to a host is a question of internal/run/work.
package release
