package fold

// Keep bounds the hosts in the boards that are kept.
func (b *Boards) Keep(hosts int) { b.most = hosts }
