package target

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// Marker splits a stream where the command's own output begins: everything before a line that only the client
// knows was printed by the login shell.
type Marker struct {
	line  []byte
	noise []byte
	found bool
}

// NewMarker waits for the line.
func NewMarker(line string) *Marker { return &Marker{line: []byte(line)} }

// longestNoise bounds what is kept of what came before the mark.
const longestNoise = 64 << 10

// Feed takes the next bytes and returns those behind the mark.
func (m *Marker) Feed(p []byte) []byte {
	if m.found {
		return p
	}
	m.noise = append(m.noise, p...)
	at := bytes.Index(m.noise, m.line)
	if at < 0 {
		if len(m.noise) > longestNoise {
			m.noise = append([]byte(nil), m.noise[len(m.noise)-len(m.line):]...)
		}
		return nil
	}
	end := bytes.IndexByte(m.noise[at:], '\n')
	if end < 0 {
		return nil
	}
	m.found = true
	rest := m.noise[at+end+1:]
	m.noise = m.noise[:at]
	return rest
}

// Found reports whether the mark came.
func (m *Marker) Found() bool { return m.found }

// Noise is what came before the mark.
func (m *Marker) Noise() string { return string(m.noise) }

// PlainLine is a command line for any login shell that runs the text in the target's sh, behind the mark on
// both outputs. ok is false where the text could be misread by a login shell that is not like sh, or is too
// long for an argument: then [PlainScript] must be sent instead.
func PlainLine(mark, shell string, env map[string]string) (line string, ok bool) {
	text := "echo " + mark + "; echo " + mark + " >&2; " + exports(env) + shell
	if len(text) > 64<<10 || strings.ContainsAny(text, "!\\\n") {
		return "", false
	}
	return "exec sh -c " + Quote(text) + " sh", true
}

// PlainScript is the same for the standard input of a shell. On a terminal, both outputs are one.
func PlainScript(mark, shell string, env map[string]string, tty bool) string {
	both := ""
	if tty {
		both = "exec 2>/dev/null; "
	}
	return "{ " + both + "echo " + mark + "; echo " + mark + " >&2\n" + exports(env) + "\nexec sh -c " + Quote(shell) + " sh </dev/null" + flag(tty, " 2>&1") + "\n}\n"
}

func exports(env map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		b.WriteString("export " + name + "=" + Quote(env[name]) + "; ")
	}
	return b.String()
}

// Fetch is the text that sends a file or a tree: a frame "file" or "tree", the bytes, and a frame "end" with
// the status and, for a file, its digest there.
func Fetch(nonce, source string) string {
	return "{ s_n=" + Quote(nonce) + " s_f=" + Quote(source) + "\n" + Shrink(fetch)
}

const fetch = `case $KSH_VERSION in
'') s_w() { printf %s "$1"; } ;;
*) s_w() { print -rn -- "$1"; } ;;
esac
s_nl='
'
s_frame() { s_w "` + FrameStart + `$s_n $1$s_nl"; }
case $s_f in /*) ;; *) s_f=./$s_f ;; esac
if [ -d "$s_f" ]; then
	s_frame tree
	tar -cf - -C "$s_f" . </dev/null
	s_frame "end $?"
elif [ -e "$s_f" ]; then
	s_frame file
	cat <"$s_f"
	s_c=$?
	s_e=$(sha256sum <"$s_f" 2>/dev/null)
	s_frame "end $s_c ${s_e%% *}"
else
	s_frame "end 1"
	echo "$s_f: there is no such file" >&2
fi
exit 0
}
`
