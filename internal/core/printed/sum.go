package printed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Most is how many bytes of a text are compared; beyond it texts of one length count as the same if they begin alike.
const Most = 1 << 20

// Sum stands for a text: texts with one sum are the same.
type Sum struct {
	Size int64 // bytes of the text
	// Cut says that only the first part of what was printed was kept.
	Cut  bool
	hash [sha256.Size]byte
}

// SumOf reads what a sum rests on.
func SumOf(r io.Reader, size int64, cut bool) (Sum, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %t\n", size, cut)
	n, err := io.Copy(h, io.LimitReader(r, Most))
	if err == nil && n < min(size, Most) {
		err = io.ErrUnexpectedEOF
	}
	return Sum{Size: size, Cut: cut, hash: [sha256.Size]byte(h.Sum(nil))}, err
}

// Whole reports whether all of the text was compared.
func (s Sum) Whole() bool { return s.Size <= Most }

// String is the sum's name, 32 hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s.hash[:16]) }
