package peerwire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sluice"
)

// What is a stream of many things is one of frames: a byte for the kind, four for the length of what follows, the highest first.
const (
	recordFrame = 'r' // two numbers of events in eight bytes, two hashes, the payload
	pieceFrame  = 'p' // a line of JSON, and data
	errorFrame  = 'e' // a problem, as JSON; it is the last
	endFrame    = 'z' // nothing; a stream without its last frame was cut off

	frameHead  = 5
	recordHead = 8 + 8 + 2*len(sluice.ChainHash{})
	// maxPayload bounds a record's.
	maxPayload = 128 << 20
	// maxPiece bounds the data of a piece; longer ones are sent in several.
	maxPiece     = 1 << 20
	maxPieceHead = 1 << 10
	firstRead    = 64 << 10
)

var errCut = errors.New("it was cut off")

func writeFrame(w io.Writer, kind byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	head := make([]byte, frameHead)
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(n))
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// readFrame reads a frame of at most so many bytes. It takes memory for what has come, and not for what is said to come.
func readFrame(r *bufio.Reader, most int) (kind byte, body []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errCut
		}
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[1:]))
	if n > int64(most) {
		return 0, nil, fmt.Errorf("a frame of %d bytes: at most %d are taken", n, most)
	}
	if n <= firstRead {
		body = make([]byte, n)
		if _, err = io.ReadFull(r, body); err != nil {
			body = nil
		}
	} else {
		var b bytes.Buffer
		if _, err = io.CopyN(&b, r, n); err == nil {
			body = b.Bytes()
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return head[0], body, err
}

func writeRecord(w io.Writer, r sluice.Record) error {
	if len(r.Payload) > maxPayload {
		return fmt.Errorf("a record of %d bytes: at most %d are sent", len(r.Payload), maxPayload)
	}
	head := make([]byte, 0, recordHead)
	head = binary.BigEndian.AppendUint64(head, r.First)
	head = binary.BigEndian.AppendUint64(head, r.Last)
	head = append(append(head, r.Prev[:]...), r.Hash[:]...)
	return writeFrame(w, recordFrame, head, r.Payload)
}

// recordOf makes a record of a frame, and proves it.
func recordOf(ns sluice.Namespace, body []byte) (r sluice.Record, err error) {
	if len(body) < recordHead {
		return r, errors.New("a record is too short")
	}
	r = sluice.Record{Namespace: ns, First: binary.BigEndian.Uint64(body), Last: binary.BigEndian.Uint64(body[8:]), Payload: body[recordHead:]}
	copy(r.Prev[:], body[16:])
	copy(r.Hash[:], body[16+len(r.Prev):])
	if r.First < 1 || r.First > r.Last {
		return r, fmt.Errorf("a record has the events %d to %d", r.First, r.Last)
	}
	if r.Sum() != r.Hash {
		return r, fmt.Errorf("the record that ends with event %d is not what was written", r.Last)
	}
	return r, nil
}

type wirePiece struct {
	Attempt sluice.AttemptID `json:"attempt"`
	Stream  string           `json:"stream"`
	Offset  int64            `json:"offset"`
}

// writePiece writes a piece in as many frames as it takes.
func writePiece(w io.Writer, p sluice.OutputPiece) error {
	for first := true; first || len(p.Data) > 0; first = false {
		head, err := json.Marshal(wirePiece{p.Attempt, p.Stream, p.Offset})
		if err != nil {
			return err
		}
		n := min(len(p.Data), maxPiece)
		if err := writeFrame(w, pieceFrame, head, []byte{'\n'}, p.Data[:n]); err != nil {
			return err
		}
		p.Offset, p.Data = p.Offset+int64(n), p.Data[n:]
	}
	return nil
}

func pieceOf(body []byte) (p sluice.OutputPiece, err error) {
	head, data, ok := bytes.Cut(body, []byte{'\n'})
	if !ok || len(head) > maxPieceHead || len(data) > maxPiece {
		return p, errors.New("a piece has no head")
	}
	var w wirePiece
	if err := json.Unmarshal(head, &w); err != nil {
		return p, fmt.Errorf("the head of a piece: %w", err)
	}
	if w.Offset < 0 {
		return p, fmt.Errorf("a piece at %d", w.Offset)
	}
	return sluice.OutputPiece{Attempt: w.Attempt, Stream: w.Stream, Offset: w.Offset, Data: data}, nil
}
