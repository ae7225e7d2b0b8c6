package artifact

import "sluice"

// Progress is told how far something has come: done of total bytes, of a step such as "sending".
type Progress func(step string, done, total int64)

// Sign makes a signature over a statement.
type Sign func(statement []byte) (signature []byte, err error)

// Verify says whose signature it is, or why it is none that counts.
type Verify func(statement, signature []byte) (by string, err error)

// PushOptions are what is said of a version when it is pushed.
type PushOptions struct {
	Meta     map[string]string
	By       string
	Sign     Sign // nil: it is not signed
	Progress Progress
}

// Pushed is what became of a push.
type Pushed struct {
	Record
	// Already says that the version was there, with the same content: nothing was sent.
	Already bool `json:"already"`
	Latest  bool `json:"latest"`
	Signed  bool `json:"signed"`
}

// Shown is a version as people see it.
type Shown struct {
	Record
	Latest bool `json:"latest"`
	Signed bool `json:"signed"`
	// SignedBy is the key that it is signed with, where keys are known.
	SignedBy string `json:"signed_by,omitempty"`
}

// Garbage is what may go.
type Garbage struct {
	Versions []Version
	Contents []sluice.Kept
	// Kept is how many versions stay.
	Kept int
}

// Bytes is how much room it takes.
func (g Garbage) Bytes() (n int64) {
	for _, c := range g.Contents {
		n += c.Bytes
	}
	return n
}
