// Package forge posts to the API of a forge, such as GitHub or GitLab. It follows no redirect, as the token in the header is for
// one place alone, and its errors name neither the token nor the address.
//
// It knows nothing of what it posts.
package forge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	timeout   = 10 * time.Second
	maxAnswer = 64 << 10
)

// Post sends a body, once. again says that another try may be of use.
func Post(ctx context.Context, to string, header map[string]string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("its address is none")
	}
	req.Header.Set("User-Agent", "sluice")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	c := http.Client{Timeout: timeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return ctx.Err() == nil, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch status := resp.StatusCode; {
	case status/100 == 2:
		return false, nil
	case status/100 == 3:
		return false, fmt.Errorf("status %d: redirects are not followed", status)
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound:
		return false, fmt.Errorf("status %d: look at the url and the token", status)
	default:
		return status/100 == 5 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout, fmt.Errorf("status %d", status)
	}
}
