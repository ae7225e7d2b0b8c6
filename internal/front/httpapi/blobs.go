package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
)

// maxBlob bounds what may be sent for a script or a copy.
const maxBlob = 16 << 30

type oneBlob struct{ Body api.Blob }

type whichBlob struct {
	Digest string `path:"blob" pattern:"^sha256:[0-9a-f]{64}$" doc:"sha256: and 64 hexadecimal digits"`
}

type bodyKey struct{}

func (a *API) addBlobs() {
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "put-blob", Method: http.MethodPost, Path: "/api/v1/blobs", Tags: []string{jobTag},
		Summary: "Put a script or a packed tree into the store", Description: "The body is the content itself. The answer names it by its digest: " +
			"to put the same content again does no harm.",
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		Middlewares: huma.Middlewares{withBody}, Errors: []int{http.StatusRequestEntityTooLarge}}, putBlob)
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "keep-blob", Method: http.MethodPut, Path: "/api/v1/blobs/{blob}", Tags: []string{jobTag},
		Summary: "Keep what may be in the store already", Description: "There is no body. What is there is kept as if it had just been put, so that a job " +
			"can name it; without it the answer is 404, and it must be put.", Errors: []int{http.StatusNotFound}}, keepBlob)
}

// withBody hands on the body as it comes: it is larger than one would keep in memory.
func withBody(ctx huma.Context, next func(huma.Context)) {
	next(huma.WithValue(ctx, bodyKey{}, io.Reader(&patient{ctx, ctx.BodyReader()})))
}

// patient gives whoever sends a body time for every piece of it, not for the whole.
type patient struct {
	ctx  huma.Context
	body io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.ctx.SetReadDeadline(time.Now().Add(bodyTimeout)) // where none can be set, the connection's own limits hold
	return p.body.Read(b)
}

// submitsSomewhere is nil for who may submit jobs in any namespace: blobs belong to none.
func (c caller) submitsSomewhere(ctx context.Context) error {
	all, some, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right)
	if err == nil && !all && len(some) == 0 {
		err = c.mayLook(ctx, "")
	}
	return err
}

func keepBlob(ctx context.Context, c caller, in *whichBlob) (*oneBlob, error) {
	if err := c.submitsSomewhere(ctx); err != nil {
		return nil, err
	}
	size, err := c.desk().Kept(ctx, in.Digest)
	if err != nil {
		return nil, err
	}
	return &oneBlob{api.Blob{Digest: in.Digest, Size: size}}, nil
}

func putBlob(ctx context.Context, c caller, _ *struct{}) (*oneBlob, error) {
	if err := c.submitsSomewhere(ctx); err != nil {
		return nil, err
	}
	body, ok := ctx.Value(bodyKey{}).(io.Reader)
	if !ok {
		return nil, errors.New("the body is not there")
	}
	limited := &limit{r: body, left: maxBlob}
	digest, size, err := c.desk().Keep(ctx, limited)
	switch {
	case limited.over:
		p := problemOf(sluice.Errorf(sluice.Usage, "that is more than %d bytes", int64(maxBlob)))
		p.Status, p.Title = http.StatusRequestEntityTooLarge, http.StatusText(http.StatusRequestEntityTooLarge)
		return nil, p
	case limited.broken != nil:
		return nil, &sluice.Error{Code: sluice.Usage, Text: "what is to be kept did not arrive as a whole", Err: limited.broken}
	case err != nil:
		return nil, fmt.Errorf("keeping what was sent: %w", err)
	}
	return &oneBlob{api.Blob{Digest: digest, Size: size}}, nil
}

// limit is a reader that fails after so many bytes, and remembers how the reading failed.
type limit struct {
	r      io.Reader
	left   int64
	over   bool
	broken error
}

func (l *limit) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		l.over = true
		return 0, errors.New("it is too long")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.broken = err
	}
	return n, err
}
