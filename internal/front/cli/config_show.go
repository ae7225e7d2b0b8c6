package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/document"
	"sluice/internal/front/clean"
)

func (a *app) configRender() *cobra.Command {
	var f configFlags
	var public bool
	c := &cobra.Command{
		Use:   "render APP --env ENVIRONMENT",
		Short: "Print the configuration of an application",
		Long: `Print the configuration of an application in an environment, merged from all its
layers. Sealed values stay sealed. With -o json it is the configuration alone;
a sealed value is an object with the only key "!sealed".`,
		Example: `  sluice config render shop --env production --cluster eu
  sluice config render shop --env production --host web1 -o json
  sluice config render shop --env production --at 2026-01-02
  sluice config render shop --env production --public -o json`,
		Args: args(1, 1, "the name of an application"),
		RunE: func(c *cobra.Command, args []string) error {
			defer f.close()
			l, r, err := a.rendered(c.Context(), &f, args[0])
			if err != nil {
				return err
			}
			if public {
				if r, err = l.Public(r); err != nil {
					return err
				}
			}
			if a.json() {
				return a.printJSON(json.RawMessage(r.Tree.JSON()))
			}
			fmt.Fprintf(a.Stdout, "# %s: %s\n%s", r.For, r.Freeze().Digest, clean.Text(r.Tree.Lines()))
			return nil
		},
	}
	f.where(c)
	f.place(c)
	f.moment(c)
	c.Flags().BoolVar(&public, "public", false, "only the keys that public.yaml of the application names")
	c.ValidArgsFunction = a.completeConfig(&f, false)
	a.completePlaces(c, &f, "env", "cluster")
	return c
}

// saidLine is what a layer says about a key, as JSON.
type saidLine struct {
	Layer  string          `json:"layer"`
	File   string          `json:"file"`
	Line   int             `json:"line,omitzero"`
	Column int             `json:"column,omitzero"`
	Says   json.RawMessage `json:"says,omitempty"`
	Above  json.RawMessage `json:"above,omitempty"`
	Counts bool            `json:"counts"`
}

type explainLine struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
	Said  []saidLine      `json:"said"`
}

func rawValue(v *config.Value) json.RawMessage {
	if v == nil {
		return nil
	}
	return v.JSON()
}

func saidLines(said []config.Said) []saidLine {
	out := make([]saidLine, 0, len(said))
	for _, s := range said {
		out = append(out, saidLine{s.Layer, s.At.File, s.At.Line, s.At.Column, rawValue(s.Value), rawValue(s.Above), s.Counts})
	}
	return out
}

func (a *app) configExplain() *cobra.Command {
	var f configFlags
	c := &cobra.Command{
		Use:   "explain APP [KEY] --env ENVIRONMENT",
		Short: "Say of a key which layers speak about it, and which one counts",
		Long: `Say of a key, and of all keys below it, what it is, which layers speak about it,
in their order, with file and line, and which of them count: an asterisk stands
before those. Without a key it is about all of them.`,
		Example: `  sluice config explain shop db.password --env production
  sluice config explain shop db --env production --cluster eu -o json`,
		Args: args(1, 2, "the name of an application, and a key"),
		RunE: func(c *cobra.Command, args []string) error {
			defer f.close()
			var key config.Path
			if len(args) == 2 {
				var err error
				if key, err = config.ParsePath(args[1]); err != nil {
					return err
				}
			}
			_, r, err := a.rendered(c.Context(), &f, args[0])
			if err != nil {
				return err
			}
			told := r.Explain(key)
			if len(told) == 0 {
				return noSuchKey(r, key)
			}
			if a.json() {
				return printEach(a, told, func(e config.Explanation) explainLine {
					return explainLine{e.Path.String(), rawValue(e.Value), saidLines(e.Said)}
				})
			}
			for _, e := range told {
				a.printExplanation(e)
			}
			return nil
		},
	}
	f.where(c)
	f.place(c)
	f.moment(c)
	c.ValidArgsFunction = a.completeConfig(&f, true)
	a.completePlaces(c, &f, "env", "cluster")
	return c
}

