package rehearse

import (
	"strings"

	"sluice"
)

// ParseShare reads a share such as 20% as a number from 0 to 1.
func ParseShare(text string) (float64, error) {
	a, err := sluice.ParseAmount(text)
	if err != nil || !a.IsPercent() {
		return 0, sluice.Errorf(sluice.Usage, "%q is no share, such as 20%%", text)
	}
	return float64(a.Floor(10000)) / 10000, nil
}

// ParseChance reads a share, or an expression of hosts that resolve works out; "" happens to nobody.
func ParseChance(text string, resolve func(string) ([]sluice.Host, error)) (c Chance, err error) {
	if text == "" {
		return c, nil
	}
	if strings.HasSuffix(text, "%") {
		c.Share, err = ParseShare(text)
		return c, err
	}
	hosts, err := resolve(text)
	if err != nil {
		return c, err
	}
	c.Hosts = map[sluice.Host]bool{}
	for _, h := range hosts {
		c.Hosts[h] = true
	}
	return c, nil
}

// Pretend is a job as it is rehearsed: its id is made of the seed, and it runs nothing.
func Pretend(job sluice.Job, rules sluice.Rules, seed uint64) sluice.Job {
	id := []byte(strings.Repeat("0", sluice.JobIDLength))
	for i := len(id) - 1; i >= 0; i-- {
		id[i] = sluice.JobIDAlphabet[seed%uint64(len(sluice.JobIDAlphabet))]
		seed /= uint64(len(sluice.JobIDAlphabet))
	}
	job.ID, job.By, job.Rules, job.Command = sluice.JobID(id), "rehearsal", rules.Digest, "rehearsal"
	job.Action = sluice.Action{Kind: sluice.RunCommand, Shell: "true"}
	return job
}
