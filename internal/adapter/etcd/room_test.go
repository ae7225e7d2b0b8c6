package etcd_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
)

// disk is a small one, which can be filled.
type disk struct {
	t   testing.TB
	dir string
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=200m"); err != nil {
		t.Skipf("skipped: nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &disk{t, dir}
}

func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "filler"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				d.t.Fatal(err)
			}
			size /= 16
		}
	}
}

func (d *disk) free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// nodeIs is the configuration of a node that runs in a child of a test, as JSON.
const nodeIs = "SLUICE_TEST_NODE_IS"

// childNode is that, and what it does.
type childNode struct {
	Name, Dir, Listen string
	Nodes             map[string]string
	Appends           bool
}

// nodeSays is what it says: how far it is, or why it ends.
type nodeSays struct {
	End sluice.Head
	Why string
}

// runNode runs a node until it stops, or its input ends. It appends as the owner, or follows.
func runNode(text string) error {
	var is childNode
	if err := json.Unmarshal([]byte(text), &is); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out := json.NewEncoder(os.Stdout)
	n, err := etcd.Start(ctx, etcd.NodeConfig{Name: is.Name, Dir: is.Dir, Listen: is.Listen, Advertise: is.Listen, Nodes: is.Nodes, Token: "test"})
	if err != nil {
		return out.Encode(nodeSays{Why: err.Error()})
	}
	e, err := etcd.New(n.Client(), etcd.Config{})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var works sync.WaitGroup
	works.Go(func() {
		if !is.Appends {
			_ = e.Follow(ctx, nil, func(all []sluice.Record) error { return out.Encode(nodeSays{End: all[len(all)-1].Head()}) })
			return
		}
		term, err := e.Own(ctx, sluice.Owner{Name: is.Name})
		if err != nil {
			return
		}
		var end sluice.Head
		for {
			r := noise(end, 500<<10)
			if term.Append(ctx, r) != nil {
				return
			}
			end = r.Head()
			if out.Encode(nodeSays{End: end}) != nil {
				return
			}
		}
	})
	select {
	case <-n.Stopped():
	case <-ctx.Done():
	}
	why := n.Err()
	stop()
	works.Wait()
	if err := n.Close(); err != nil {
		return err
	}
	if why != nil {
		return out.Encode(nodeSays{Why: why.Error()})
	}
	return nil
}

// child runs such a node.
func (is childNode) child(t testing.TB) (out *json.Decoder, ends func()) {
	t.Helper()
	text, err := json.Marshal(is)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(t.Context(), 2*time.Minute)
	c := exec.CommandContext(ctx, self)
	c.Env, c.Stderr = append(os.Environ(), nodeIs+"="+string(text)), os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return json.NewDecoder(from), func() {
		t.Helper()
		_ = in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the process of the node ended with %v", err)
		}
		done()
	}
}

// TestAFullDisk ends the node of the owner, which says why and ends in order. Another server owns the log, nothing that was acknowledged is lost,
// and with room the node is there again.
func TestAFullDisk(t *testing.T) {
	d := newDisk(t)
	one := childNode{Name: "n1", Dir: filepath.Join(d.dir, "n1"), Listen: freeAddress(t), Appends: true}
	c := &cluster{nodes: make([]*etcd.Node, 2)}
	one.Nodes = map[string]string{"n1": one.Listen}
	for _, name := range []string{"n2", "n3"} {
		at := freeAddress(t)
		one.Nodes[name] = at
		c.cfgs = append(c.cfgs, etcd.NodeConfig{Name: name, Dir: t.TempDir(), Listen: at, Advertise: at, Nodes: one.Nodes, Token: "test"})
	}
	var starts sync.WaitGroup
	for i := range c.nodes {
		starts.Go(func() { c.start(t, i) })
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(t, i)
		}
	})
	out, ends := one.child(t)
	starts.Wait()
	if t.Failed() {
		t.FailNow()
	}
	var end sluice.Head
	var why string
	for n := 0; why == ""; n++ {
		var s nodeSays
		if err := out.Decode(&s); err != nil {
			t.Fatalf("it ended without a reason: %v", err)
		}
		if n == 3 {
			d.fill()
		}
		if why = s.Why; why == "" {
			end = s.End
		}
	}
	ends()
	if !strings.Contains(why, "cannot go on") || !strings.Contains(why, "no space left on device") {
		t.Errorf("it says %s", why)
	}
	t.Logf("after %d events: %s", end.Seq, why)
	term := own(t, c.engine(t, 0, ""), "b")
	heads, err := c.engine(t, 0, "").Heads(t.Context())
	if err != nil || heads[0].Seq < end.Seq || heads[0].Seq > end.Seq+1 {
		t.Fatalf("it ends with %v, and event %d was acknowledged: %v", heads, end.Seq, err)
	}
	if hashOf(t, c.engine(t, 0, ""), end.Seq) != end.Hash {
		t.Errorf("event %d is another one", end.Seq)
	}
	end = put(t, term, noise(heads[0], 100))
	one.Appends = false
	out, ends = one.child(t) // still full
	var s nodeSays
	if err := out.Decode(&s); err != nil {
		t.Fatal(err)
	}
	ends()
	t.Logf("started again on the full disk: %+v", s)
	d.free()
	out, ends = one.child(t)
	for s = (nodeSays{}); s.End != end; {
		if err := out.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if s.Why != "" {
			t.Fatal(s.Why)
		}
	}
	ends()
}
