// Program simulated is the whole of sluice, command line, server and worker, on hosts that are simulated. For
// measurements and for tests with more hosts than a machine can be:
//
//	simulated hosts SOCKET [TRACE]     serves hosts of any name on a socket, until it is killed
//	SIMULATED_HOSTS=SOCKET simulated COMMAND...     is sluice COMMAND...
//	simulated COMMAND...               is sluice COMMAND..., on hosts that are real
//
// SIMULATED_PPROF is an address at which it can be profiled, SIMULATED_LEASE the lease of workers elsewhere.
//
// TRACE is a file that gets a line of JSON for everything that truly starts and ends on a host.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"time"

	"sluice/internal/app"
	"sluice/internal/lab/simhosts"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "hosts" && os.Getenv("SIMULATED_HOSTS") == "" {
		if err := hosts(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "simulated:", err)
			os.Exit(1)
		}
		return
	}
	if address := os.Getenv("SIMULATED_PPROF"); address != "" {
		go func() { fmt.Fprintln(os.Stderr, "simulated:", http.ListenAndServe(address, nil)) }() // ends with the program
	}
	var lab app.Lab
	if hosts := os.Getenv("SIMULATED_HOSTS"); hosts != "" {
		lab.Over = simhosts.Transport{Network: "unix", Address: hosts}
	}
	if text := os.Getenv("SIMULATED_LEASE"); text != "" {
		var err error
		if lab.Lease, err = time.ParseDuration(text); err != nil {
			fmt.Fprintln(os.Stderr, "simulated: SIMULATED_LEASE:", err)
			os.Exit(2)
		}
	}
	os.Exit(app.MainIn(lab))
}

func hosts(args []string) error {
	var trace func(simhosts.Mark)
	if len(args) > 1 {
		f, err := os.OpenFile(args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		enc := json.NewEncoder(f)
		trace = func(m simhosts.Mark) { _ = enc.Encode(m) }
	}
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	return simhosts.New(trace).Serve(context.Background(), l)
}
