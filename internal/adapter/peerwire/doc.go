// Package peerwire is what the servers of a cluster say to each other, on a port of its own: HTTP/2 over TLS 1.3, where both sides prove
// who they are by certificates of the cluster's own authority. Over it
//
//   - a new server joins, with a token instead of a certificate,
//   - a request to the API that reached a server which does not own the log is handed on to the owner, and a worker's connection carried,
//   - a server reads and keeps what survives another one: records, blobs, outputs ([sluice.Peer]),
//   - and small questions are asked, whose meaning it does not know.
//
// A call is refused before anything else unless the other side is a member now: its certificate says who it is, and ServerConfig.Admit
// whether it still is one.
//
// It knows HTTP, and none of its types but those of requests leave it. Who owns the log, who is a member, and what is handed on is decided
// by those who use it.
package peerwire

import "time"

// Protocol is the version of all this that the program speaks, and Oldest the one that it still understands. What is only added needs no
// other version: fields that one does not know are passed over, and a question that it does not know is refused.
const (
	Protocol = 1
	Oldest   = 1
)

const (
	// prefix is where everything is but requests that are handed on: those keep their path, and are known by fromHeader.
	prefix = "/peer/1/"

	fromHeader = "Sluice-From"
	// ownHeader is on all answers but those to requests that were handed on and taken: it is problemOwn or fineOwn.
	ownHeader           = "Sluice-Peer"
	fineOwn, problemOwn = "fine", "problem"
	remoteHeader        = "Sluice-Remote"
	// protocolHeader is on all calls, and on all answers that have ownHeader; without it the version is 1.
	protocolHeader       = "Sluice-Peer-Protocol"
	lineProtocol         = "sluice-line"
	digestTrailer        = "Sluice-Digest"
	contentJSON, content = "application/json", "application/octet-stream"
)

const (
	// dialTime and shakeTime bound the way to a connection.
	dialTime  = time.Second
	shakeTime = 2 * time.Second
	// A connection over which nothing has come for quietTime is asked whether it lives, and given up after pingTime: a server that lost
	// power or stands still is known to be gone after both.
	quietTime = 2 * time.Second
	pingTime  = 3 * time.Second
	// writeTime bounds how long a connection takes nothing.
	writeTime = 10 * time.Second
	// Connections that nobody uses are ended by who opened them, long before the other side would: so none is ended while it is used anew.
	idleTime, idleTimeServer = 90 * time.Second, 10 * time.Minute
	headerTime               = 10 * time.Second
	// joinTime bounds a join, and answerTime how long a line waits for an answer.
	joinTime, answerTime = 30 * time.Second, 5 * time.Second
	// linger is what is left for one direction of a line when the other one has ended.
	linger = 2 * time.Second

	maxAsk     = 1 << 20 // a question, and an answer
	maxJoin    = 1 << 20
	maxProblem = 64 << 10
	maxFrom    = 64 << 10
	// maxHeader leaves room for what is added to a request that a server took.
	maxHeader = 2 << 20
	// Streams on one connection must not starve each other: of what is not read yet, one has a small part of what all have.
	streamWindow, connWindow = 128 << 10, 4<<20 - 1
	maxStreams               = 1000
)
