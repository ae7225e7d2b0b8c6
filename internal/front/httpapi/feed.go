package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/schedule"
)

// What one stream serves: a list of jobs as it changes, however many jobs run, and however slow whoever reads it is. Nothing
// waits for them: what is sent is what is so when there is room to send it.
const (
	// feedPace is how often something is sent, at most; recheck how often what may change without an event of the job is
	// looked at, such as why it waits.
	feedPace = time.Second
	recheck  = 5 * feedPace
	// maxOpen is how many jobs that go on are in a list; maxKnown how many a stream remembers until it sends the list anew.
	maxOpen  = 1000
	maxKnown = 10_000
)

type feedQuery struct {
	JobFilter
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" default:"100" doc:"how many of those that are over there are at the beginning"`
	Last   string `header:"Last-Event-ID" doc:"what browsers send when they connect again: then only what changed since comes, if that can be told"`
	Accept string `header:"Accept" doc:"text/event-stream goes on until somebody ends it; anything else gets the list as it is now"`
}

func (a *API) addFeed() {
	content := map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "what the first event has"}},
		eventStream: {Schema: &huma.Schema{Type: huma.TypeString, Description: "server-sent events. page: jobs that go on, and the newest of those that are over, " +
			"in place of all that came before; next is for a list of those that are over. jobs: those that are new or changed, and in gone the ids of those that do not fit any more"}},
	}
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "feed-jobs", Method: http.MethodGet, Path: "/api/v1/feed", Tags: []string{jobTag},
		Summary: "A list of jobs as it changes", Responses: map[string]*huma.Response{"200": {Description: "The list", Content: content}}}, feedJobs)
}

func feedJobs(ctx context.Context, c caller, in *feedQuery) (*huma.StreamResponse, error) {
	list, err := c.visible(ctx, sluice.Namespace(in.Namespace)) // whoever may see nothing is told so
	if err != nil {
		return nil, err
	}
	f := &feed{c: c, in: in, known: map[sluice.JobID]known{}}
	if !strings.Contains(in.Accept, eventStream) {
		page, err := f.page(ctx, list)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(w huma.Context) {
			w.SetHeader("Content-Type", "application/json")
			_ = json.NewEncoder(w.BodyWriter()).Encode(page) // who is gone wants no more
		}}, nil
	}
	select {
	case <-c.api.cfg.Stopping:
		return nil, sluice.Errorf(sluice.Contact, "the server is stopping").WithHint("come again in a moment")
	default:
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		w.SetHeader("Content-Type", eventStream)
		w.SetHeader("X-Accel-Buffering", "no") // a proxy must not wait for more
		noteSeen(ctx, func(s *seen) { s.stream = true })
		c.api.cfg.Watch.Streaming(1)
		defer c.api.cfg.Watch.Streaming(-1)
		during, done := c.api.untilFresh(w.Context())
		defer done()
		out := newStream(during, w.BodyWriter(), &c.api.told, c.api.cfg.Stopping, "a list of jobs as it changes")
		defer out.close()
		f.run(out.ctx, out.add)
	}}, nil
}

// feed is one stream of a list.
type feed struct {
	c     caller
	in    *feedQuery
	known map[sluice.JobID]known
	// again says that whoever reads may know jobs that this stream does not know of.
	again bool
}

// known is a job that was sent.
type known struct {
	ns   sluice.Namespace
	text []byte // as it was sent; nil where it is over
}

// spaces are the namespaces to look at, as the rights are now.
func (f *feed) spaces(ctx context.Context) ([]sluice.Namespace, error) {
	c := f.c
	all, some, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right)
	if err != nil {
		return nil, err
	}
	list, err := c.api.cfg.Lists.Spaces(ctx)
	return slices.DeleteFunc(list, func(ns sluice.Namespace) bool {
		return !all && !slices.Contains(some, ns) || f.in.Namespace != "" && f.in.Namespace != string(ns)
	}), err
}

