// Package appfile reads app.yaml: what an app says of itself, to those who build it and to those who deploy it. What it leaves
// out has a default, so that a file of one line is enough.
//
// It is values in and values out, and knows nothing of artifacts, hosts and jobs.
package appfile

import (
	"path"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/build"
	"sluice/internal/core/document"
)

// Name is the file's name, in a checkout and in an artifact.
const Name = "app.yaml"

// MaxBytes is the most that the file may have.
const MaxBytes = 1 << 20

// Errors are the mistakes found in the file, each with its place.
type Errors = document.Errors

// App is what the file says.
type App struct {
	App    string
	Deploy sluice.Deploy
	Build  build.Spec
	// BalancersAt is where the file names each of the balancers, for who finds out what the fleet knows of them.
	BalancersAt []sluice.Position
	// TemplatesAt is where the file names each of the templates, for who finds out whether the artifact has it.
	TemplatesAt []sluice.Position
	// OnceAt and AfterAt are where the file says which host runs what runs once, for who finds out whether the deploy has one.
	OnceAt, AfterAt sluice.Position
}

// Limits and defaults of the section deploy.
const (
	DefaultKeep = 5
	maxKeep     = 1000
	maxList     = 100 // services, checks
	longest     = 24 * time.Hour

	defaultEvery     = time.Second
	defaultTimeout   = 5 * time.Second
	defaultSuccesses = 3
	defaultHealthy   = 2 * time.Minute
	defaultDrain     = 30 * time.Second
	defaultValidate  = 10 * time.Minute
)

var form = document.Form{
	Quote:  "a text that begins with one of @ & * ! ` % or a bracket must be quoted",
	Merge:  "write the keys out",
	Tagged: "quote a text that begins with !",
	Second: "an app has one file",
}

var words = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// Parse reads the file; name is for messages. All mistakes are told at once, as [Errors].
func Parse(name string, text []byte) (*App, error) {
	var problems document.Problems
	problems.Opened(name)
	doc, err := form.Read(name, text, &problems)
	if err != nil {
		problems.Add(err)
		return nil, problems.Err()
	}
	r := &reader{Document: doc}
	app := r.app()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return app, nil
}

type reader struct{ *document.Document }

func (r *reader) app() *App {
	a := &App{}
	if r.Root == nil {
		r.Problems.Add(document.ErrorAt(sluice.Position{File: r.File, Line: 1, Column: 1}, "the file is empty").WithHint("app: NAME is the least that it says"))
		return a
	}
	for _, p := range r.Pairs(r.Root, "app.yaml") {
		if !r.Known(p, "app.yaml", []string{"app", "build", "deploy"}) {
			continue
		}
		switch p.Name {
		case "app":
			a.App = r.word(p.Value, "the name of the app")
		case "build":
			a.Build = r.build(p.Value)
		case "deploy":
			a.Deploy = r.deploy(p.Value, a)
		}
	}
	if a.App == "" {
		r.Fail(r.Root, "the file does not say which app it is of").Hint = "app: NAME"
	}
	if a.Deploy.Root == "" {
		a.Deploy.Root = "/srv/" + a.App
	}
	if a.Deploy.Keep == 0 {
		a.Deploy.Keep = DefaultKeep
	}
	if len(a.Deploy.Checks) > 0 && a.Deploy.Waits.Healthy == 0 {
		a.Deploy.Waits.Healthy = defaultHealthy
	}
	if a.Deploy.Waits.Drain == 0 {
		a.Deploy.Waits.Drain = defaultDrain
	}
	a.defaults()
	return a
}

// word reads a name: of an app, a file, a user, a service.
func (r *reader) word(n *yaml.Node, meant string) string {
	w, ok := r.Word(n, meant)
	if ok && !words.MatchString(w) {
		r.Fail(n, "%s must be letters, digits and . _ + -, and begin with a letter or a digit, not %.40q", meant, w)
	}
	return w
}

