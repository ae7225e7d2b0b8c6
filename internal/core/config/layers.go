package config

import (
	"strings"

	"sluice"
)

// App is the name of an application.
type App string

// Environment is where an application runs: production, staging, ...
type Environment string

// Cluster is a part of an environment.
type Cluster string

// For says whose configuration is rendered. Cluster and Host may be empty: then their layers are left out.
type For struct {
	App         App
	Environment Environment
	Cluster     Cluster
	Host        sluice.Host
	// Local takes the layers of a developer's own machine, too.
	Local bool
}

func (f For) String() string {
	out := string(f.App) + " in " + string(f.Environment)
	if f.Cluster != "" {
		out += ", cluster " + string(f.Cluster)
	}
	if f.Host != "" {
		out += ", on " + string(f.Host)
	}
	if f.Local {
		out += ", with local layers"
	}
	return out
}

// Names that would be taken for another layer.
var (
	reservedApps  = []string{"common", "hostname", "configuration", "public"}
	reservedParts = []string{"default", "local", "overrides", "build"}
)

// check refuses names that cannot be a part of a file's name.
func (f For) check() error {
	for _, n := range []struct {
		meant, name string
		reserved    []string
		optional    bool
	}{
		{"an application", string(f.App), reservedApps, false},
		{"an environment", string(f.Environment), reservedParts, false},
		{"a cluster", string(f.Cluster), nil, true},
	} {
		if n.optional && n.name == "" {
			continue
		}
		if err := checkName(n.meant, n.name, n.reserved); err != nil {
			return err
		}
	}
	if f.Host != "" && !sluice.ValidHost(string(f.Host)) {
		return sluice.Errorf(sluice.Usage, "%.80q cannot be the name of a host", f.Host)
	}
	return nil
}

func checkName(meant, name string, reserved []string) *sluice.Error {
	if !validName(name) {
		return sluice.Errorf(sluice.Usage, "%.80q cannot be the name of %s", name, meant).
			WithHint("names are 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit: they are parts of file names")
	}
	for _, r := range reserved {
		if name == r {
			return sluice.Errorf(sluice.Usage, "%s cannot be called %s: files of that name are layers of another kind", meant, name)
		}
	}
	return nil
}

func validName(name string) bool {
	return len(name) <= 64 && plainKey(strings.ReplaceAll(name, ".", "")) && !strings.ContainsAny(name[:1], "-_.")
}

// slot is a place in the order of layers: a file of this name, without its ending, in the trees of one kind.
type slot struct {
	shared bool // in the shared directories, each in turn; else in the application's
	name   string
}

// order lists the layers from the first, which all others are merged into, to the last, which overrides all.
func (f For) order() []slot {
	app, env, cluster := string(f.App), string(f.Environment), string(f.Cluster)
	var out []slot
	add := func(when, shared bool, name string) {
		if when {
			out = append(out, slot{shared, name})
		}
	}
	inCluster := cluster != ""
	add(true, true, "hostname")
	add(f.Host != "", true, "hostname/"+string(f.Host))
	add(f.Local, true, "hostname-local")
	add(true, true, "common")
	add(true, true, "common-"+env)
	add(inCluster, true, "common-"+env+"-"+cluster)
	add(f.Local, true, "common-local")
	add(true, true, "common-overrides")
	for _, shared := range []bool{false, true} {
		base := app
		if !shared {
			base += "-default"
		}
		add(true, shared, base)
		add(true, shared, app+"-"+env)
		add(inCluster, shared, app+"-"+env+"-"+cluster)
	}
	add(f.Local, false, app+"-local")
	add(f.Local, true, app+"-local")
	add(true, true, app+"-overrides")
	return out
}
