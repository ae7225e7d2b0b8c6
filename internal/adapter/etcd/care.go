package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// CareConfig says what is looked after, and by whom.
type CareConfig struct {
	Engine *Engine
	// Node is that of this server. nil: etcd exists elsewhere; then only records are forgotten, and whoever runs it does the rest.
	Node *Node
	// Owns reports whether this server owns the log.
	Owns func() bool
	// Copies says how far the copy of each member has come, by name; nil for one that cannot be asked. What it does not name is no member.
	Copies func(ctx context.Context) (map[string][]sluice.Head, error)
	// Begin is from how many bytes in use on records are forgotten, and Keep how many of the newest stay, so that a server that was away
	// shortly gets what it lacks from here. 0: a quarter of the quota, 64 MiB at most; and a quarter of that.
	Begin, Keep int64
	// Every is how often it looks; 0: 5 s.
	Every time.Duration
	// Trouble is told what a person has to know. It must not block.
	Trouble func(text string)
}

// Care looks after etcd, on every server: each after its own node, and the owner of the log after what is in it.
type Care struct {
	cfg  CareConfig
	last map[string][]sluice.Head // of each member, as it was last seen
	told string
	idle int

	weighed int64 // in use when it was last looked for what can be forgotten
	when    time.Time
	upTo    []sluice.Head

	mu  sync.Mutex
	now Numbers
}

// Numbers are what is to be seen of etcd, as this server last saw it.
type Numbers struct {
	Size, InUse, Quota int64             // bytes of this server's node: of its file, of what is in use, and at most; 0: not known
	Leads              bool              // the others go by this server's node
	Held               bool              // nothing is appended, as there is no room
	Behind             map[string]uint64 // events that a member's copy lacks
	Unknown            []string          // members whose copies could not be asked
	Alarms             map[string]int    // nospace, corrupt: how many members have it
	Trims, Defrags     uint64            // how often this server has forgotten records, and defragmented its node
	LeaderChanges      uint64
	Sync, Commit       Spread // of this server's node: of its log to the disk, and of its database
}

// Spread is how long something took, how often.
type Spread struct {
	Count   uint64
	Sum     float64 // seconds
	Buckets map[float64]uint64
}

const (
	often        = 5 * time.Second
	defaultBegin = 64 << 20
	// A node stands still while it is defragmented, and others wait for their turn.
	turn = time.Minute
	// weighAgain is after how long it is looked again for what can be forgotten, where nothing could.
	weighAgain = time.Minute
)

// NewCare makes a Care.
func NewCare(cfg CareConfig) *Care {
	if cfg.Every <= 0 {
		cfg.Every = often
	}
	return &Care{cfg: cfg, last: map[string][]sluice.Head{}}
}

// Run looks after etcd until ctx or the node ends. The node must not be closed before.
func (c *Care) Run(ctx context.Context) {
	defer c.cfg.Engine.full.Store(false)
	var stopped <-chan struct{}
	if c.cfg.Node != nil {
		stopped = c.cfg.Node.Stopped()
	}
	for {
		err := c.look(ctx)
		if ctx.Err() != nil {
			return
		}
		c.tell(err)
		select {
		case <-ctx.Done():
			return
		case <-stopped:
			return
		case <-time.After(c.cfg.Every):
		}
	}
}

// tell says what is wrong, once.
func (c *Care) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != c.told {
		c.cfg.Trouble(text)
	}
	c.told = text
}

// look looks once, and does what is to be done.
func (c *Care) look(ctx context.Context) error {
	s, err := c.see(ctx)
	if err != nil {
		return err
	}
	copies, unasked := c.copies(ctx)
	d := plan(s)
	if was := c.cfg.Engine.full.Swap(d.hold); d.hold && !was {
		c.cfg.Trouble("the cluster is almost full: nothing is appended until more servers have what is in it")
	}
	return errors.Join(unasked, c.excludes(ctx, s, d), c.trim(ctx, s, d, copies), c.defrag(ctx, d), c.reopen(ctx, d), c.promote(ctx, d.promote))
}

