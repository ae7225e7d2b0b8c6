package nginx

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// addressOf is the address of a server as a file names it: port 80 is meant where none is.
func addressOf(name string) string {
	if strings.HasPrefix(name, "unix:") || strings.HasPrefix(name, "[") && strings.Contains(name, "]:") {
		return name
	}
	if strings.HasPrefix(name, "[") || strings.Count(name, ":") != 1 {
		return name + ":80"
	}
	return name
}

// kernelForms are how /proc/net/tcp and tcp6 write an address; none for a name, which may be several addresses.
func kernelForms(address string) []string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	port := ":" + strings.ToUpper(leftPad(strconv.FormatUint(uint64(at.Port()), 16)))
	wide := at.Addr().As16()
	out := []string{words(wide[:]) + port}
	if at.Addr().Is4() {
		narrow := at.Addr().As4()
		out = append(out, words(narrow[:])+port)
	}
	return out
}

func leftPad(s string) string { return strings.Repeat("0", 4-len(s)) + s }

// words writes bytes as the kernel of a little-endian machine does: four at a time, backwards.
func words(b []byte) string {
	var out strings.Builder
	for four := range slices.Chunk(b, 4) {
		turned := slices.Clone(four)
		slices.Reverse(turned)
		out.WriteString(strings.ToUpper(hex.EncodeToString(turned)))
	}
	return out.String()
}
