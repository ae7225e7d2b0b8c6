package simhosts

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
)

// opening is the first line of a connection: one session on one host.
type opening struct {
	Host    string `json:"host"`
	Command string `json:"command"`
}

// What the frames of a host carry.
const (
	frameStdout byte = 1
	frameStderr byte = 2
	frameExit   byte = 3
)

// Serve answers on a listener until ctx ends, and returns when every session and every command has ended.
func (h *Hosts) Serve(ctx context.Context, l net.Listener) error {
	var sessions sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			sessions.Wait()
			h.running.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		sessions.Go(func() {
			defer c.Close()
			end := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer end()
			h.answer(c)
		})
	}
}

func (h *Hosts) answer(c net.Conn) {
	in := bufio.NewReader(c)
	line, err := in.ReadBytes('\n')
	var o opening
	if err != nil || json.Unmarshal(line, &o) != nil {
		return
	}
	s := &session{hosts: h, host: o.Host, in: in, out: func(stream byte, data []byte) error { return writeFrame(c, stream, data) }}
	if status, err := s.serve(o.Command); err == nil {
		_ = writeFrame(c, frameExit, []byte{byte(status)})
	}
}

func writeFrame(c net.Conn, kind byte, data []byte) error {
	b := make([]byte, 5, 5+len(data))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}

var errFrame = errors.New("a simulated host sent a frame that is none")

func readFrame(r *bufio.Reader) (kind byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > 1<<20 {
		return 0, nil, errFrame
	}
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return head[0], data, err
}
