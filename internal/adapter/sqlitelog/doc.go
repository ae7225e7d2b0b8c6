// Package sqlitelog keeps the journal of one machine in an SQLite file: it is a [sluice.Log].
//
// It knows events as JSON lines and nothing of what they mean; what may follow what is a question of rules, and
// those stand elsewhere.
//
// # What is kept
//
// One row for each append, a record:
//
//	namespace, first and last event number, payload, prev, hash
//
// The payload is one JSON object a line for each event, compressed (zstd) where it is long. The hash is SHA-256
// over prev, the namespace, both numbers and the payload as it was before compression; prev is the hash of the
// record before it in the namespace, zeros for the first. Numbers have no gaps. So whoever reads records in
// order has proved each of them, and the last hash stands for the whole journal. Two index tables lead from a
// job to its records; they can be rebuilt and prove nothing.
//
// # What a chain cannot show
//
// A chain that was cut short still fits. SQLite itself cuts: where its -wal is damaged or missing it goes on from
// what is left, without a word. Hence the anchor, a second small file: it says for each namespace which record
// was acknowledged last, and is written and synced after the commit and before Update returns. A journal whose
// chain does not run through its anchor has lost something or is another one, and takes no more events.
// [Accept] is how a person says that it has to do.
//
// # How often it is proved
//
// Open proves what lies between the anchor and the end, in each namespace: a few rows, however long the journal
// is. Update proves that again, under the lock. Read proves every record that it returns, and that it continues
// the one before; so a fold from the beginning, or from a snapshot, has proved all it rests on. [Log.Verify]
// proves everything, indexes included.
//
// # Who may be at it at the same time
//
// Any number of goroutines and processes of one machine. SQLite's locks do not hold over a network, and its
// shared memory even less, so network file systems are refused.
package sqlitelog
