// Package wirepb is made from wire.proto by generate.sh. Only workerwire knows it.
package wirepb