// see asks etcd how it is.
func (c *Care) see(ctx context.Context) (s scene, err error) {
	e := c.cfg.Engine
	s.held, s.owns, s.node = e.full.Load(), c.cfg.Owns(), c.cfg.Node != nil
	got, err := c.room(ctx)
	if err != nil {
		return s, err
	}
	s.size, s.inUse, s.quota = got.size, got.inUse, got.quota
	alarms, err := ask(ctx, func(ctx context.Context) (*clientv3.AlarmResponse, error) { return e.c.AlarmList(ctx) })
	if err != nil {
		return s, contact("looking after the cluster", err)
	}
	for _, a := range alarms.Alarms {
		switch a.Alarm {
		case etcdserverpb.AlarmType_NOSPACE:
			s.full = append(s.full, a.MemberID)
		case etcdserverpb.AlarmType_CORRUPT:
			s.corrupt = append(s.corrupt, a.MemberID)
		}
	}
	if s.owned = s.owns; !s.owned {
		_, term, err := e.Owner(ctx)
		if err != nil {
			return s, err
		}
		s.owned = term > 0
	}
	s.begin = c.cfg.Begin
	if s.begin <= 0 {
		if s.begin = defaultBegin; s.quota > 0 {
			s.begin = min(defaultBegin, s.quota/4)
		}
	}
	if c.cfg.Node != nil {
		s.me = uint64(c.cfg.Node.etcd.Server.MemberID())
		limited, done := context.WithTimeout(ctx, patience)
		defer done()
		if s.members, err = c.cfg.Node.Members(limited); err != nil {
			return s, err
		}
	}
	if c.idle++; !airy(s) {
		c.idle = 0
	}
	s.idle = c.idle
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Size, c.now.InUse, c.now.Quota, c.now.Held = s.size, s.inUse, s.quota, s.held
	c.now.Leads = s.node && got.leader == s.me
	c.now.Alarms = map[string]int{"nospace": len(s.full), "corrupt": len(s.corrupt)}
	return s, nil
}

// room is how much there is, and of which quota; leader is whom the others go by.
type room struct {
	size, inUse, quota int64
	leader             uint64
}

// room is that of this server's node, or of the first that answers.
func (c *Care) room(ctx context.Context) (room, error) {
	if c.cfg.Node != nil {
		return c.cfg.Node.room(), nil
	}
	err := errors.New("there is no address")
	for _, at := range c.cfg.Engine.c.Endpoints() {
		limited, done := context.WithTimeout(ctx, longestTry)
		got, failed := c.cfg.Engine.c.Status(limited, at)
		done()
		if err = failed; err == nil {
			return room{got.DbSize, got.DbSizeInUse, got.DbSizeQuota, got.Leader}, nil
		}
	}
	return room{}, contact("looking after the cluster", err)
}

// copies asks how far all have come. Who cannot be asked is where it was.
func (c *Care) copies(ctx context.Context) (map[string][]sluice.Head, error) {
	got, err := c.cfg.Copies(ctx)
	if err != nil {
		return nil, err
	}
	heads, err := c.cfg.Engine.Heads(ctx)
	if err != nil {
		return nil, err
	}
	behind, unknown := map[string]uint64{}, []string(nil)
	for name, has := range got {
		if has == nil {
			unknown = append(unknown, name)
			has = c.last[name]
			got[name] = has
		}
		c.last[name] = has
		if has != nil {
			behind[name] = lacks(heads, has)
		}
	}
	for name := range c.last {
		if _, is := got[name]; !is {
			delete(c.last, name)
		}
	}
	slices.Sort(unknown)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Behind, c.now.Unknown = behind, unknown
	return got, nil
}

