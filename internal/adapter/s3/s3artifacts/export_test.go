package s3artifacts

// SmallPieces are as small as a store takes them.
const SmallPieces = 5 << 20

// Small has a repository send small pieces.
func (s *Store) Small() { s.piece = SmallPieces }
