package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/core/audit"
)

// Trail is the log, to look for who did what.
type Trail interface {
	Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error)
}

const (
	// lookNoted is how often it is noted that somebody looks into the audit.
	lookNoted = 10 * time.Minute
	// lookedAt is how many events one page looks at: most of a log are attempts, which nobody asked for.
	lookedAt = 20000
)

type auditQuery struct {
	Who       string    `query:"who" maxLength:"64" doc:"only what this one did"`
	Namespace string    `query:"namespace" maxLength:"64"`
	Since     time.Time `query:"since" doc:"only from then on"`
	Until     time.Time `query:"until" doc:"only before"`
	Text      string    `query:"text" maxLength:"200" doc:"only what has it somewhere"`
	Refused   bool      `query:"refused" doc:"only what was refused"`
	Limit     int       `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor    string    `query:"cursor" maxLength:"60000" doc:"what the last page gave as next"`
}

type auditPage struct{ Body api.AuditPage }

func (a *API) listAudit(ctx context.Context, c caller, in *auditQuery) (*auditPage, error) {
	if err := c.may(ctx, "", nil); err != nil {
		return nil, err
	}
	if a.looked.take(string(c.Principal), a.cfg.Clock()) == 0 {
		if err := a.cfg.Rights.Note(ctx, c.note("")); err != nil {
			return nil, err
		}
	}
	wish := audit.Wish{Who: in.Who, Namespace: sluice.Namespace(in.Namespace), Since: in.Since, Until: in.Until, Text: in.Text, Refused: in.Refused}
	ends, err := a.ends(ctx, in.Cursor, wish)
	if err != nil {
		return nil, err
	}
	back := audit.NewBack(ends, func(ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
		return a.cfg.Trail.Read(ctx, ns, after, limit)
	})
	out := &auditPage{api.AuditPage{Entries: []api.AuditEntry{}}}
	for range lookedAt {
		ns, e, ok, err := back.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		out.Body.Reached = &e.Time
		if wish.Past(e) {
			back.Leave(ns)
			continue
		}
		if entry, is := audit.Of(ns, e); is && wish.Wants(entry) {
			out.Body.Entries = append(out.Body.Entries, api.AuditEntry(entry))
		}
		if len(out.Body.Entries) == in.Limit {
			break
		}
	}
	for ns, end := range ends {
		if end == 0 {
			delete(ends, ns)
		}
	}
	if len(ends) > 0 {
		b, err := json.Marshal(ends)
		if err != nil {
			return nil, err
		}
		out.Body.Next = base64.RawURLEncoding.EncodeToString(b)
	}
	return out, nil
}

// ends are where a page begins: where the last one ended, or at the end of the log.
func (a *API) ends(ctx context.Context, cursor string, wish audit.Wish) (audit.Ends, error) {
	ends := audit.Ends{}
	if cursor != "" {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil {
			err = json.Unmarshal(b, &ends)
		}
		if err != nil {
			return nil, sluice.Errorf(sluice.Usage, "cursor: it is none that a page gave as next")
		}
		return ends, nil
	}
	heads, err := a.cfg.Chains.Heads(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		// What was noted about a namespace is in the log of who may do what.
		if wish.Namespace != "" && h.Namespace != wish.Namespace && h.Namespace != sluice.AccessNamespace {
			continue
		}
		if ends[h.Namespace] = h.Seq; wish.Until.IsZero() {
			continue
		}
		if ends[h.Namespace], err = a.before(ctx, h, wish.Until); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// before is the last event of a namespace from which on all are too late, found by halving. A clock that was set back in
// between may have it a little too early.
func (a *API) before(ctx context.Context, h sluice.Head, until time.Time) (uint64, error) {
	low, high := uint64(0), h.Seq
	for low < high {
		mid := low + (high-low+1)/2
		list, err := a.cfg.Trail.Read(ctx, h.Namespace, mid-1, 1)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 || !list[0].Time.Before(until) {
			high = mid - 1
		} else {
			low = mid
		}
	}
	return low, nil
}
