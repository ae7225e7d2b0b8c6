package copies

import "sluice"

// Settle waits until nothing goes on in the background.
func (c *Copies) Settle() { c.going.Wait() }

// Waiting is how much of what a job printed waits in memory.
func (o *Outputs) Waiting(id sluice.JobID) (n int) {
	j := o.use(id)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, to := range j.to {
		for _, q := range to.queue {
			n += len(q.Data)
		}
	}
	return n
}
