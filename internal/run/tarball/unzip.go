package tarball

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is how far back zstd may look, and so the most memory that it takes: what its own program takes without being
// asked for more.
const maxWindow = 128 << 20

// foreign are archives that are not read here, by what they begin with.
var foreign = []struct{ magic, name string }{
	{"PK\x03\x04", "a zip, whose directory is at its end: it cannot be proved while it is read"},
	{"PK\x05\x06", "a zip"},
	{"BZh", "a bzip2"},
	{"\xfd7zXZ\x00", "an xz"},
	{"7z\xbc\xaf\x27\x1c", "a 7z"},
	{"!<arch>\n", "an ar or a Debian package"},
	{"\xed\xab\xee\xdb", "an RPM package"},
	{"070701", "a cpio"},
}

// unzip finds out how the stream is packed, by what it begins with. in is what is left of it when plain has ended.
func unzip(from io.Reader) (plain io.ReadCloser, in *bufio.Reader, err error) {
	in = bufio.NewReaderSize(from, 64<<10)
	magic, err := in.Peek(8)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	has := func(s string) bool { return bytes.HasPrefix(magic, []byte(s)) }
	switch {
	case len(magic) == 0:
		return nil, nil, refuse("it is empty")
	case has("\x1f\x8b"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, refusal(err, "at its beginning")
		}
		return z, in, nil
	case has("\x28\xb5\x2f\xfd"):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, refusal(err, "at its beginning")
		}
		return z.IOReadCloser(), in, nil
	}
	for _, f := range foreign {
		if has(f.magic) {
			return nil, nil, refuse("it is %s", f.name).WithHint("make a tar, a tar.gz or a tar.zst of it")
		}
	}
	return io.NopCloser(in), in, nil
}

// counter counts what goes through it, and ends with its context.
type counter struct {
	r     io.Reader
	ctx   context.Context
	n     int64
	check func(n int64) error
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.check != nil && err == nil {
		err = c.check(c.n)
	}
	return n, err
}
