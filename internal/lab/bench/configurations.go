package main

import (
	"context"
	"fmt"
	"strings"
)

// configurations render the layers of many applications in four environments.
func configurations(ctx context.Context, l *lab) (section, error) {
	s := section{title: "Configuration",
		about: "`sluice config check` reads all layers and renders every application in every environment: 4 environments, and for each application a layer of its " +
			"own, one for each environment, and a shared one, of 30 keys each, over common ones. *Growth* is the time per configuration, compared with that of the " +
			"fewest: 1 is linear."}
	const environments = 4
	var results []result
	for _, apps := range l.pick([]int{5}, []int{50, 500, 2000}) {
		dir := fmt.Sprintf("layers.%d", apps)
		if err := l.writeLayers(dir, apps); err != nil {
			return s, err
		}
		r, err := l.compare(ctx, apps*environments, l.rounds, []program{
			{name: fmt.Sprintf("%d applications", apps), argv: []string{l.sluice(), "config", "check", "--shared", l.path(dir, "config")}}})
		if err != nil {
			return s, err
		}
		results = append(results, r...)
	}
	s.tables = []table{{results: results, columns: []column{
		{"growth", func(r, base result) string {
			return fmt.Sprintf("%.2f", r.wall.Seconds()/float64(r.hosts)/(base.wall.Seconds()/float64(base.hosts)))
		}},
		{"configurations", func(r, _ result) string { return fmt.Sprint(r.hosts) }},
		{"wall s", func(r, _ result) string { return seconds(r.wall) }},
		{"CPU µs/configuration", func(r, _ result) string { return fmt.Sprintf("%.0f", r.cpu.Seconds()*1e6/float64(r.hosts)) }},
		fanColumns[5],
	}}}
	return s, nil
}

func (l *lab) writeLayers(dir string, apps int) error {
	var index strings.Builder
	index.WriteString("environments: {production: , staging: , test: , demo: }\napps:\n")
	files := map[string]string{"config/common.yaml": layer("common", 30), "config/common-production.yaml": layer("common", 5)}
	for i := range apps {
		app := fmt.Sprintf("app%d", i)
		fmt.Fprintf(&index, "  %s: {dir: ../%[1]s}\n", app)
		own := app + "/deploy/configuration/" + app
		files[own+"-default.yaml"] = layer(app, 30)
		files["config/"+app+".yaml"] = layer(app, 30)
		for _, env := range []string{"production", "staging", "test", "demo"} {
			files[own+"-"+env+".yaml"] = layer(app, 30)
		}
	}
	files["config/configuration.yaml"] = index.String()
	for name, text := range files {
		if err := l.write(dir+"/"+name, text); err != nil {
			return err
		}
	}
	return nil
}

// layer has so many keys below one, some of them lists and maps.
func layer(name string, keys int) string {
	var b strings.Builder
	b.WriteString(name + ":\n")
	for i := range keys {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "  list%d: [one, two]\n", i)
		case 1:
			fmt.Fprintf(&b, "  map%d: {host: db.example.com, port: %d}\n", i, i)
		default:
			fmt.Fprintf(&b, "  key%d: \"the value %d\"\n", i, i)
		}
	}
	return b.String()
}
