package prometheus

import (
	prom "github.com/prometheus/client_golang/prometheus"
)

// clusterDescs are what is given of the engine that servers share.
type clusterDescs struct {
	size, inUse, quota       *prom.Desc
	leads, owns, held        *prom.Desc
	behind, unknown, alarms  *prom.Desc
	trims, defrags, changes  *prom.Desc
	syncSeconds, commitTimes *prom.Desc
}

// alarmKinds are given also where there is none.
var alarmKinds = []string{"nospace", "corrupt"}

func describeCluster() clusterDescs {
	d := func(name, help string, labels ...string) *prom.Desc {
		return prom.NewDesc("sluice_cluster_"+name, help, labels, nil)
	}
	return clusterDescs{
		size:        d("size_bytes", "Size of the file in which this server's node of the cluster keeps the newest records."),
		inUse:       d("in_use_bytes", "What is in use of it."),
		quota:       d("quota_bytes", "What it may have at most: then nothing is taken any more. 0 where that is not known."),
		leads:       d("leads", "1 if the other nodes go by this server's."),
		owns:        d("owns_log", "1 if this server owns the log."),
		held:        d("held", "1 if nothing is appended because there is too little room."),
		behind:      d("behind_events", "Events that the copy of a member lacks.", "member"),
		unknown:     d("members_unknown", "Members whose copies could not be asked."),
		alarms:      d("alarms", "Members with an alarm: nospace, corrupt.", "kind"),
		trims:       d("trims_total", "How often this server had old records forgotten."),
		defrags:     d("defrags_total", "How often this server's node was defragmented."),
		changes:     d("leader_changes_total", "How often the nodes began to go by another."),
		syncSeconds: d("sync_seconds", "Writing of the node's own log to the disk."),
		commitTimes: d("commit_seconds", "Writing of the node's database to the disk."),
	}
}

func (c clusterDescs) all() []*prom.Desc {
	return []*prom.Desc{c.size, c.inUse, c.quota, c.leads, c.owns, c.held, c.behind, c.unknown, c.alarms, c.trims, c.defrags, c.changes, c.syncSeconds, c.commitTimes}
}

func (m *Metrics) collectCluster(to chan<- prom.Metric) {
	if m.shared == nil {
		return
	}
	c := m.shared()
	if c == nil {
		return
	}
	d := m.cluster
	gauge := func(d *prom.Desc, v float64, labels ...string) {
		to <- prom.MustNewConstMetric(d, prom.GaugeValue, v, labels...)
	}
	yes := func(d *prom.Desc, is bool) {
		v := 0.0
		if is {
			v = 1
		}
		gauge(d, v)
	}
	gauge(d.size, float64(c.Size))
	gauge(d.inUse, float64(c.InUse))
	gauge(d.quota, float64(c.Quota))
	yes(d.leads, c.Leads)
	yes(d.owns, c.Owns)
	yes(d.held, c.Held)
	for name, n := range c.Behind {
		gauge(d.behind, float64(n), name)
	}
	gauge(d.unknown, float64(c.Unknown))
	for _, kind := range alarmKinds {
		gauge(d.alarms, float64(c.Alarms[kind]), kind)
	}
	for desc, n := range map[*prom.Desc]uint64{d.trims: c.Trims, d.defrags: c.Defrags, d.changes: c.LeaderChanges} {
		to <- prom.MustNewConstMetric(desc, prom.CounterValue, float64(n))
	}
	for desc, s := range map[*prom.Desc]Spread{d.syncSeconds: c.Sync, d.commitTimes: c.Commit} {
		to <- prom.MustNewConstHistogram(desc, s.Count, s.Sum, s.Buckets)
	}
}
