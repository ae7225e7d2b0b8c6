package fake

import (
	"context"
	"sync"

	"sluice"
)

// Drivers are [sluice.Drivers] in memory. Several handles may share one; a process that dies is played by End.
type Drivers struct {
	Faults Faults

	mu     sync.Mutex
	claims map[sluice.JobID]*struct{ _ byte }
}

var _ sluice.Drivers = (*Drivers)(nil)

// NewDrivers returns drivers without claims.
func NewDrivers() *Drivers { return &Drivers{claims: map[sluice.JobID]*struct{ _ byte }{}} }

// Claim takes a job.
func (d *Drivers) Claim(job sluice.JobID) (release func(), err error) {
	if err := d.Faults.pass(context.Background(), DriverClaim); err != nil {
		return nil, err
	}
	if !job.Valid() {
		return nil, sluice.Errorf(sluice.Usage, "%q is no job id", job)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claims[job] != nil {
		return nil, sluice.Errorf(sluice.Conflict, "job %s is driven by another process", job)
	}
	mine := new(struct{ _ byte }) // not of size 0: its address tells this claim from the next
	d.claims[job] = mine
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.claims[job] == mine {
			delete(d.claims, job)
		}
	}, nil
}

// Driven reports whether the job is claimed.
func (d *Drivers) Driven(job sluice.JobID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.claims[job] != nil
}

// End ends whatever claim there is on the job, as the death of its process does.
func (d *Drivers) End(job sluice.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.claims, job)
}
