package diroutputs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"sluice"
)

const (
	fileMagic   = "SLUICEO1"
	fileHeader  = len(fileMagic) + saltLen
	saltLen     = 8
	frameMagic  = "frm1"
	frameHeader = 44
	// maxData bounds a frame, and so what reading one takes; longer pieces become several.
	maxData = 1 << 20
)

type salt [saltLen]byte

type kind uint8

const (
	kindStdout  kind = 1
	kindStderr  kind = 2
	kindMark    kind = 3
	kindFetched kind = 4
)

// stream names a stream within a job.
type stream struct {
	host, try uint32
	kind      kind
}

// streamOf checks names that come from outside. Nothing else becomes part of a path or a frame.
func streamOf(job sluice.JobID, a sluice.AttemptID, name string) (stream, error) {
	of, host, try, ok := a.Parse()
	if !ok || of != job || host > math.MaxUint32 || try > math.MaxUint32 {
		return stream{}, fmt.Errorf("output: %q is no attempt of job %q", a, job)
	}
	switch name {
	case "stdout":
		return stream{uint32(host), uint32(try), kindStdout}, nil
	case "stderr":
		return stream{uint32(host), uint32(try), kindStderr}, nil
	case "fetched":
		return stream{uint32(host), uint32(try), kindFetched}, nil
	}
	return stream{}, fmt.Errorf("output: %q is no stream; there are stdout, stderr and fetched", name)
}

// frame is a header.
type frame struct {
	stream
	length  int
	sum     uint32
	offset  int64
	prev    int64
	at, end int64 // where in the file it begins and where the next one does
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func sumOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// appendFrame appends a header and its data to b.
func appendFrame(b []byte, s salt, f frame, data []byte) []byte {
	begin := len(b)
	b = append(b, frameMagic...)
	b = append(b, byte(f.kind), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.host)
	b = binary.LittleEndian.AppendUint32(b, f.try)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, sumOf(data))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.prev))
	b = binary.LittleEndian.AppendUint32(b, headerSum(s, b[begin:]))
	return append(b, data...)
}

func headerSum(s salt, header []byte) uint32 {
	return crc32.Update(sumOf(s[:]), castagnoli(), header)
}

// parseFrame reads a header that begins at a place of the file.
func parseFrame(b []byte, s salt, at int64) (f frame, ok bool) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic ||
		headerSum(s, b[:40]) != binary.LittleEndian.Uint32(b[40:]) {
		return frame{}, false
	}
	f = frame{
		stream: stream{binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]), kind(b[4])},
		length: int(binary.LittleEndian.Uint32(b[16:])),
		sum:    binary.LittleEndian.Uint32(b[20:]),
		offset: int64(binary.LittleEndian.Uint64(b[24:])),
		prev:   int64(binary.LittleEndian.Uint64(b[32:])),
		at:     at,
	}
	f.end = at + frameHeader + int64(f.length)
	ok = f.length >= 0 && f.length <= maxData && f.offset >= 0 && f.offset <= math.MaxInt64-maxData &&
		f.prev >= 0 && f.prev < at && f.kind >= kindStdout && f.kind <= kindFetched &&
		(f.kind != kindMark || f.length == 0 && f.offset <= at)
	return f, ok
}

// readFrame reads the header at a place. ok is false where there is none, or not all of its data before size.
func readFrame(r io.ReaderAt, s salt, at, size int64) (f frame, ok bool, err error) {
	var b [frameHeader]byte
	if at < int64(fileHeader) || at > size-frameHeader {
		return frame{}, false, nil
	}
	if _, err := r.ReadAt(b[:], at); err != nil {
		return frame{}, false, err
	}
	f, ok = parseFrame(b[:], s, at)
	return f, ok && f.end <= size, nil
}

// scan visits the frames from a place on, and says where the last whole one ends, and where something that is no
// frame stands between frames for the first time (-1: nowhere).
func scan(r io.ReaderAt, s salt, from, size int64, visit func(frame) error) (end, hole int64, err error) {
	hole = -1
	for end = from; ; {
		f, ok, err := readFrame(r, s, end, size)
		if err != nil {
			return end, hole, err
		}
		if !ok {
			next, err := resync(r, s, end+1, size)
			if err != nil || next < 0 {
				return end, hole, err
			}
			if hole < 0 {
				hole = end
			}
			end = next
			continue
		}
		if err := visit(f); err != nil {
			return end, hole, err
		}
		end = f.end
	}
}

// resync looks for the next frame after damage, and returns -1 where there is none.
func resync(r io.ReaderAt, s salt, from, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for from <= size-frameHeader {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-from)], from)
		if err != nil && err != io.EOF {
			return -1, err
		}
		if n < frameHeader {
			return -1, nil
		}
		for i := 0; ; i++ {
			next := bytes.Index(buf[i:n], []byte(frameMagic))
			if next < 0 || i+next > n-frameHeader {
				break
			}
			i += next
			if f, ok := parseFrame(buf[i:n], s, from+int64(i)); ok && f.end <= size {
				return f.at, nil
			}
		}
		from += int64(n - frameHeader + 1) // a header may begin in what is left
	}
	return -1, nil
}
