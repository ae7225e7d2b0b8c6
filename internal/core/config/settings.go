package config

import (
	"maps"
	"slices"

	"sluice"
	"sluice/internal/core/document"
)

// settingsFile says which applications and environments there are. It is optional, in the first shared directory.
const settingsFile = "configuration.yaml"

// Settings are the environments and applications that there are.
type Settings struct {
	file         string
	environments map[Environment][]Cluster
	apps         map[App]appSettings
}

type appSettings struct {
	dir          string
	environments []Environment
}

// readSettings reads configuration.yaml:
//
//	environments:
//	  production: [eu, us]     # its clusters
//	  staging:
//	apps:
//	  shop: {dir: ../shop}     # where its deploy/configuration is
//	  cron: {environments: [production]}
func readSettings(file string, text []byte) (*Settings, error) {
	problems := &document.Problems{}
	problems.Opened(file)
	d, bad := yamlForm.Read(file, text, problems)
	if bad != nil {
		problems.Add(bad)
		return nil, problems.Err()
	}
	s := &Settings{file: file, environments: map[Environment][]Cluster{}, apps: map[App]appSettings{}}
	if d.Root == nil {
		return s, nil
	}
	name := func(n document.Pair, meant string, reserved []string) bool {
		err := checkName(meant, n.Name, reserved)
		if err != nil {
			d.Fail(n.Key, "%s", err.Text).Hint = err.Hint
		}
		return err == nil
	}
	for _, p := range d.Pairs(d.Root, file) {
		if !d.Known(p, file, []string{"environments", "apps"}) {
			continue
		}
		for _, e := range d.Pairs(p.Value, p.Name) {
			switch {
			case p.Name == "environments" && name(e, "an environment", reservedParts):
				s.environments[Environment(e.Name)] = []Cluster{}
				for _, n := range d.List(e.Value) {
					if w, ok := d.Word(n, "a cluster"); ok && name(document.Pair{Name: w, Key: n}, "a cluster", nil) {
						s.environments[Environment(e.Name)] = append(s.environments[Environment(e.Name)], Cluster(w))
					}
				}
			case p.Name == "apps" && name(e, "an application", reservedApps):
				s.apps[App(e.Name)] = readApp(d, e)
			}
		}
	}
	s.checkEnvironments(d)
	return s, problems.Err()
}

func readApp(d *document.Document, e document.Pair) appSettings {
	var out appSettings
	for _, q := range d.Pairs(e.Value, "the application "+e.Name) {
		switch {
		case !d.Known(q, "an application", []string{"dir", "environments"}):
		case q.Name == "dir":
			out.dir, _ = d.Word(q.Value, "dir")
		default:
			for _, w := range d.Words(q.Value, "an environment") {
				out.environments = append(out.environments, Environment(w))
			}
		}
	}
	return out
}

// checkEnvironments refuses environments of an application that there are not.
func (s *Settings) checkEnvironments(d *document.Document) {
	for _, app := range s.Apps() {
		for _, e := range s.apps[app].environments {
			if _, known := s.environments[e]; !known {
				err := document.ErrorAt(sluice.Position{File: s.file}, "the application %s is in the environment %s, which there is not", app, e)
				err.Hint = document.DidYouMean("", string(e), s.Environments())
				d.Problems.Add(err)
			}
		}
	}
}

// Environments are those that are declared, sorted.
func (s *Settings) Environments() []Environment { return slices.Sorted(maps.Keys(s.environments)) }

// Apps are those that are declared, sorted.
func (s *Settings) Apps() []App { return slices.Sorted(maps.Keys(s.apps)) }

// Clusters are those of an environment, sorted.
func (s *Settings) Clusters(e Environment) []Cluster {
	return slices.Sorted(slices.Values(s.environments[e]))
}

// Dir is where the application is, from where the shared directory is; "" if nothing says it.
func (s *Settings) Dir(a App) string { return s.apps[a].dir }

// Of are all places that an application is in.
func (s *Settings) Of(a App) []For {
	in := s.apps[a].environments
	if len(in) == 0 {
		in = s.Environments()
	}
	var out []For
	for _, e := range in {
		clusters := s.Clusters(e)
		for _, c := range clusters {
			out = append(out, For{App: a, Environment: e, Cluster: c})
		}
		if len(clusters) == 0 {
			out = append(out, For{App: a, Environment: e})
		}
	}
	return out
}

// check refuses what is not declared, where anything is.
func (s *Settings) check(f For) error {
	unknown := func(meant, name, near, known string) error {
		e := sluice.Errorf(sluice.Usage, "there is no %s %s in %s", meant, name, s.file)
		if e.Hint = near; near == "" {
			e.Hint = "there are " + known
		}
		return e
	}
	if _, ok := s.apps[f.App]; !ok && len(s.apps) > 0 {
		return unknown("application", string(f.App), document.DidYouMean("", string(f.App), s.Apps()), listed(s.Apps()))
	}
	clusters, ok := s.environments[f.Environment]
	switch {
	case len(s.environments) == 0:
		return nil
	case !ok:
		return unknown("environment", string(f.Environment), document.DidYouMean("", string(f.Environment), s.Environments()), listed(s.Environments()))
	case f.Cluster != "" && !slices.Contains(clusters, f.Cluster):
		return unknown("cluster of "+string(f.Environment)+",", string(f.Cluster), document.DidYouMean("", string(f.Cluster), clusters), listed(clusters))
	}
	return nil
}

func listed[S ~string](names []S) string {
	const most = 20
	out := ""
	for i, n := range names {
		switch {
		case i == most:
			return out + ", ..."
		case i > 0:
			out += ", "
		}
		out += string(n)
	}
	if out == "" {
		return "none"
	}
	return out
}
