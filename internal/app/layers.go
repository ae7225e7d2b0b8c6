package app

import (
	"context"

	"sluice/internal/adapter/configfiles"
	"sluice/internal/front/cli"
)

// layers opens a directory with layers of configuration, as it is or as it was.
func layers(ctx context.Context, dir string, at cli.LayersAt) (cli.Layers, error) {
	if at == (cli.LayersAt{}) {
		return configfiles.Open(ctx, dir)
	}
	return configfiles.OpenAt(ctx, dir, configfiles.At(at))
}
