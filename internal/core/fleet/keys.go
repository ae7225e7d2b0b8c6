package fleet

import (
	_ "embed"
	"slices"
)

// The keys that may stand where. The loader refuses others; the schema says the same.
var (
	fileKeys = []string{"namespace", "include", "ssh", "host", "tag", "sequence", "constraint", "balancer", "resolver", "inventory",
		"target", "approval", "converge", "confirm_above"}
	sshKeys      = []string{"user", "port", "address", "identity", "jump", "transport", "pool"}
	hostKeys     = append(slices.Clone(sshKeys), "ssh")
	entryKeys    = []string{"target", "max_failures", "pause", "approve", "ramp"}
	limitKeys    = []string{"max_parallel"}
	balancerKeys = append(slices.Clone(drivers), "on", "sudo", "least", "pool")
	resolverKeys = []string{"command", "timeout"}
	approvalKeys = []string{"by", "start"}
	convergeKeys = []string{"every", "app", "env"}
	targetKeys   = []string{"dir", "pre_hooks", "post_hooks"}
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of the fleet file, for editors.
func Schema() []byte { return slices.Clone(schema) }
