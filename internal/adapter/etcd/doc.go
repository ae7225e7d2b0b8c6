// Package etcd keeps what the servers of a cluster share in etcd, which is embedded here or exists elsewhere: it is a [sluice.Engine].
//
// # What is kept
//
// All keys are below one prefix:
//
//	own              who owns the log, as JSON, bound to a lease; the revision in which it was created is the number of the term
//	head/NS          the end of a namespace's chain
//	log/NS/LAST      a record, under the number of its last event, in 20 digits
//	part/NS/LAST/HASH/N  a piece of a record that is too large for one request; the record under log says how many there are
//
// A record and its head are put by one transaction, which compares the key of the owner and the head before: so a server that was
// paused, and is not the owner any more, can append nothing, and no record is there that does not continue the one before.
//
// # What is not known
//
// A request whose answer was lost may have been carried out. The same transaction is sent again until there is an answer: if the head
// is then what the record would have made it, it is there.
package etcd
