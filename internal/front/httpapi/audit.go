package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
)

// Heads show and judge what others remember of the log.
type Heads interface {
	Heads(ctx context.Context) ([]sluice.SeenHead, error)
	Witness(ctx context.Context, from string, heads []sluice.SeenHead) error
	Standing(ctx context.Context) (api.Standing, error)
	Repair(ctx context.Context, by, reason string) (sluice.LogRepaired, error)
}

const auditTag = "audit"

type headsBody struct{ Body api.Heads }

type standingBody struct{ Body api.Standing }

type repairBody struct {
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"1000"`
	}
}

type repaired struct{ Body sluice.LogRepaired }

type haltAllBody struct {
	Body struct {
		Namespace string `json:"namespace,omitempty" maxLength:"64" doc:"only jobs of this one"`
		Reason    string `json:"reason,omitempty" maxLength:"1000"`
	}
}

type halted struct {
	Status int
	Body   struct {
		Jobs []sluice.JobID `json:"jobs" doc:"those that were halted by it"`
		Kept *api.KeptHalt  `json:"kept,omitempty" doc:"the halt is kept by this server, which has no contact with a majority, and is appended as soon as there is one"`
	}
}

func (a *API) addAudit() {
	content := map[string]*huma.MediaType{plainLines: {Schema: &huma.Schema{Type: huma.TypeString, Description: "one record a line, and heads on the last"}}}
	route(a, sluice.SeeAudit, huma.Operation{OperationID: "export-audit", Method: http.MethodGet, Path: "/api/v1/audit/records", Tags: []string{auditTag},
		Summary:     "All records of the log, with their hashes",
		Description: "Whoever reads them can prove the chain: see Record.Sum in the program's source. One export goes on at a time.",
		Responses:   map[string]*huma.Response{"200": {Description: "The records", Content: content}}}, a.exportAudit)
	route(a, sluice.SeeAudit, huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/api/v1/audit/entries", Tags: []string{auditTag},
		Summary: "Who did what, newest first", Description: "Nothing of it is proved: for that there are the records. A look is noted once in ten minutes, and not each of its pages."}, a.listAudit)
	route(a, sluice.SeeAudit, huma.Operation{OperationID: "get-audit-standing", Method: http.MethodGet, Path: "/api/v1/audit/standing", Tags: []string{auditTag},
		Summary: "What others remember of the log that it does not have"},
		func(ctx context.Context, c caller, _ *struct{}) (*standingBody, error) {
			if err := c.may(ctx, "", nil); err != nil {
				return nil, err
			}
			s, err := a.cfg.Heads.Standing(ctx)
			s.Unfit, s.Lost = append([]sluice.SeenHead{}, s.Unfit...), append([]sluice.SeenHead{}, s.Lost...)
			return &standingBody{s}, err
		})
	route(a, sluice.RunServer, huma.Operation{OperationID: "repair-log", Method: http.MethodPost, Path: "/api/v1/audit/repair", Tags: []string{auditTag},
		Summary: "Declare the log the truth, though others have seen more or something else", Errors: []int{http.StatusConflict}},
		func(ctx context.Context, c caller, in *repairBody) (*repaired, error) {
			if err := c.may(ctx, "", nil); err != nil {
				return nil, err
			}
			r, err := a.cfg.Heads.Repair(ctx, string(c.Principal), in.Body.Reason)
			return &repaired{r}, err
		})
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-heads", Method: http.MethodGet, Path: "/api/v1/heads", Tags: []string{auditTag},
		Summary: "Where the log ends, signed: to be kept, and handed back one day"},
		func(ctx context.Context, c caller, _ *struct{}) (*headsBody, error) { return c.heads(ctx) })
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "hand-back-heads", Method: http.MethodPost, Path: "/api/v1/heads", Tags: []string{auditTag},
		Summary: "Hand heads back that this server has shown, and get those of now"},
		func(ctx context.Context, c caller, in *headsBody) (*headsBody, error) {
			now, err := c.heads(ctx)
			if err != nil {
				return nil, err
			}
			return now, a.cfg.Heads.Witness(ctx, string(c.Principal)+" at "+c.from, in.Body.Heads)
		})
	route(a, sluice.HaltJob, huma.Operation{OperationID: "halt-all", Method: http.MethodPost, Path: "/api/v1/halt", Tags: []string{jobTag},
		Summary: "Start nothing more of any job; what runs ends by itself", Description: keptIs}, haltAll)
}

// heads are those that the caller may know of.
func (c caller) heads(ctx context.Context) (*headsBody, error) {
	all, some, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right)
	if err != nil {
		return nil, err
	}
	if !all && len(some) == 0 {
		return nil, c.mayLook(ctx, "")
	}
	heads, err := c.api.cfg.Heads.Heads(ctx)
	if err != nil {
		return nil, err
	}
	out := &headsBody{}
	out.Body.Heads = append([]sluice.SeenHead{}, slices.DeleteFunc(heads, func(s sluice.SeenHead) bool {
		// Who may do what concerns all, and a hash of it tells nothing.
		return !all && !s.Namespace.Reserved() && !slices.Contains(some, s.Namespace)
	})...)
	return out, nil
}

func (a *API) exportAudit(ctx context.Context, c caller, _ *struct{}) (*huma.StreamResponse, error) {
	if err := c.may(ctx, "", nil); err != nil {
		return nil, err
	}
	if err := a.cfg.Rights.Note(ctx, c.note("")); err != nil {
		return nil, err
	}
	// Each holds a place of those who read the log, for as long as its client likes.
	select {
	case a.exporting <- struct{}{}:
	default:
		return nil, sluice.Errorf(sluice.Conflict, "another export of the audit goes on").WithHint("wait for its end, and try again")
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		defer func() { <-a.exporting }()
		w.SetHeader("Content-Type", plainLines)
		enc := json.NewEncoder(w.BodyWriter())
		ends := map[sluice.Namespace]sluice.Head{}
		var order []sluice.Namespace
		err := a.cfg.Chains.Records(w.Context(), nil, func(r sluice.Record) error {
			if _, known := ends[r.Namespace]; !known {
				order = append(order, r.Namespace)
			}
			ends[r.Namespace] = r.Head()
			return enc.Encode(api.AuditLine{Record: &r})
		})
		if err != nil { // without the last line they know that something is missing
			a.cfg.Trouble(c.what + ": " + err.Error())
			return
		}
		var last api.AuditLine
		for _, ns := range order {
			last.Heads = append(last.Heads, ends[ns])
		}
		_ = enc.Encode(last)
	}}, nil
}

func haltAll(ctx context.Context, c caller, in *haltAllBody) (*halted, error) {
	ns := sluice.Namespace(in.Body.Namespace)
	if err := c.may(ctx, ns, nil); err != nil {
		return nil, err
	}
	out := &halted{Status: http.StatusOK}
	if c.api.keeps(ctx) {
		var err error
		out.Status, out.Body.Jobs = http.StatusAccepted, []sluice.JobID{}
		out.Body.Kept, err = c.keep(ctx, ns, "", in.Body.Reason)
		return out, err
	}
	jobs, err := c.desk().HaltAll(ctx, ns, in.Body.Reason)
	out.Body.Jobs = append([]sluice.JobID{}, jobs...)
	return out, err
}