func (r *reader) deploy(n *yaml.Node, a *App) (d sluice.Deploy) {
	for _, p := range r.Pairs(n, "deploy") {
		if !r.Known(p, "deploy", []string{"root", "user", "group", "keep", "hooks", "once", "after", "services", "templates", "balancers", "checks", "waits", "on_failure", "validate"}) {
			continue
		}
		switch p.Name {
		case "root":
			d.Root = r.root(p.Value)
		case "user":
			d.User = r.word(p.Value, "user")
		case "group":
			d.Group = r.word(p.Value, "group")
		case "keep":
			d.Keep, _ = r.Number(p.Value, "keep", 2, maxKeep)
		case "hooks":
			d.NoHooks = !r.Truth(p.Value, "hooks")
		case "once":
			d.Once = r.once(p.Value, p.Name, sluice.OnceFirst)
			a.OnceAt = r.At(p.Value)
		case "after":
			d.After = r.once(p.Value, p.Name, sluice.AfterLast)
			a.AfterAt = r.At(p.Value)
		case "services":
			for _, s := range r.some(p.Value, "services") {
				d.Services = append(d.Services, r.service(s))
			}
		case "templates":
			for _, t := range r.some(p.Value, "templates") {
				d.Templates = append(d.Templates, r.template(t, d.Templates))
				a.TemplatesAt = append(a.TemplatesAt, r.At(t))
			}
		case "balancers":
			for _, b := range r.some(p.Value, "balancers") {
				d.Balancers = append(d.Balancers, r.balancer(b))
				a.BalancersAt = append(a.BalancersAt, r.At(b))
			}
		case "checks":
			for _, c := range r.some(p.Value, "checks") {
				d.Checks = append(d.Checks, r.check(c))
			}
		case "waits":
			d.Waits = r.waits(p.Value)
		case "on_failure":
			d.OnFailure = sluice.OnFailure(r.one(p.Value, "on_failure", failures))
		case "validate":
			d.Validate = r.validate(p.Value)
		}
	}
	return d
}

func (r *reader) some(n *yaml.Node, meant string) []*yaml.Node {
	list := r.List(n)
	if len(list) > maxList {
		r.Fail(n, "more than %d %s", maxList, meant)
		return nil
	}
	return list
}

// once is where the steps run that run once, before the others or after them.
func (r *reader) once(n *yaml.Node, key, any string) string {
	w, ok := r.Word(n, key)
	if ok && !sluice.ValidOnce(w) {
		r.Fail(n, "%s must be %s, the name of a host, or a tag such as $migrates, not %.40q", key, any, w)
	}
	return w
}

// root is a directory of the app's own: versions come and go in it.
func (r *reader) root(n *yaml.Node) string {
	w, ok := r.Word(n, "root")
	switch {
	case !ok:
	case !path.IsAbs(w) || path.Clean(w) != w:
		r.Fail(n, "root must be an absolute path without . and .., not %.100q", w)
	case strings.Count(w, "/") < 2:
		r.Fail(n, "root must be a directory of the app alone, not %q", w).Hint = "such as /srv/" + strings.TrimPrefix(w, "/") + "/app"
	}
	return w
}

var failures = []string{string(sluice.FailureHalts), string(sluice.FailureRollsBack)}

var managers = []string{"systemd", "supervisor", "service"}

func (r *reader) service(n *yaml.Node) (s sluice.Service) {
	s.By = managers[0]
	if document.What(n).Kind != yaml.MappingNode {
		s.Name = r.word(n, "a service")
		return s
	}
	for _, p := range r.Pairs(n, "a service") {
		if !r.Known(p, "a service", []string{"name", "by", "reload"}) {
			continue
		}
		switch p.Name {
		case "name":
			s.Name = r.word(p.Value, "the name of a service")
		case "by":
			s.By = r.one(p.Value, "by", managers)
		case "reload":
			s.Reload = r.Truth(p.Value, "reload")
		}
	}
	if s.Name == "" {
		r.Fail(n, "a service has no name")
	}
	return s
}

// one reads one of several words.
func (r *reader) one(n *yaml.Node, meant string, of []string) string {
	w, ok := r.Word(n, meant)
	if !ok {
		return ""
	}
	for _, o := range of {
		if w == o {
			return w
		}
	}
	r.Fail(n, "%s must be one of %s, not %.40q", meant, strings.Join(of, ", "), w).Hint = document.DidYouMean("", w, of)
	return w
}

