package target

import "strings"

// Quote writes an argument vector so that a POSIX shell reads exactly these words from it. This is the one
// place where text becomes shell text. A word with a NUL cannot be an argument; see [Sendable].
func Quote(argv ...string) string {
	var b strings.Builder
	for i, word := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		quoteWord(&b, word)
	}
	return b.String()
}

func quoteWord(b *strings.Builder, word string) {
	if plain(word) {
		b.WriteString(word)
		return
	}
	b.WriteByte('\'')
	b.WriteString(strings.ReplaceAll(word, "'", `'\''`))
	b.WriteByte('\'')
}

// plain says that a word means itself in every shell, unquoted, wherever it stands as an argument.
func plain(word string) bool {
	for i := range len(word) {
		c := word[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/' || c == '.' || c == '_' || c == '-':
		default:
			return false
		}
	}
	return word != ""
}

// Sendable reports whether a text can be an argument or variable at all: NUL cannot.
func Sendable(text string) bool { return strings.IndexByte(text, 0) < 0 }

// ValidEnv reports whether name may name a variable that a job sets: an identifier that is not ours and that
// no shell keeps for itself.
func ValidEnv(name string) bool {
	switch name {
	case "UID", "EUID", "PPID", "GROUPS", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO", "_":
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && !strings.HasPrefix(name, "SLUICE_") && !strings.HasPrefix(name, "s_")
}

// ValidUser reports whether name may name a user for sudo.
func ValidUser(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case (c == '-' || c == '.' || c == '@') && i > 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= 64
}
