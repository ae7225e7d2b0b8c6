package peerwire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"sluice"
)

// batch is how much of an output is held at a time while it is taken.
const batch = 4 << 20

func (s *server) keepRoutes() {
	s.mux.HandleFunc("GET "+prefix+"records", s.records)
	if s.cfg.Kept.Blobs != nil {
		s.mux.HandleFunc("POST "+prefix+"blobs", s.putBlob)
		s.mux.HandleFunc("GET "+prefix+"blobs/{digest}", s.openBlob)
		s.mux.HandleFunc("GET "+prefix+"blobs/{digest}/size", s.sizeOf(s.cfg.Kept.Blobs.Size))
		s.mux.HandleFunc("POST "+prefix+"blobs/{digest}/renew", s.sizeOf(s.cfg.Kept.Blobs.Renew))
	}
	s.mux.HandleFunc("POST "+prefix+"outputs/{job}", s.keepOutput)
	s.mux.HandleFunc("GET "+prefix+"outputs/{job}/{attempt}/{stream}", s.openOutput)
	s.mux.HandleFunc("GET "+prefix+"outputs/{job}/{attempt}/{stream}/size", s.outputSize)
}

type wireSize struct {
	Size   int64  `json:"size"`
	Digest string `json:"digest,omitempty"`
}

// frames is an answer of many frames, which begins with the first of them.
type frames struct {
	w     http.ResponseWriter
	begun bool
}

func (f *frames) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		fine(f.w, content)
	}
	return f.w.Write(p)
}

// end ends the answer, with an error where there is one.
func (f *frames) end(err error) {
	if err != nil && !f.begun {
		refuse(f.w, err)
		return
	}
	if err == nil {
		_ = writeFrame(f, endFrame) // who does not read it is gone
		return
	}
	_ = writeFrame(f, errorFrame, problemOf(err).text())
}

func (s *server) records(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if err != nil || s.cfg.Kept.Records == nil {
		refuse(w, sluice.Errorf(sluice.Usage, "records are not given behind %.40q", r.URL.Query().Get("after")))
		return
	}
	out := &frames{w: w}
	out.end(s.cfg.Kept.Records(r.Context(), sluice.Namespace(r.URL.Query().Get("namespace")), after, func(records []sluice.Record) error {
		for _, one := range records {
			if err := writeRecord(out, one); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (s *server) putBlob(w http.ResponseWriter, r *http.Request) {
	digest, size, err := s.cfg.Kept.Blobs.Put(r.Context(), newProved(r.Body, func() string { return r.Trailer.Get(digestTrailer) }))
	answer(w, wireSize{size, digest}, err)
}

func (s *server) openBlob(w http.ResponseWriter, r *http.Request) {
	in, err := s.cfg.Kept.Blobs.Open(r.Context(), r.PathValue("digest"))
	if err != nil {
		refuse(w, err)
		return
	}
	s.stream(w, in)
}

// stream answers with all that is read. Where that fails, the answer has no end.
func (s *server) stream(w http.ResponseWriter, in io.ReadCloser) {
	fine(w, content)
	_, err := io.Copy(w, in)
	if err = errors.Join(err, in.Close()); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *server) sizeOf(do func(context.Context, string) (int64, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		size, err := do(r.Context(), r.PathValue("digest"))
		answer(w, wireSize{Size: size}, err)
	}
}

// output reads whose output is meant.
func (s *server) output(r *http.Request) (job sluice.JobID, a sluice.AttemptID, stream string, err error) {
	job, a, stream = sluice.JobID(r.PathValue("job")), sluice.AttemptID(r.PathValue("attempt")), r.PathValue("stream")
	if !job.Valid() {
		err = sluice.Errorf(sluice.Usage, "%.80q is no id of a job", job)
	}
	return job, a, stream, err
}

func (s *server) keepOutput(w http.ResponseWriter, r *http.Request) {
	job, _, _, err := s.output(r)
	if err == nil && s.cfg.Kept.KeepOutput == nil {
		err = sluice.Errorf(sluice.Usage, "the server %s keeps no outputs", s.cfg.Name)
	}
	if err == nil {
		err = s.takePieces(r.Context(), job, bufio.NewReaderSize(r.Body, firstRead))
	}
	answer(w, struct{}{}, err)
}

// takePieces keeps pieces as they come. Those before one that is refused are kept.
func (s *server) takePieces(ctx context.Context, job sluice.JobID, in *bufio.Reader) error {
	var pieces []sluice.OutputPiece
	held := 0
	keep := func() error {
		if len(pieces) == 0 {
			return nil
		}
		err := s.cfg.Kept.KeepOutput(ctx, job, pieces)
		pieces, held = pieces[:0], 0
		return err
	}
	for {
		kind, body, err := readFrame(in, maxPieceHead+1+maxPiece)
		if err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "the output did not come whole", Err: err}
		}
		switch kind {
		case endFrame:
			return keep()
		case pieceFrame:
			p, err := pieceOf(body)
			if err != nil {
				return &sluice.Error{Code: sluice.Usage, Text: "the output is not understood", Err: err}
			}
			pieces, held = append(pieces, p), held+len(body)
			if held >= batch {
				if err := keep(); err != nil {
					return err
				}
			}
		default:
			return sluice.Errorf(sluice.Usage, "the output is not understood: a frame of the kind %q", kind)
		}
	}
}

func (s *server) outputSize(w http.ResponseWriter, r *http.Request) {
	job, a, stream, err := s.output(r)
	if err == nil && s.cfg.Kept.OutputSize == nil {
		err = sluice.Errorf(sluice.Usage, "the server %s keeps no outputs", s.cfg.Name)
	}
	var size int64
	if err == nil {
		size, err = s.cfg.Kept.OutputSize(r.Context(), job, a, stream)
	}
	answer(w, wireSize{Size: size}, err)
}

func (s *server) openOutput(w http.ResponseWriter, r *http.Request) {
	job, a, stream, err := s.output(r)
	from, bad := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
	if err == nil && (bad != nil || from < 0 || s.cfg.Kept.OpenOutput == nil) {
		err = sluice.Errorf(sluice.Usage, "an output is not read from %.40q on", r.URL.Query().Get("from"))
	}
	var in io.ReadCloser
	if err == nil {
		in, err = s.cfg.Kept.OpenOutput(r.Context(), job, a, stream, from)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	s.stream(w, in)
}
