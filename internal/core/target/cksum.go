package target

// Cksum computes what the POSIX program cksum prints: for targets without sha256sum.
type Cksum struct {
	crc   uint32
	size  int64
	table [256]uint32
}

// NewCksum begins a sum.
func NewCksum() *Cksum {
	c := &Cksum{}
	for i := range c.table {
		crc := uint32(i) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
		c.table[i] = crc
	}
	return c
}

// Write adds bytes; it never fails.
func (c *Cksum) Write(p []byte) (int, error) {
	for _, b := range p {
		c.crc = c.crc<<8 ^ c.table[byte(c.crc>>24)^b]
	}
	c.size += int64(len(p))
	return len(p), nil
}

// Size is the number of bytes.
func (c *Cksum) Size() int64 { return c.size }

// Sum is the checksum, in which the size is folded.
func (c *Cksum) Sum() uint32 {
	crc := c.crc
	for n := c.size; n > 0; n >>= 8 {
		crc = crc<<8 ^ c.table[byte(crc>>24)^byte(n)]
	}
	return ^crc
}
