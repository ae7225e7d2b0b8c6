package etcd

import (
	"fmt"
	"strconv"
	"strings"

	"sluice"
)

// keys are names of what is kept, below a prefix that ends with "/".
type keys string

func (k keys) owner() string { return string(k) + "own" }

// defrag is held by the server that defragments its node.
func (k keys) defrag() string { return string(k) + "defrag" }

func (k keys) heads() string { return string(k) + "head/" }

func (k keys) head(ns sluice.Namespace) string { return k.heads() + string(ns) }

func (k keys) log() string { return string(k) + "log/" }

func (k keys) records(ns sluice.Namespace) string { return k.log() + string(ns) + "/" }

func (k keys) record(ns sluice.Namespace, last uint64) string {
	return k.records(ns) + fmt.Sprintf("%020d", last)
}

func (k keys) partsOf(ns sluice.Namespace) string { return string(k) + "part/" + string(ns) + "/" }

// parts are those of all records that end with an event. One that was refused may have left some.
func (k keys) parts(ns sluice.Namespace, last uint64) string {
	return k.partsOf(ns) + fmt.Sprintf("%020d/", last)
}

func (k keys) part(ns sluice.Namespace, last uint64, h sluice.ChainHash, n int) string {
	return k.parts(ns, last) + h.String() + fmt.Sprintf("/%06d", n)
}

// recordOf reads the name of a record.
func (k keys) recordOf(key string) (ns sluice.Namespace, last uint64, ok bool) {
	rest, ok := strings.CutPrefix(key, k.log())
	name, number, found := strings.Cut(rest, "/")
	last, err := strconv.ParseUint(number, 10, 64)
	return sluice.Namespace(name), last, ok && found && err == nil && name != ""
}