func noSuchKey(r *config.Rendered, key config.Path) error {
	var all []string
	for _, e := range r.Explain(nil) {
		for i := range e.Path {
			all = append(all, e.Path[:i+1].String())
		}
	}
	e := sluice.Errorf(sluice.NotFound, "no layer of %s says anything about %s", r.For, key)
	if e.Hint = document.DidYouMean("", key.String(), all); e.Hint == "" {
		e.Hint = fmt.Sprintf("sluice config explain %s --env %s tells all keys", r.For.App, r.For.Environment)
	}
	return e
}

func (a *app) printExplanation(e config.Explanation) {
	value := "(not there)"
	if e.Value != nil {
		value = e.Value.Shown()
	}
	fmt.Fprintf(a.Stdout, "%s: %s\n", clean.Line(e.Path.String()), clean.Line(value))
	width := 0
	for _, s := range e.Said {
		width = max(width, len(s.At.String()))
	}
	for _, s := range e.Said {
		fmt.Fprintf(a.Stdout, "  %s %-*s  %s\n", star(s.Counts), width, clean.Line(s.At.String()), clean.Line(says(s)))
	}
}

func star(counts bool) string {
	if counts {
		return "*"
	}
	return " "
}

// says is what a layer says about a key, or about a map that the key was in.
func says(s config.Said) string {
	switch {
	case s.Value != nil:
		return s.Value.Shown()
	case s.Above.Kind == config.Map:
		return "!replace, above it"
	case s.Above.Kind == config.Delete || s.Above.Kind == config.Missing:
		return s.Above.Shown() + ", above it"
	}
	return s.Above.Shown() + " stands above it"
}

// changeLine is a difference as JSON.
type changeLine struct {
	Key     string          `json:"key"`
	Was     json.RawMessage `json:"was,omitempty"`
	Now     json.RawMessage `json:"now,omitempty"`
	WasSaid []saidLine      `json:"was_said,omitempty"`
	NowSaid []saidLine      `json:"now_said,omitempty"`
}

func (a *app) configDiff() *cobra.Command {
	var f, to configFlags
	c := &cobra.Command{
		Use:   "diff APP --env ENVIRONMENT {--to-env ... | --at ...}",
		Short: "Show what is different between two configurations",
		Long: `Show what is different between two configurations: of two environments, clusters
or hosts, or of one at two revisions of git, or times. What is not said of the
second one is as in the first, but for --at: without --to-at the second one is
as it is now. The layers that count stand behind each value. Sealed values are
compared as they are sealed. The exit status is 1 if there is a difference.`,
		Example: `  sluice config diff shop --env staging --to-env production
  sluice config diff shop --env production --at v41 --to-at v42
  sluice config diff shop --env production --at 36h`,
		Args: args(1, 1, "the name of an application"),
		RunE: func(c *cobra.Command, args []string) error {
			defer f.close()
			defer to.close()
			to.shared, to.appDir, to.local = f.shared, f.appDir, f.local
			to.env, to.cluster, to.host = other(c, "to-env", to.env, f.env), other(c, "to-cluster", to.cluster, f.cluster), other(c, "to-host", to.host, f.host)
			if c.Flags().Changed("to-env") && !c.Flags().Changed("to-cluster") && to.env != f.env {
				to.cluster = ""
			}
			_, was, err := a.rendered(c.Context(), &f, args[0])
			if err != nil {
				return err
			}
			_, now, err := a.rendered(c.Context(), &to, args[0])
			if err != nil {
				return err
			}
			return a.printDiff(config.Diff(was, now))
		},
	}
	f.where(c)
	f.place(c)
	f.moment(c)
	c.Flags().StringVar(&to.env, "to-env", "", "`environment` of the second one")
	c.Flags().StringVar(&to.cluster, "to-cluster", "", "`cluster` of the second one")
	c.Flags().StringVar(&to.host, "to-host", "", "`host` of the second one")
	c.Flags().StringVar(&to.at, "to-at", "", "`revision` or time of the second one")
	c.Flags().StringVar(&to.appAt, "to-app-at", "", "`revision` of the application's directory for the second one")
	c.ValidArgsFunction = a.completeConfig(&f, false)
	a.completePlaces(c, &f, "env", "cluster", "to-env", "to-cluster")
	return c
}