var drivers = []string{"haproxy", "nginx", "exec"}

// balancer is where the host stands in a balancer. By which settings the balancer's host is reached is the fleet's to say, and of
// a balancer that the fleet has a name for all that is the same for everybody.
func (r *reader) balancer(n *yaml.Node) (b sluice.Balancing) {
	known := append([]string{"use", "on", "pool", "server", "least"}, drivers...)
	var own *yaml.Node // the first key that is the fleet's to say
	for _, p := range r.Pairs(n, "a balancer") {
		if !r.Known(p, "a balancer", known) {
			continue
		}
		if own == nil && p.Name != "use" && p.Name != "pool" && p.Name != "server" {
			own = p.Key
		}
		switch p.Name {
		case "use":
			b.Name = r.word(p.Value, "the name of a balancer")
		case "on":
			b.On = sluice.Host(r.word(p.Value, "the host of a balancer"))
		case "pool":
			b.Pool, _ = r.Word(p.Value, "pool")
		case "server":
			b.Server, _ = r.Word(p.Value, "server")
		case "least":
			if w, ok := r.Word(p.Value, "least"); ok {
				var err error
				if b.Least, err = sluice.ParseAmount(w); err != nil {
					r.Fail(p.Value, "least: %v", err)
				}
			}
		default:
			if b.Driver != "" {
				r.Fail(p.Key, "a balancer is one thing, and this one has %s and %s", b.Driver, p.Name).Hint = "make two of it"
			}
			b.Driver = p.Name
			b.At, _ = r.Word(p.Value, p.Name)
		}
	}
	switch {
	case b.Name != "" && own != nil:
		r.Fail(own, "%s of the balancer %s is the fleet's to say, not the app's", document.What(own).Value, b.Name).Hint = "beside use there may be pool and server"
	case b.Driver == "" && b.Name == "":
		r.Fail(n, "a balancer does not say what it is").Hint = "it has one of use, " + strings.Join(drivers, ", ")
	case b.Pool == "":
		r.Fail(n, "a balancer has no pool")
	case b.Name == "" && b.Driver != "haproxy" && !path.IsAbs(b.At):
		r.Fail(n, "%s needs an absolute path, not %.100q", b.Driver, b.At)
	}
	return b
}

var kinds = []string{"http", "tcp", "exec", "systemd"}

func (r *reader) check(n *yaml.Node) sluice.HealthCheck {
	c := sluice.HealthCheck{Every: defaultEvery, Timeout: defaultTimeout, Successes: defaultSuccesses}
	known := append([]string{"status", "every", "timeout", "successes"}, kinds...)
	for _, p := range r.Pairs(n, "a check") {
		if !r.Known(p, "a check", known) {
			continue
		}
		switch p.Name {
		case "status":
			c.Status, _ = r.Number(p.Value, "status", 100, 599)
		case "every":
			c.Every, _ = r.Duration(p.Value, "every", longest)
		case "timeout":
			c.Timeout, _ = r.Duration(p.Value, "timeout", longest)
		case "successes":
			c.Successes, _ = r.Number(p.Value, "successes", 1, 1000)
		default:
			if c.Kind != "" {
				r.Fail(p.Key, "a check asks one thing, and this one has %s and %s", c.Kind, p.Name).Hint = "make two checks of it"
			}
			c.Kind = p.Name
			c.At, _ = r.Word(p.Value, p.Name)
		}
	}
	switch {
	case c.Kind == "":
		r.Fail(n, "a check asks nothing").Hint = "it has one of " + strings.Join(kinds, ", ")
	case c.Status != 0 && c.Kind != "http":
		r.Fail(n, "status is for http, and this check asks %s", c.Kind)
	}
	return c
}

func (r *reader) waits(n *yaml.Node) (w sluice.Waits) {
	for _, p := range r.Pairs(n, "waits") {
		if !r.Known(p, "waits", []string{"drain", "healthy", "steady"}) {
			continue
		}
		d, _ := r.Duration(p.Value, p.Name, longest)
		switch p.Name {
		case "drain":
			w.Drain = d
		case "healthy":
			w.Healthy = d
		case "steady":
			w.Steady = d
		}
	}
	return w
}
