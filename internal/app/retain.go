package app

import (
	"fmt"

	"sluice"
	"sluice/internal/adapter/dirarchive"
	"sluice/internal/run/control"
	"sluice/internal/run/retain"
)

// retaining is what it takes to keep no more than the server is told to.
func (s *Server) retaining(service *control.Service, trouble func(string)) (retain.Config, error) {
	cfg := retain.Config{Policy: s.Keep, Log: service.Log, Outputs: service.Outputs, Clock: s.Clock, Trouble: trouble}
	var printed, sent bool
	cfg.Printed, printed = service.Outputs.(sluice.Shelf)
	cfg.Sent, sent = service.Blobs.(sluice.Shelf)
	if s.Keep.Any() && (!printed || !sent) {
		return cfg, fmt.Errorf("%T and %T cannot be asked what they keep", service.Outputs, service.Blobs)
	}
	if s.Archive == "" {
		return cfg, nil
	}
	archive, err := dirarchive.New(s.Archive)
	cfg.Archive = archive
	return cfg, err
}
