package peerwire

import (
	"net/http"
	"strconv"

	"sluice"
)

// spoken is what says which version this program speaks.
var spoken = strconv.Itoa(Protocol)

// Fits reports whether a server that speaks a version is understood here, and understands this one: as for workers, one version further on
// is, since that one knows what was before it.
func Fits(protocol int) bool { return protocol >= Oldest && protocol <= Protocol+1 }

// protocolOf is the version that the other side speaks. The first one did not say so.
func protocolOf(h http.Header) int {
	text := h.Get(protocolHeader)
	if text == "" {
		return 1
	}
	v, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return v
}

// apart says that two servers are too far apart. It has the code Config: another try does not help.
func apart(who string, protocol int, mine string) error {
	return sluice.Errorf(sluice.Config, "the server %s speaks version %d of what servers say to each other, and %s %d to %d", who, protocol, mine, Oldest, Protocol).
		WithHint("the servers of a cluster must not be more than one version apart: upgrade by the version between, one server after the other")
}

// Apart says why a server that speaks a version is none of those with which this one can share a log; nil: it can.
func Apart(who string, protocol int) error {
	if Fits(protocol) {
		return nil
	}
	return apart(who, protocol, "this server")
}
