package manifest

// Source says where a file of a tree comes from: From is the path of a file with the same content and mode in tree number
// Tree of those that are there, or Tree is -1 and it has to be sent.
type Source struct {
	Tree int
	From string
}

// Sources finds, for each entry of m, a file that is there already. Only the first of several trees that have it is named.
// Directories and links cost nothing and are always sent. So is a file with an owner of its own, and nothing comes from one: files
// that are one have one owner.
func (m Manifest) Sources(there []Manifest) []Source {
	type content struct {
		sum  string
		mode uint32
	}
	have := map[content]Source{}
	for i, t := range there {
		for _, e := range t {
			c := content{e.SHA256, e.Mode}
			if _, ok := have[c]; e.Kind == File && !ok && !e.Owned() {
				have[c] = Source{i, e.Path}
			}
		}
	}
	out := make([]Source, len(m))
	for i, e := range m {
		out[i] = Source{Tree: -1}
		if s, ok := have[content{e.SHA256, e.Mode}]; ok && e.Kind == File && e.Size > 0 && !e.Owned() {
			out[i] = s
		}
	}
	return out
}
