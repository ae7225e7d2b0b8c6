package work

// SetPoints puts shell text for the function d_point into the steps of deploys.
func (w *Worker) SetPoints(text string) { w.points = text }