// lacks is how many events a copy has less than there are.
func lacks(heads, has []sluice.Head) (n uint64) {
	ends := map[sluice.Namespace]uint64{}
	for _, h := range has {
		ends[h.Namespace] = h.Seq
	}
	for _, h := range heads {
		if end := ends[h.Namespace]; end < h.Seq {
			n += h.Seq - end
		}
	}
	return n
}

// trim forgets what can be. To find that out all is read, which is not done at each look where it is of no use.
func (c *Care) trim(ctx context.Context, s scene, d deeds, copies map[string][]sluice.Head) error {
	if d.trim == trimNothing || len(copies) == 0 {
		return nil
	}
	upTo, majority := ends(copies)
	keep := c.cfg.Keep
	if keep <= 0 {
		keep = s.begin / 4
	}
	if d.trim == trimMost {
		upTo, keep = majority, keep/4
	}
	urgent := len(s.full) > 0
	came := d.hold && !slices.Equal(upTo, c.upTo) // all wait for it
	if !urgent && !came && s.inUse < c.weighed+s.begin/8 && time.Since(c.when) < weighAgain {
		return nil
	}
	e := c.cfg.Engine
	at, err := e.trimmable(ctx, upTo, keep)
	if err != nil {
		return err
	}
	if err := e.Trim(ctx, at); err != nil {
		return err
	}
	if urgent && len(at) == 0 { // what else there is
		_, rev, err := e.readHeads(ctx)
		if err == nil {
			err = e.compact(ctx, rev)
		}
		if err != nil {
			return err
		}
	}
	c.weighed, c.when, c.upTo = s.inUse, time.Now(), upTo
	if len(at) == 0 {
		return nil
	}
	c.weighed = 0 // it may be that there was more than fits into one look
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Trims++
	return nil
}

// defrag gives back what is free. Others do it at another time, as long as anything is appended.
func (c *Care) defrag(ctx context.Context, d deeds) error {
	if !d.defrag {
		return nil
	}
	e := c.cfg.Engine
	if !d.alone {
		lease, mine, err := c.turn(ctx)
		if err != nil || !mine {
			return contact("waiting for the turn to defragment", err)
		}
		defer func() {
			one, done := context.WithTimeout(context.WithoutCancel(ctx), longestTry)
			defer done()
			_, _ = e.c.Revoke(one, lease) // it ends by itself, too
		}()
	}
	if err := c.cfg.Node.defragment(); err != nil {
		return contact("defragmenting", err)
	}
	c.idle = 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Defrags++
	return nil
}

// turn has no other server defragment meanwhile.
func (c *Care) turn(ctx context.Context) (lease clientv3.LeaseID, mine bool, err error) {
	e := c.cfg.Engine
	granted, err := ask(ctx, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return e.c.Grant(ctx, 2*int64(turn/time.Second))
	})
	if err != nil {
		return 0, false, err
	}
	key := e.k.defrag()
	got, err := ask(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, "", clientv3.WithLease(granted.ID))).Else(clientv3.OpGet(key)).Commit()
	})
	if err != nil {
		return 0, false, err
	}
	if mine = got.Succeeded || len(kvsOf(got, 0)) > 0 && kvsOf(got, 0)[0].Lease == int64(granted.ID); !mine {
		one, done := context.WithTimeout(ctx, firstTry)
		defer done()
		_, _ = e.c.Revoke(one, granted.ID)
	}
	return granted.ID, mine, nil
}

// disarm ends alarms. One whose reason goes on is raised again.
func (c *Care) disarm(ctx context.Context, members []uint64, kind etcdserverpb.AlarmType) error {
	for _, id := range members {
		if _, err := ask(ctx, func(ctx context.Context) (*clientv3.AlarmResponse, error) {
			return c.cfg.Engine.c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: id, Alarm: kind})
		}); err != nil {
			return contact("ending an alarm", err)
		}
	}
	return nil
}

