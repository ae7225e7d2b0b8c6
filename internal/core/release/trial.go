package release

import (
	"fmt"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/document"
	"sluice/internal/core/fleet"
)

// mostNamed is how many hosts a mistake names.
const mostNamed = 50

// Check renders for all hosts, with words in the place of what is sealed, and throws it away. Each mistake is told once, with the
// hosts that it is on. c has their configurations; nil: there are none.
func (r *Renderer) Check(c *Configs, hosts []sluice.Host) error {
	mistakes := map[string]*mistake{}
	var order []*mistake
	of := map[string][]*mistake{} // by configuration: most hosts have the same
	for _, h := range hosts {
		text := ""
		if c != nil {
			text = string(c.For(h))
		}
		found, known := of[text]
		if !known {
			for _, e := range r.try(text) {
				key := e.Error() + "\n" + e.Hint
				m := mistakes[key]
				if m == nil {
					m = &mistake{err: e}
					mistakes[key], order = m, append(order, m)
				}
				found = append(found, m)
			}
			of[text] = found
		}
		for _, m := range found {
			m.hosts = append(m.hosts, h)
		}
	}
	var problems document.Problems
	for _, t := range r.list {
		problems.Opened(t.From)
	}
	for _, m := range order {
		problems.Add(m.told(len(hosts)))
	}
	return problems.Err()
}

// mistake is what is wrong on some hosts.
type mistake struct {
	err   *sluice.Error
	hosts []sluice.Host
}

func (m *mistake) told(all int) *sluice.Error {
	e := *m.err
	switch n := len(m.hosts); {
	case n == all && all > 1:
		e.Text += fmt.Sprintf(" (on all %d hosts)", n)
	case n > mostNamed:
		e.Text += fmt.Sprintf(" (on %s and %d more hosts)", fleet.Fold(m.hosts[:mostNamed]), n-mostNamed)
	default:
		e.Text += fmt.Sprintf(" (on %s)", fleet.Fold(m.hosts))
	}
	return &e
}

// try is what is wrong for hosts with a configuration; "" for none.
func (r *Renderer) try(text string) document.Errors {
	var problems document.Problems
	var closed *config.Opened
	if text != "" {
		var err error
		if closed, err = config.FrozenOf([]byte(text)).Closed(); err != nil {
			problems.Join(err)
			return problems.All()
		}
	}
	h, err := r.Render(closed)
	problems.Join(err)
	Wipe(h.Made)
	return problems.All()
}
