package schedule

// Whole unpacks everything that is still as a snapshot had it, and fills what is made only for snapshots.
func (s *State) Whole() *State {
	for _, j := range s.jobs {
		if j.packed != nil {
			s.unpack(j)
		}
	}
	for _, rs := range s.rules {
		rs.pack()
		s.unpackRules(rs)
		rs.of = nil
		s.indexGroups(rs)
	}
	return s
}

// Packed counts the jobs of which nobody has asked for the tasks since they came from a snapshot.
func (s *State) Packed() (n int) {
	for _, j := range s.jobs {
		if j.packed != nil {
			n++
		}
	}
	return n
}
