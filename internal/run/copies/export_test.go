package copies

// Settle waits until nothing goes on in the background.
func (c *Copies) Settle() { c.going.Wait() }
