package api

import "sluice"

// AskHostKeys names hosts that the server shall ask for their keys.
type AskHostKeys struct {
	Namespace sluice.Namespace `json:"namespace,omitempty" maxLength:"64" doc:"whose fleet says how the hosts are reached; default: that of the fleet that is sent, else default"`
	// Fleet is one to go by in place of the one that was applied.
	Fleet any           `json:"fleet,omitempty" doc:"a fleet to go by in place of the one that was applied; another one than that needs the right fleet.apply, too"`
	Hosts []sluice.Host `json:"hosts" minItems:"1" maxItems:"200" doc:"names of hosts"`
}

// AddHostKeys names keys that the server shall know hosts by.
type AddHostKeys struct {
	Namespace sluice.Namespace `json:"namespace,omitempty" maxLength:"64" doc:"whose fleet says how the hosts are reached; default: that of the fleet that is sent, else default"`
	// Fleet is one to go by in place of the one that was applied.
	Fleet any         `json:"fleet,omitempty" doc:"a fleet to go by in place of the one that was applied; another one than that needs the right fleet.apply, too"`
	Keys  []PublicKey `json:"keys" minItems:"1" maxItems:"200" doc:"as they were shown, and found to be the right ones"`
}

// PublicKey is the key of a host.
type PublicKey struct {
	Host sluice.Host `json:"host" maxLength:"253"`
	Type string      `json:"type" maxLength:"64" doc:"such as ssh-ed25519"`
	Key  []byte      `json:"key" maxLength:"16384" doc:"its wire form in base64, as in known_hosts"`
}

// HostKey is what came of a host and its key.
type HostKey struct {
	Host        sluice.Host `json:"host"`
	Address     string      `json:"address,omitempty" doc:"under which known_hosts has it: a name or address, with the port where that is not 22"`
	Type        string      `json:"type,omitempty" doc:"such as ssh-ed25519"`
	Key         []byte      `json:"key,omitempty" doc:"its wire form in base64, as in known_hosts"`
	Fingerprint string      `json:"fingerprint,omitempty" doc:"SHA256:..., to be compared with what the console of the host says"`
	State       string      `json:"state,omitempty" enum:"new,known,added" doc:"new: not known yet; known: it was already; added: it is from now on"`
	Error       string      `json:"error,omitempty" doc:"why there is no key that can be added, or why it was not"`
}
