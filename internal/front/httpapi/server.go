// Package httpapi answers /api/v1: requests in, what control does and knows out. Every route is registered through
// [route], with the right that it needs: there is no other way in.
//
// It decides nothing itself. It must not reach around control, and it must not know which adapters are behind it.
package httpapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

// Rights answers who somebody is and what they may do.
type Rights interface {
	Login(ctx context.Context, secret string) (access.Bearer, error)
	Session(ctx context.Context, secret string) (access.Bearer, error)
	Token(ctx context.Context, b access.Bearer) (sluice.Token, error)
	Holds(ctx context.Context, b access.Bearer) ([]access.Hold, error)
	Allow(ctx context.Context, b access.Bearer, a access.Ask) error
	Namespaces(ctx context.Context, b access.Bearer, r sluice.Right) (all bool, some []sluice.Namespace, err error)
	Hosts(ctx context.Context, b access.Bearer, a access.Ask) (all bool, some map[sluice.Host]bool, err error)
	Note(ctx context.Context, n sluice.AccessNoted) error
}

// Config is what the API needs.
type Config struct {
	// Desk is where a principal comes with what it wants.
	Desk func(sluice.Principal) *control.Service
	// Lists are those of all namespaces, for whoever sees to it that nobody is shown more than they may see.
	Lists  *control.Service
	Rights Rights
	// Workers are those of the server; nil where it has none.
	Workers Workers
	// Servers are those of the cluster; nil: this one is alone.
	Servers Servers
	// Stale says since when there is no contact with a majority of the cluster; zero: there is, or there is no need. nil: never. Answers
	// then carry [api.StaleHeader], and what would change something is refused, but for halts where there are Halts to keep them.
	Stale func(ctx context.Context) time.Time
	Halts Halts
	// Turns is closed when Stale may say something else; it is there where Stale is.
	Turns func() <-chan struct{}
	// HostKeys are those that the server's own worker knows hosts by; nil: it has none.
	HostKeys HostKeys
	// Keeping changes who may do what.
	Keeping Keeping
	// Prove lets people in by their connection, who show no token; nil: nobody.
	Prove Prove
	// OpenID lets people log in; nil: it does not.
	OpenID OpenID
	// Members are the hosts of a tag in a namespace, as its fleet says now.
	Members func(ctx context.Context, ns sluice.Namespace) (func(sluice.Tag) []sluice.Host, error)
	// Public is the address by which browsers reach the server, without a slash at its end; nil: it is not known, and nobody signs
	// in to a browser with OpenID.
	Public *url.URL
	// LookAgain is how often those who watch are asked anew whether they may; 0: every 15 seconds.
	LookAgain time.Duration
	// Trail is the log, to look for who did what.
	Trail Trail
	// Ready says why the server takes no jobs; nil is ready.
	Ready func(ctx context.Context) error
	// Chains are the records of the log, and Heads what others remember of it.
	Chains sluice.Chains
	Heads  Heads
	// Hosts are the names, without port, under which the server is reached, beside those of the loopback. A page that
	// makes its own name mean our address gets no answer.
	Hosts []string
	// Local lets fleets name this machine itself (transport: local). Everybody who may apply one can then run commands as
	// the server.
	Local bool
	// Secrets keeps those of jobs; nil: jobs have none.
	Secrets Secrets
	// Submitted is told that there is a new job. It must not block. Nil: nobody is told.
	Submitted func()
	// Boards are jobs as pages show them.
	Boards Boards
	// Printed begins to look at what the hosts of a job print.
	Printed func(job sluice.JobID) Printed
	// Fetched writes what a job fetched from a host, as a tar stream.
	Fetched func(ctx context.Context, w io.Writer, job *sluice.Job, h sluice.Host) error
	// Trouble is told about errors that say nothing of themselves to the outside. It must not block.
	Trouble func(text string)
	// Stopping is closed when the server is about to stop: streams end then, and none begins. nil: it never is.
	Stopping <-chan struct{}
	// Watch is told about every request; nil: nobody is.
	Watch Watch
	// Webhooks keeps webhooks; nil: there are none.
	Webhooks Webhooks
	// Metrics answers /metrics; nil: there is none.
	Metrics http.Handler
	// UI answers for the pages, below /ui/; nil: there are none.
	UI      http.Handler
	Clock   sluice.Clock
	Version string
	// Since is when the server was started.
	Since time.Time
	// NamespaceRate is how many requests a second may be about one namespace, of all principals together; 0: [NamespaceRate].
	NamespaceRate int
}

// Limits of requests.
const (
	maxBody     = 1 << 20
	bodyTimeout = 30 * time.Second
)

// API answers requests.
type API struct {
	cfg    Config
	huma   huma.API
	mux    *http.ServeMux
	guard  http.Handler // in front of mux
	routes []Route

	open []Route

	strangers strangers
	inUse     inUse
	exporting chan struct{} // holds one for each export that goes on
	asking    chan struct{} // holds one for each host that is asked for its key
	callers   pace          // by principal
	failed    pace          // logins, by address
	told      told          // to those who watch
	digests   digests
	spaces    pace // by namespace
	looked    pace // into the audit, by principal: each look is noted, and not each of its pages
	reading   looked

	rehearsals pace          // by principal
	rehearsing chan struct{} // holds one for each that goes on
	gzips      sync.Pool
}

