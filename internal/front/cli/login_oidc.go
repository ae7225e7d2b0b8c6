package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"sluice"
	"sluice/internal/front/clean"
)

// OIDCOptions say which OpenID provider a server believes.
type OIDCOptions struct{ Issuer, ClientID, SecretFile, Claim string }

func oidcFlags(fs *pflag.FlagSet, o *OIDCOptions) {
	fs.StringVar(&o.Issuer, "oidc-issuer", "", "`URL` of an OpenID provider by which people log in")
	fs.StringVar(&o.ClientID, "oidc-client-id", "", "`name` by which the provider knows this server")
	fs.StringVar(&o.SecretFile, "oidc-client-secret-file", "", "`file` with the secret that the provider wants of it, if it does")
	fs.StringVar(&o.Claim, "oidc-claim", "email", "`claim` that names the principal: email, preferred_username or sub")
}

// byOIDC gets the token by logging the person in at the provider that the server names.
func (a *app) byOIDC(ctx context.Context, s *Server) error {
	if a.LogIn == nil {
		return sluice.Errorf(sluice.Usage, "this program cannot log in with OpenID")
	}
	made, err := a.LogIn(ctx, *s, func(address string) error {
		_, err := fmt.Fprintf(a.Stderr, "Log in with a browser on this machine:\n  %s\n", clean.Text(address))
		return err
	})
	if err != nil {
		return err
	}
	return s.keep([]byte(made.Secret), "the server")
}
