package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"sluice"
	"sluice/api"
)

// LoginOIDC logs a person in with OpenID, at the provider that the server at a URL believes: show is handed the address to
// go to with a browser on this machine. It waits until the person comes back, or ctx ends. The token that it returns is the
// server's.
func LoginOIDC(ctx context.Context, server string, h *http.Client, show func(address string) error) (made api.NewToken, err error) {
	c, err := New(server, "nobody", h)
	if err != nil {
		return made, err
	}
	c.token = "" // there is none yet
	start, err := ask[api.OIDCStart](ctx, c, request{path: []string{"login", "oidc"}})
	if err != nil {
		return made, err
	}
	in := api.OIDCLogin{Verifier: random(), Nonce: random()}
	state := random()
	back, err := waitForCode(ctx, state)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, back.close()) }()
	in.Redirect = back.address
	sum := sha256.Sum256([]byte(in.Verifier))
	u, err := url.Parse(start.Authorize)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return made, sluice.Errorf(sluice.Contact, "the server names %q to log in at, which is no address", start.Authorize)
	}
	q := u.Query()
	for name, v := range map[string]string{"response_type": "code", "client_id": start.ClientID, "scope": start.Scope, "redirect_uri": in.Redirect, "state": state,
		"nonce": in.Nonce, "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256"} {
		q.Set(name, v)
	}
	u.RawQuery = q.Encode()
	if err := show(u.String()); err != nil {
		return made, err
	}
	select {
	case <-ctx.Done():
		return made, ctx.Err()
	case got := <-back.got:
		if got.err != nil {
			return made, got.err
		}
		in.Code = got.code
	}
	return once[api.NewToken](ctx, c, request{method: http.MethodPost, path: []string{"login", "oidc"}, body: in})
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // does not fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// codeWait waits on the loopback for the browser to come back.
type codeWait struct {
	address string
	got     chan gotCode // has room for one
	server  *http.Server
	ended   chan error
}

type gotCode struct {
	code string
	err  error
}

func waitForCode(ctx context.Context, state string) (*codeWait, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &codeWait{address: "http://" + l.Addr().String() + "/callback", got: make(chan gotCode, 1), ended: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if q.Get("state") != state { // a page of somebody else sent the browser here
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte("This is not the login that sluice waits for.\n"))
			return
		}
		got := gotCode{code: q.Get("code")}
		text := "You are logged in, and can close this page.\n"
		if got.code == "" {
			got.err = sluice.Errorf(sluice.Denied, "the login was refused: %s", q.Get("error")).WithHint("%s", q.Get("error_description"))
			text = "The login was refused.\n"
		}
		_, _ = rw.Write([]byte(text))
		select {
		case w.got <- got:
		default: // the first one counts
		}
	})
	w.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { w.ended <- w.server.Serve(l) }()
	return w, nil
}

// close lets the last answer go out.
func (w *codeWait) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
	if err := <-w.ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
