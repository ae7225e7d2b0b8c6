package live

// Held is how many attempts are kept.
func Held(m *Map) (n int) {
	for _, p := range m.places {
		n += len(p.open) + len(p.doubt)
	}
	return n
}
