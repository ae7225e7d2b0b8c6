package s3archive

// SmallPieces are as small as a store takes them, so that a test needs no large ones.
const SmallPieces = 5 << 20

// Small has an archive send small pieces.
func (a *Archive) Small() { a.piece = SmallPieces }