func other(c *cobra.Command, flag, given, first string) string {
	if c.Flags().Changed(flag) {
		return given
	}
	return first
}

func (a *app) printDiff(changes []config.Change) error {
	for _, c := range changes {
		if a.json() {
			if err := a.printJSON(changeLine{c.Path.String(), rawValue(c.Was), rawValue(c.Now), saidLines(c.WasSaid), saidLines(c.NowSaid)}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(a.Stdout, clean.Line(c.Path.String()))
		a.printSide("-", c.Was, c.WasSaid)
		a.printSide("+", c.Now, c.NowSaid)
	}
	if len(changes) > 0 {
		return exitError(exitFailures)
	}
	if !a.json() {
		fmt.Fprintln(a.Stdout, "No difference.")
	}
	return nil
}

func (a *app) printSide(sign string, v *config.Value, said []config.Said) {
	if v == nil {
		return
	}
	places := make([]string, len(said))
	for i, s := range said {
		places[i] = s.At.String()
	}
	fmt.Fprintf(a.Stdout, "  %s %s  (%s)\n", sign, clean.Line(v.Shown()), clean.Line(strings.Join(places, ", ")))
}

// checkLine is a problem, or what was checked, as JSON.
type checkLine struct {
	File   string `json:"file,omitzero"`
	Line   int    `json:"line,omitzero"`
	Column int    `json:"column,omitzero"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitzero"`
}

func (a *app) configCheck() *cobra.Command {
	var f configFlags
	c := &cobra.Command{
		Use:   "check [APP ...]",
		Short: "Render everything at once, and name everything that is wrong",
		Long: `Render the configuration of all applications, or of those that are named, in all
environments and clusters, with their public parts, and name everything that is
wrong: also files that look like layers and are none of anything.
configuration.yaml of the first shared directory says which applications and
environments there are. The exit status is 1 if anything is wrong.`,
		Example: `  sluice config check --shared config
  sluice config check --shared config shop -o json`,
		Args: args(0, -1, "names of applications"),
		RunE: func(c *cobra.Command, args []string) error {
			defer f.close()
			l, err := a.library(c.Context(), &f)
			if err != nil {
				return err
			}
			if !f.knownEnvs {
				return sluice.Errorf(sluice.Usage, "nothing says which environments there are").
					WithHint("write configuration.yaml into the first shared directory (--shared): environments: {production: , staging: }, apps: {shop: {dir: ../shop}}")
			}
			apps := l.Settings.Apps()
			if len(args) > 0 {
				apps = nil
				for _, name := range args {
					apps = append(apps, config.App(name))
				}
			}
			if f.appDir != "" && len(apps) != 1 {
				return sluice.Errorf(sluice.Usage, "--app-dir is the directory of one application, and %d are meant", len(apps)).WithHint("name it, or write dir: for each into configuration.yaml")
			}
			for _, name := range apps {
				if err := a.addApp(c.Context(), &f, l, name); err != nil {
					return err
				}
			}
			return a.printChecked(l.Check(apps))
		},
	}
	f.where(c)
	f.moment(c)
	c.ValidArgsFunction = a.completeConfig(&f, false)
	return c
}

func (a *app) printChecked(checked config.Checked) error {
	for _, e := range checked.Problems {
		if a.json() {
			text := *e
			text.At = sluice.Position{}
			if err := a.printJSON(checkLine{e.At.File, e.At.Line, e.At.Column, text.Error(), e.Hint}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintln(a.Stdout, clean.Line(e.Error()))
		if e.Hint != "" {
			fmt.Fprintln(a.Stdout, "    "+clean.Line(e.Hint))
		}
	}
	if n := len(checked.Problems); n > 0 {
		if !a.json() {
			fmt.Fprintf(a.Stdout, "%s.\n", count(n, "problem"))
		}
		return exitError(exitFailures)
	}
	if !a.json() {
		fmt.Fprintf(a.Stdout, "All is well: %s from %s, %s.\n", count(checked.Places, "configuration"), count(checked.Layers, "layer"), count(checked.Sealed, "sealed value"))
	}
	return nil
}
