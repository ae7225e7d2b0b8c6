// Sluice carries a change to a fleet of Linux hosts in a controlled flow.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main()) }
