package work

import (
	"context"

	"sluice"
)

// SetPoints puts shell text for the function d_point into the steps of deploys.
func (w *Worker) SetPoints(text string) { w.points = text }

// LearnsSecrets has a worker learn what is to be masked in a job, and reports whether there may be more than it knows.
func (w *Worker) LearnsSecrets(ctx context.Context, job *sluice.Job) (blind bool, err error) {
	t, err := w.newAttempt(context.Background(), Assignment{Job: job, Host: "web1", Attempt: sluice.NewAttemptID(job.ID, 0, 1)})
	if err != nil {
		return false, err
	}
	defer func() {
		for _, end := range t.atEnd {
			end()
		}
	}()
	t.learnSecrets(ctx)
	return t.blind, nil
}
