package release_test

import "sluice/internal/core/release"

func link(path, to string) release.Link { return release.Link{Path: path, To: to} }
