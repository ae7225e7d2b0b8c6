package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/core/schedule"
)

// Space is a namespace in which to look for jobs, and what is to be listed of it.
type Space struct {
	Namespace sluice.Namespace
	schedule.Query
}

// List returns the newest jobs of several namespaces that fit, at most as many as most, and whether there are more behind
// them. A namespace that cannot be read keeps no list of the others from being made; which ones that are it says, too.
func (s *Service) List(ctx context.Context, spaces []Space, most int) (page []schedule.Info, more bool, lost []sluice.Namespace, err error) {
	for _, sp := range spaces {
		sp.Most = most + 1
		err := s.look(ctx, sp.Namespace, func(state *schedule.State) error {
			page = append(page, s.placed(state, state.List(sp.Query))...)
			return nil
		})
		switch {
		case err != nil && ctx.Err() == nil && s.Unreadable != nil:
			s.Unreadable(sp.Namespace, err)
			lost = append(lost, sp.Namespace)
		case err != nil:
			return nil, false, nil, err
		}
	}
	slices.SortFunc(page, func(a, b schedule.Info) int { return a.Mark().Compare(b.Mark()) })
	if more = len(page) > most; more {
		page = page[:most]
	}
	return page, more, lost, nil
}

// Listed hands on jobs of a namespace as lists have them. fits says that a job fits the query; of jobs that are not there or
// may not be seen, nothing is said.
func (s *Service) Listed(ctx context.Context, sp Space, ids []sluice.JobID, each func(i schedule.Info, fits bool)) error {
	type one struct {
		info schedule.Info
		fits bool
	}
	var all []one
	err := s.look(ctx, sp.Namespace, func(state *schedule.State) error {
		for _, id := range ids {
			if i, fits, ok := state.Listed(id, sp.Query); ok {
				all = append(all, one{s.placed(state, []schedule.Info{i})[0], fits})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range all {
		each(o.info, o.fits)
	}
	return nil
}

// MarkOf is the place of a job in the list of all.
func (s *Service) MarkOf(ctx context.Context, id sluice.JobID) (*schedule.Mark, error) {
	i, _, err := s.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	m := i.Mark()
	return &m, nil
}

// Spaces are the namespaces that there are.
func (s *Service) Spaces(ctx context.Context) ([]sluice.Namespace, error) {
	list, err := s.Log.Namespaces(ctx)
	return slices.DeleteFunc(list, sluice.Namespace.Reserved), err
}

// placed says of jobs that run when their attempts have no worker.
func (s *Service) placed(state *schedule.State, jobs []schedule.Info) []schedule.Info {
	for k := range jobs {
		if i := &jobs[k]; i.State == schedule.Running {
			i.Stranded, i.Why = s.stranded(state, i)
		}
	}
	return jobs
}

// stranded reports whether no attempt of a job that runs has a worker, nor gets one; and why one of them has none.
func (s *Service) stranded(state *schedule.State, i *schedule.Info) (all bool, why string) {
	waits := s.unplaced(state, i.Spec.ID)
	if len(waits) == 0 {
		return false, ""
	}
	why = waits[0].Text
	if len(waits) < i.Running {
		return false, fmt.Sprintf("%d of %d that run have no worker: %s", len(waits), i.Running, why)
	}
	nobody := func(r schedule.Reason) bool { return strings.HasPrefix(r.Text, crew.Nobody) }
	return !slices.ContainsFunc(waits, func(r schedule.Reason) bool { return !nobody(r) }), why
}

// OutIn lists the hosts of several namespaces that are out of service or retired; lost are those that cannot be read.
func (s *Service) OutIn(ctx context.Context, spaces []sluice.Namespace, each func(sluice.Namespace, []schedule.HostInfo)) (lost []sluice.Namespace, err error) {
	var errs []error
	for _, ns := range spaces {
		out, err := s.Out(ctx, ns)
		switch {
		case err == nil:
			each(ns, out)
		case ctx.Err() == nil && s.Unreadable != nil:
			s.Unreadable(ns, err)
			lost = append(lost, ns)
		default:
			errs = append(errs, err)
		}
	}
	return lost, errors.Join(errs...)
}

// Names are the hosts and the submitters of a namespace in whose names the text of the query stands: those of its log, and
// the hosts of its fleet.
func (s *Service) Names(ctx context.Context, ns sluice.Namespace, q schedule.Query) (hosts []sluice.Host, users []string, err error) {
	if loaded, _, err := s.Fleet(ctx, ns); err == nil { // there may be none
		hosts = schedule.Named(loaded.Fleet().Hosts, q)
	}
	err = s.look(ctx, ns, func(state *schedule.State) error {
		more, by := state.Names(q)
		hosts, users = append(hosts, more...), by
		return nil
	})
	slices.Sort(hosts)
	return slices.Compact(hosts), users, err
}
