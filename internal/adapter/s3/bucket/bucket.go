// Package bucket is a place in a store that speaks S3, for the adapters beside it: how it is written, how it is reached, what its
// errors mean. It knows nothing of what is kept there.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"sluice"
)

const (
	// tries is how often a request is made before its error counts; the SDK waits longer each time.
	tries = 5
	// Patience bounds one request with all its tries. A piece is small, so a store that needs longer is as good as gone.
	Patience = 10 * time.Minute
	// quiet is how long a store may take to begin with an answer.
	quiet = time.Minute
)

// Bucket is a place that can be reached.
type Bucket struct {
	Place
	*s3.Client
	what string // is kept there, such as "the archive"
	http *http.Client
}

// Open makes the way to a place. Credentials, and what the place leaves open, come from the environment and the files that
// every program for S3 reads. Nothing is asked of the store yet: it need not be there when a server starts.
func Open(ctx context.Context, at Place, what string) (*Bucket, error) {
	// A client of the SDK's own kind, or it cannot heed AWS_CA_BUNDLE.
	build := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = (&net.Dialer{Timeout: quiet}).DialContext
		t.ResponseHeaderTimeout, t.IdleConnTimeout = quiet, quiet
	})
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(build), config.WithRetryMaxAttempts(tries)}
	if at.Region != "" {
		options = append(options, config.WithRegion(at.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: what + " in " + at.String(), Err: err}
	}
	if cfg.Region == "" {
		cfg.Region = anyRegion
	}
	if is, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		build = is
	}
	client := &http.Client{Transport: build.GetTransport()} // which can be closed
	cfg.HTTPClient = client
	return &Bucket{Place: at, what: what, http: client, Client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		if at.Endpoint != "" {
			o.BaseEndpoint = aws.String(at.Endpoint)
		}
		o.UsePathStyle = at.PathStyle
		o.DisableLogOutputChecksumValidationSkipped = true // of an object in pieces; what is read is proved by whoever reads it
	})}, nil
}

// Close lets go of the connections.
func (b *Bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}

// Within bounds one request with all its tries.
func Within[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("no answer within %v", Patience))
	defer cancel()
	got, err := request(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return got, err
}

// Status is the HTTP status of an error of the store; 0 if it has none.
func Status(err error) int {
	var r interface{ HTTPStatusCode() int }
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// Explain says where it was, and what to do about it. needs is what a key must be allowed.
func (b *Bucket) Explain(err error, needs string) error {
	var mine *sluice.Error
	if err == nil || errors.As(err, &mine) {
		return err
	}
	e := &sluice.Error{Code: sluice.Contact, Text: b.what + " in " + b.String(), Err: err}
	var said smithy.APIError
	if !errors.As(err, &said) {
		return e
	}
	switch code := said.ErrorCode(); {
	case code == "NoSuchBucket":
		return e.WithHint("make the bucket first; it is not made here")
	case code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch":
		return e.WithHint("the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials of who runs this, are not those of the store")
	case Status(err) == http.StatusForbidden:
		return e.WithHint("the key needs %s there", needs)
	}
	return e
}