// reopen ends the alarms of full nodes, if this one has room.
func (c *Care) reopen(ctx context.Context, d deeds) error {
	if len(d.disarm) == 0 {
		return nil
	}
	got, err := c.room(ctx)
	if err != nil {
		return err
	}
	if got.quota > 0 && got.size*100/got.quota >= roomy {
		return sluice.Errorf(sluice.Contact, "the cluster is full, and nothing can be forgotten: %d MiB of %d MiB are in use; nothing will be started", got.inUse>>20, got.quota>>20).
			WithHint("see that all servers of the cluster run and have room; docs/cluster.md says more")
	}
	return c.disarm(ctx, d.disarm, etcdserverpb.AlarmType_NOSPACE)
}

// excludes takes a member out whose data differ, and says so, or says why it does not.
func (c *Care) excludes(ctx context.Context, s scene, d deeds) error {
	name := func(id uint64) string {
		for _, m := range s.members {
			if m.ID == id && m.Name != "" {
				return m.Name
			}
		}
		return fmt.Sprintf("%x", id)
	}
	if len(d.undecide) > 0 {
		var who []string
		for _, id := range d.undecide {
			who = append(who, name(id))
		}
		slices.Sort(who)
		return sluice.Errorf(sluice.Contact, "what the members have differs, and it is not certain whose is wrong (it is said of %s); nothing will be started", strings.Join(who, ", ")).
			WithHint("docs/cluster.md says what to do")
	}
	if d.takeOut == 0 {
		return nil
	}
	_, err := ask(ctx, func(ctx context.Context) (*clientv3.MemberRemoveResponse, error) {
		r, err := c.cfg.Engine.c.MemberRemove(ctx, d.takeOut)
		if errors.Is(err, rpctypes.ErrMemberNotFound) { // another server was faster
			err = nil
		}
		return r, err
	})
	if err != nil {
		return contact("what the member "+name(d.takeOut)+" has is damaged, and it cannot be taken out", err)
	}
	c.cfg.Trouble("what the member " + name(d.takeOut) + " has is damaged: it was taken out of the cluster; replace it")
	return c.disarm(ctx, []uint64{d.takeOut}, etcdserverpb.AlarmType_CORRUPT)
}

// promote has a learner count, if it is in sync; the next look tries again.
func (c *Care) promote(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	m, err := c.cfg.Node.member(ctx, name)
	if err != nil || !m.Learner {
		return err
	}
	limited, done := context.WithTimeout(ctx, longestTry)
	defer done()
	_, err = c.cfg.Engine.c.MemberPromote(limited, m.ID)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrMemberLearnerNotReady), errors.Is(err, rpctypes.ErrMemberNotLearner), errors.Is(err, rpctypes.ErrMemberNotFound):
		return nil
	}
	return contact("having the member "+name+" count", err)
}

// Numbers are what was seen last, with what etcd counts itself.
func (c *Care) Numbers() Numbers {
	c.mu.Lock()
	n := c.now
	c.mu.Unlock()
	if c.cfg.Node == nil {
		return n
	}
	families, err := prom.DefaultGatherer.Gather() // etcd counts there, and nowhere else
	if err != nil {
		return n
	}
	for _, f := range families {
		if len(f.GetMetric()) == 0 {
			continue
		}
		m := f.GetMetric()[0]
		switch f.GetName() {
		case "etcd_server_leader_changes_seen_total":
			n.LeaderChanges = uint64(m.GetCounter().GetValue())
		case "etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds":
			h := m.GetHistogram()
			s := Spread{Count: h.GetSampleCount(), Sum: h.GetSampleSum(), Buckets: map[float64]uint64{}}
			for _, b := range h.GetBucket() {
				s.Buckets[b.GetUpperBound()] = b.GetCumulativeCount()
			}
			if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
				n.Sync = s
			} else {
				n.Commit = s
			}
		}
	}
	return n
}
