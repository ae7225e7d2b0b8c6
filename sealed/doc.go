// Package sealed puts the secrets of a job into an envelope that only the workers can open which carry the job out.
//
// An envelope is sealed to the keys of workers (HPKE, RFC 9180) and signed by who gives the secrets. It is good for one
// job as it stands, until a time: another command, another host, another order or another worker, and it does not open.
// Whoever carries it in between, a server above all, has opaque bytes.
//
// Both ends use this package. It knows no network, file, log or clock; it must not know who carries envelopes.
//
// The form, all numbers big-endian:
//
//	header      magic, version, job, namespace, by, digest of the job, digest of its targets, expiry, key of who signs,
//	            ids of the workers' keys
//	wrapped     for each of these workers: the content's key, by HPKE; info has the digest of the header in it
//	content     AES-256-GCM under that key, with the header as associated data; padded
//	signature   Ed25519, of all before it
package sealed
