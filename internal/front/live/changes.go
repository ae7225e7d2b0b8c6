package live

import (
	"io"
	"strings"

	"sluice"
	"sluice/internal/core/release"
	"sluice/internal/front/clean"
)

// Changes writes what a deploy changes in the files that are made for hosts. Lines of files are not cut to the screen's width.
func Changes(w io.Writer, c release.Changes, s Screen) error {
	d := &document{Screen: s}
	d.head("Rendered files, against what is live")
	for _, f := range c.Files {
		d.file(f)
	}
	for _, m := range c.More {
		d.wrapped(plain, "  ", m.Path+": "+count(m.Changes, "more change")+" on "+count(m.Hosts, "host")+", left out")
	}
	if len(c.Same) > 0 {
		d.wrapped(plain, "  ", "nothing changes on "+on(c.Same))
	}
	for _, u := range c.Unknown {
		d.wrapped(warn, "  ", "not compared on "+on(u.Hosts)+": "+u.Reason)
	}
	_, err := w.Write(d.b.Bytes())
	return err
}

func on(hosts []sluice.Host) string { return fold(hosts) + " (" + number(len(hosts)) + ")" }

func (d *document) file(f release.FileChange) {
	what := map[string]string{release.FileChanged: "changes", release.FileNew: "is new", release.FileGone: "goes away"}[f.Kind]
	d.wrapped(bold, "  ", f.Path+" "+what+" on "+on(f.Hosts))
	say := func(look style, text string) { d.wrapped(look, "    ", text) }
	switch n := len(f.Sealed); {
	case n == 1:
		say(warn, "a sealed value changes: "+f.Sealed[0])
	case n > 1:
		say(warn, "sealed values change: "+strings.Join(f.Sealed, ", "))
	}
	if f.Note != "" {
		say(warn, f.Note)
	}
	for _, is := range []struct{ what, was, now string }{{"mode", f.ModeWas, f.Mode}, {"owner", ownerText(f.OwnerWas), ownerText(f.Owner)}, {"link outside", f.OutsideWas, f.Outside}} {
		switch {
		case is.was == "" && is.now == "":
		case is.was == "":
			say(plain, is.what+": "+is.now)
		case is.now == "":
			say(plain, is.what+": "+is.was+", which goes away")
		default:
			say(plain, is.what+": "+is.was+", then "+is.now)
		}
	}
	if f.Diff != "" {
		for l := range strings.SplitSeq(f.Diff, "\n") {
			d.b.WriteString(text("    ").add(diffStyle(l), d.encode(clean.Text(l))).paint(d.Color) + "\n")
		}
	}
	if f.Left > 0 {
		say(dim, "("+count(f.Left, "more line")+" of this diff left out)")
	}
}

// ownerText is an owner of which a part may be left to the version.
func ownerText(o string) string {
	if o == ":" {
		return "that of the version"
	}
	return o
}

func diffStyle(line string) style {
	switch line[:1] {
	case "+":
		return good
	case "-":
		return bad
	case "@":
		return busy
	case `\`:
		return dim
	}
	return plain
}