// Route is one way in, and what it takes to use it.
type Route struct {
	Method, Path string
	// Right is what one must have; "" is for routes that everybody may use who is somebody.
	Right sluice.Right
}

// New makes the API.
func New(cfg Config) *API {
	if cfg.Watch == nil {
		cfg.Watch = nobody{}
	}
	if cfg.NamespaceRate == 0 {
		cfg.NamespaceRate = NamespaceRate
	}
	if cfg.LookAgain == 0 {
		cfg.LookAgain = pulse
	}
	if cfg.Submitted == nil {
		cfg.Submitted = func() {}
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(), exporting: make(chan struct{}, 1), asking: make(chan struct{}, keysAtOnce), callers: pace{rate: principalRate, burst: principalBurst},
		failed:     pace{rate: failedRate, burst: failedBurst},
		looked:     pace{rate: 1 / lookNoted.Seconds(), burst: 1},
		rehearsals: pace{rate: rehearsalRate, burst: rehearsalBurst}, rehearsing: make(chan struct{}, rehearsalsAtOnce),
		spaces: pace{rate: float64(cfg.NamespaceRate), burst: namespaceBurst * float64(cfg.NamespaceRate)}}
	c := huma.DefaultConfig("Sluice", cfg.Version)
	// An amount is a number or a text such as 5%; it reads itself, and says what is wrong.
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[sluice.Amount](), reflect.TypeFor[any]())
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/api/v1/openapi", "", ""
	c.Transformers = append(c.Transformers, discreet)
	c.CreateHooks = nil // answers are what the forms say, without a link to a schema
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Controlled change for fleets of Linux hosts."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "a token, as sluice login and sluice access token make them"},
	}
	a.huma = humago.New(a.mux, c)
	a.addJobs()
	a.addLists()
	a.addReleases()
	a.addBoards()
	a.addSubmit()
	a.addSecrets()
	a.addPlan()
	a.addFileChanges()
	a.addRehearse()
	a.addRequest()
	a.addFrozen()
	a.addConfiguration()
	a.addBack()
	a.addConverge()
	a.addBlobs()
	a.addControls()
	a.addFleets()
	a.addFleetViews()
	a.addWorkers()
	a.addCluster()
	a.addHostKeys()
	a.addOutput()
	a.addAlike()
	a.addOnHost()
	a.addAccess()
	a.addSession()
	a.addMay()
	a.addOIDC()
	a.addAudit()
	a.addWebhooks()
	a.addAbout()
	a.addHealth()
	a.addPage()
	a.addUI()
	a.guard = http.NewCrossOriginProtection().Handler(a.mux)
	return a
}

// Routes lists all routes of the API that have been registered, and Open those that are for people who are nobody yet.
func (a *API) Routes() []Route { return a.routes }
func (a *API) Open() []Route   { return a.open }

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if !a.knows(r.Host) && !isHealth(r.URL.Path) {
		p := problemOf(sluice.Errorf(sluice.Usage, "this server is not reached as %q", r.Host).WithHint("--host names the names under which it is"))
		p.Status, p.Title = http.StatusMisdirectedRequest, http.StatusText(http.StatusMisdirectedRequest)
		writeProblem(w, p)
		return
	}
	a.watched(w, r)
}

// knows reports whether the server answers to a name, as it stands in the header Host.
func (a *API) knows(host string) bool {
	return IsLoopback(host) || slices.Contains(a.cfg.Hosts, strings.ToLower(nameOf(host)))
}

// nameOf is the name or address in the header Host, or in HOST:PORT.
func nameOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// IsLoopback reports whether HOST or HOST:PORT is this machine as seen from itself alone.
func IsLoopback(host string) bool {
	ip := net.ParseIP(nameOf(host))
	return ip != nil && ip.IsLoopback() || nameOf(host) == "localhost"
}

// route registers a way in. do is called only for somebody who has been named; it asks may, with what the request is
// about, before it does anything.
func route[I, O any](a *API, right sluice.Right, op huma.Operation, do func(context.Context, caller, *I) (*O, error)) {
	a.routes = append(a.routes, Route{op.Method, op.Path, right})
	op.Security = []map[string][]string{{"token": {}}}
	if right != "" {
		op.Description += "\n\nNeeds the right " + string(right) + "."
	}
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	op.BodyReadTimeout = bodyTimeout
	op.Middlewares = append(op.Middlewares, a.enter(op, right))
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		c, ok := ctx.Value(callerKey{}).(caller)
		if !ok {
			return nil, problemOf(sluice.Errorf(sluice.Denied, "nobody is named"))
		}
		out, err := do(ctx, c, in)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				a.cfg.Trouble(c.what + ": " + err.Error())
			}
			return nil, p
		}
		return out, nil
	})
}
