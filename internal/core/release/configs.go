package release

import (
	"encoding/json"
	"errors"
	"fmt"

	"sluice"
)

// ConfigPath is where the configuration of a release stands in its version, as JSON.
const ConfigPath = "deploy/configuration.json"

// ConfigMode lets the owner and the group of a version read its configuration: there may be secrets in it.
const ConfigMode = 0o440

// Configs are the frozen configurations of a release: one for most hosts, and others for those that have layers of their own. They
// are kept as one blob, so that nothing of a release is named only by what has to be read first.
type Configs struct {
	Common json.RawMessage                 `json:"common"`
	Hosts  map[sluice.Host]json.RawMessage `json:"hosts,omitempty"`
}

// For is a host's configuration.
func (c Configs) For(h sluice.Host) []byte {
	if one, ok := c.Hosts[h]; ok {
		return one
	}
	return c.Common
}

// Encode writes them; the same ones give the same text.
func (c Configs) Encode() ([]byte, error) { return json.Marshal(c) }

// ParseConfigs reads what Encode wrote.
func ParseConfigs(text []byte) (c Configs, err error) {
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("the configurations cannot be read: %w", err)
	}
	if len(c.Common) == 0 {
		return c, errors.New("the configurations have none for most hosts")
	}
	return c, nil
}

// CommonConfigs folds the configurations of hosts: the one that most have is the common one; of as many, the one of the host that
// comes first.
func CommonConfigs(hosts []sluice.Host, of map[sluice.Host][]byte) Configs {
	n := map[string]int{}
	for _, h := range hosts {
		n[string(of[h])]++
	}
	common := ""
	for _, h := range hosts {
		if one := string(of[h]); common == "" || n[one] > n[common] {
			common = one
		}
	}
	c := Configs{Common: json.RawMessage(common)}
	for _, h := range hosts {
		if string(of[h]) != common {
			if c.Hosts == nil {
				c.Hosts = map[sluice.Host]json.RawMessage{}
			}
			c.Hosts[h] = of[h]
		}
	}
	return c
}
