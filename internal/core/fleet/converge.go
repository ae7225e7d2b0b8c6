package fleet

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// The bounds of how often a server looks.
const (
	leastEvery = time.Second
	mostEvery  = 7 * 24 * time.Hour
)

// readConverge reads what a server brings to hosts by itself. As with other settings, the file further down wins: as a whole, so that
// nobody has to look for half of it elsewhere.
func (l *loader) readConverge(d *fleetFile, section document.Pair) {
	var c sluice.Converge
	given := false
	for _, p := range d.Pairs(section.Value, "converge") {
		if !d.Known(p, "converge", convergeKeys) {
			continue
		}
		switch p.Name {
		case "every":
			given = true
			every, ok := d.Duration(p.Value, "every", mostEvery)
			if ok && every < leastEvery {
				d.Fail(p.Value, "every must be at least %s, not %s", leastEvery, every)
			}
			c.Every = every
		case "app":
			c.Apps = d.namesOf(p, validName, "the name of an app")
		case "env":
			c.Envs = d.namesOf(p, validName, "the name of an environment")
		}
	}
	if !given && document.What(section.Value).Kind == yaml.MappingNode {
		d.Fail(section.Key, "converge does not say how often the server looks").WithHint("every: 5m")
	}
	l.fleet.Converge = c
}

// namesOf reads names, of which there must be one: none would mean all of them, which nobody reads out of an empty list.
func (d *fleetFile) namesOf(p document.Pair, valid func(string) bool, meant string) []string {
	names := d.checkedList(p, valid, meant)
	if len(d.List(p.Value)) == 0 {
		d.Fail(p.Key, "%s is empty", p.Name).WithHint("without it all are meant")
	}
	return *names
}

// validName is a name as apps and environments have it.
func validName(s string) bool {
	return s != "" && len(s) <= 128 && (isLetter(s[0]) || isDigit(s[0])) && !strings.ContainsFunc(s, func(r rune) bool { return r > '~' || !nameByte(byte(r)) })
}