// run sends until ctx ends, or until whoever reads may not any more.
func (f *feed) run(ctx context.Context, send func([]byte)) {
	at := parsePlace(f.in.Last)
	changes, err := f.c.api.cfg.Lists.Changes(ctx, f.spaces, at)
	if err != nil {
		return
	}
	defer changes.Close()
	anew := at == nil
	f.again = !anew
	t := time.NewTicker(feedPace)
	defer t.Stop()
	for quiet := recheck; ; quiet += feedPace {
		news := anew
		select {
		case <-changes.There():
			news = true
		default:
		}
		if news || quiet >= recheck {
			list, err := f.spaces(ctx)
			if err != nil {
				return // they come again, and are told why
			}
			jobs, place, all := changes.Take()
			if anew || all || len(f.known) > maxKnown {
				err = f.anew(ctx, list, place, send)
				anew = false
			} else {
				if quiet >= recheck {
					f.look(ctx, list, jobs)
				}
				err = f.changed(ctx, list, jobs, place, send)
			}
			if err != nil {
				return
			}
			if quiet >= recheck {
				quiet = 0
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// page is the list as it is now.
func (f *feed) page(ctx context.Context, list []sluice.Namespace) (out api.JobPage, err error) {
	var open, over []string
	for _, s := range f.in.State {
		if _, is := overStates[s]; is {
			over = append(over, s)
		} else {
			open = append(open, s)
		}
	}
	if len(f.in.State) == 0 {
		open = []string{string(schedule.Waiting), string(schedule.Running), string(schedule.Paused), string(schedule.Halted)}
		for s := range overStates {
			over = append(over, s)
		}
	}
	out.Jobs = []api.Job{}
	for _, part := range []struct {
		states []string
		most   int
	}{{open, maxOpen}, {over, f.in.Limit}} {
		if len(part.states) == 0 || part.most == 0 {
			continue
		}
		filter := f.in.JobFilter
		filter.State = part.states
		spaces, err := f.c.spaces(ctx, &filter, list)
		if err != nil {
			return out, err
		}
		page, err := f.c.page(ctx, spaces, part.most)
		if err != nil {
			return out, err
		}
		out.Jobs, out.Next, out.Unreadable = append(out.Jobs, page.Jobs...), page.Next, page.Unreadable
	}
	return out, nil
}

var overStates = map[string]bool{string(schedule.Succeeded): true, string(schedule.Failed): true, string(schedule.Cancelled): true}

func (f *feed) anew(ctx context.Context, list []sluice.Namespace, at map[sluice.Namespace]uint64, send func([]byte)) error {
	page, err := f.page(ctx, list)
	if err != nil {
		return err
	}
	clear(f.known)
	f.again = false
	for i := range page.Jobs {
		f.knows(&page.Jobs[i])
	}
	return emit(send, "page", place(list, at), page)
}

// knows remembers a job that is sent. It reports whether it is another than the one that was sent before.
func (f *feed) knows(j *api.Job) bool {
	k := known{ns: j.Namespace}
	if !overStates[j.State] {
		k.text, _ = json.Marshal(j) // of a job it does not fail
	}
	was, is := f.known[j.ID]
	f.known[j.ID] = k
	return !is || k.text == nil || !bytes.Equal(was.text, k.text)
}

// look adds the jobs that go on to those that changed: what is sent of them in the end are those that did.
func (f *feed) look(ctx context.Context, list []sluice.Namespace, jobs map[sluice.Namespace]map[sluice.JobID]bool) {
	add := func(ns sluice.Namespace, id sluice.JobID) {
		if jobs[ns] == nil {
			jobs[ns] = map[sluice.JobID]bool{}
		}
		jobs[ns][id] = true
	}
	for id, k := range f.known {
		if k.text != nil {
			add(k.ns, id)
		}
	}
	if !f.again {
		return
	}
	// Whoever came again has a list, of which those that go on may have changed in a way that no event tells.
	filter := JobFilter{State: []string{string(schedule.Waiting), string(schedule.Running), string(schedule.Paused), string(schedule.Halted)}}
	spaces, err := f.c.spaces(ctx, &filter, list)
	if err != nil {
		return
	}
	page, err := f.c.page(ctx, spaces, maxOpen)
	if err != nil {
		return
	}
	for i := range page.Jobs {
		if _, is := f.known[page.Jobs[i].ID]; !is {
			add(page.Jobs[i].Namespace, page.Jobs[i].ID)
		}
	}
}

// changed sends what changed of what may be seen.
func (f *feed) changed(ctx context.Context, list []sluice.Namespace, jobs map[sluice.Namespace]map[sluice.JobID]bool, at map[sluice.Namespace]uint64, send func([]byte)) error {
	touched := slices.DeleteFunc(slices.Clone(list), func(ns sluice.Namespace) bool { return len(jobs[ns]) == 0 })
	spaces, err := f.c.spaces(ctx, &f.in.JobFilter, touched)
	if err != nil {
		return err
	}
	out := api.JobChanges{Jobs: []api.Job{}}
	for _, sp := range spaces {
		ids := make([]sluice.JobID, 0, len(jobs[sp.Namespace]))
		for id := range jobs[sp.Namespace] {
			ids = append(ids, id)
		}
		err := f.c.api.cfg.Lists.Listed(ctx, sp, ids, func(i schedule.Info, fits bool) {
			_, was := f.known[i.Spec.ID]
			if j := f.c.listed(i); fits && f.knows(&j) {
				out.Jobs = append(out.Jobs, j)
			} else if !fits && (was || f.again) {
				delete(f.known, i.Spec.ID)
				out.Gone = append(out.Gone, i.Spec.ID)
			}
		})
		if err != nil {
			return err
		}
	}
	if len(out.Jobs)+len(out.Gone) == 0 {
		return nil
	}
	slices.SortFunc(out.Jobs, func(a, b api.Job) int { return b.Submitted.Compare(a.Submitted) })
	return emit(send, "jobs", place(list, at), out)
}

func emit(send func([]byte), name, id string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	send([]byte("event: " + name + "\nid: " + id + "\ndata: " + string(text) + "\n\n"))
	return nil
}

// place says up to where somebody knows what happened, of the namespaces that they may see.
func place(list []sluice.Namespace, at map[sluice.Namespace]uint64) string {
	v := url.Values{}
	for _, ns := range list {
		if n, ok := at[ns]; ok {
			v.Set(string(ns), strconv.FormatUint(n, 10))
		}
	}
	if len(v) == 0 {
		return "-"
	}
	return v.Encode()
}

// parsePlace is nil for what is none.
func parsePlace(text string) map[sluice.Namespace]uint64 {
	if text == "" {
		return nil
	}
	v, err := url.ParseQuery(text)
	if err != nil {
		return nil
	}
	out := map[sluice.Namespace]uint64{}
	for ns := range v {
		n, err := strconv.ParseUint(v.Get(ns), 10, 64)
		if err != nil {
			return nil
		}
		out[sluice.Namespace(ns)] = n
	}
	return out
}
