// Package doors is where those come in who want something from a server: workers and others by connections, and requests. What came in waits
// from one life of the server to the next, and nobody has to come again.
//
// It must not know what a life is, what it answers, or why another one begins.
package doors
