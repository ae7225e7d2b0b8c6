package depot

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/core/artifact"
)

// Survey says what nobody needs any more. It removes nothing.
func (d *Depot) Survey(ctx context.Context, k artifact.Keep) (g artifact.Garbage, err error) {
	// Content first: what is sent after this is not in the list, and so stays.
	kept, err := d.Store.Kept(ctx)
	if err != nil {
		return g, err
	}
	all, err := d.all(ctx)
	if err != nil {
		return g, err
	}
	g.Versions = artifact.Excess(all, k)
	gone := map[sluice.ArtifactName]bool{}
	for _, v := range g.Versions {
		gone[v.ArtifactName] = true
	}
	var stay []artifact.Record
	for _, v := range all {
		if !gone[v.ArtifactName] {
			stay = append(stay, v.Record)
		}
	}
	g.Kept, g.Contents = len(stay), artifact.Loose(kept, stay, k)
	return g, nil
}

// Collect removes what a survey found, as far as nobody needs it by now, and says what is gone. k may keep more than it did for
// the survey. It may be killed at any time: what is left is found by the next survey.
func (d *Depot) Collect(ctx context.Context, found artifact.Garbage, k artifact.Keep) (gone artifact.Garbage, err error) {
	all, err := d.all(ctx)
	if err != nil {
		return gone, err
	}
	excess := map[sluice.ArtifactName]bool{}
	for _, v := range artifact.Excess(all, k) {
		excess[v.ArtifactName] = true
	}
	for _, v := range found.Versions {
		if !excess[v.ArtifactName] {
			continue
		}
		is, _, err := d.latest(ctx, v.ArtifactName)
		if err != nil {
			return gone, err
		}
		if is != nil && is.Version == v.Version {
			continue
		}
		if err := d.Store.Remove(ctx, v.ArtifactName); err != nil {
			return gone, err
		}
		gone.Versions = append(gone.Versions, v)
	}
	now, err := d.Survey(ctx, k)
	if err != nil {
		return gone, err
	}
	loose := map[string]bool{}
	for _, c := range now.Contents {
		loose[c.Name] = true
	}
	for _, c := range found.Contents {
		if !loose[c.Name] {
			continue
		}
		if err := d.Store.Discard(ctx, c.Name, k.SentSince); err != nil {
			return gone, err
		}
		gone.Contents = append(gone.Contents, c)
	}
	gone.Kept = now.Kept + len(now.Versions)
	return gone, nil
}

// all are all versions of all files. One whose record cannot be read ends it: what it needs is not known.
func (d *Depot) all(ctx context.Context) (out []artifact.Version, err error) {
	err = d.walk(ctx, sluice.ArtifactName{}, func(file sluice.ArtifactName) error {
		records, err := d.records(ctx, file)
		if err != nil {
			return err
		}
		is, _, err := d.latest(ctx, file)
		for _, p := range records {
			out = append(out, artifact.Version{Record: p.Record, Latest: is != nil && is.Version == p.Version})
		}
		return err
	})
	if err != nil && sluice.CodeOf(err) == sluice.Conflict {
		err = errors.Join(sluice.Errorf(sluice.Conflict, "nothing is collected while not everything can be read"), err)
	}
	return out, err
}

// walk goes through all files.
func (d *Depot) walk(ctx context.Context, under sluice.ArtifactName, do func(file sluice.ArtifactName) error) error {
	if under.File != "" {
		return do(under)
	}
	names, err := d.Store.Names(ctx, under)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.walk(ctx, under.Below(name), do); err != nil {
			return err
		}
	}
	return nil
}
