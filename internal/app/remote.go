package app

import (
	"sluice"
	"sluice/client"
)

// remote is the server that the environment names.
func (l *Local) remote() (*client.Client, error) {
	server := l.Env("SLUICE_SERVER")
	if server == "" {
		return nil, sluice.Errorf(sluice.Usage, "this needs a server, and none is named").WithHint("SLUICE_SERVER=URL, and SLUICE_TOKEN")
	}
	return client.New(server, l.Env("SLUICE_TOKEN"), nil)
}
