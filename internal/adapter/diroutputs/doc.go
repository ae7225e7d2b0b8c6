// Package diroutputs keeps what attempts print in a directory, one file for each job: it is a [sluice.Outputs].
// It knows bytes, and nothing of what they say.
//
// # The file
//
// One file for a job and not one for a stream, because a job on ten thousand hosts has twenty thousand streams.
// It begins with eight bytes that say what it is and eight random ones, the salt; then come frames:
//
//	magic 4 | kind 1 | 0 3 | host 4 | try 4 | length 4 | sum of data 4 | offset 8 | previous 8 | sum of header 4 | data
//
// all numbers little-endian, sums CRC-32C. Kind is a stream; host and try are the attempt's; offset is the first
// byte's place in the stream; previous is where in the file the frame before it of the same stream begins, 0 for
// none. So a stream is read by going back from its last frame, header by header, and then forward, without
// reading the others. Sums of headers include the salt: what a host prints cannot pass for a frame.
//
// A frame of the kind mark holds no data. Its offset says that everything before that place in the file was
// synced when the mark was written.
//
// # After a crash
//
// Whoever writes to a job's file first has scanned it, from header to header. What is not whole behind the last
// mark is cut off: it was never promised. Damage before it is skipped: the streams that it hit end there with an
// error, all others are whole.
//
// # Who may be at it at the same time
//
// One process writes a job's file, which a lock makes sure of; any number read it meanwhile. Readers see frames
// that are whole.
package diroutputs
