package etcd

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// stuck is an etcd one part of which has ended with a lock: it answers nobody, whatever their contexts say.
type stuck struct {
	clientv3.KV
	free chan struct{}
}

func (s stuck) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	<-s.free
	return nil, nil
}

func (s stuck) Txn(context.Context) clientv3.Txn { return stuckTxn(s) }

type stuckTxn struct {
	clientv3.KV
	free chan struct{}
}

func (s stuckTxn) If(...clientv3.Cmp) clientv3.Txn  { return s }
func (s stuckTxn) Then(...clientv3.Op) clientv3.Txn { return s }
func (s stuckTxn) Else(...clientv3.Op) clientv3.Txn { return s }
func (s stuckTxn) Commit() (*clientv3.TxnResponse, error) {
	<-s.free
	return nil, nil
}

// TestAWoundedNodeHoldsNobodyUp: who asks a node that cannot go on is told why, also who asked before that; or the server would never end.
func TestAWoundedNodeHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wound{name: "n1", struck: make(chan struct{})}
		s := stuck{free: make(chan struct{})}
		defer close(s.free)
		kv := guarded{s, w}
		asked := make(chan error, 3)
		get := func() {
			_, err := kv.Get(t.Context(), "key")
			asked <- err
		}
		go get()
		go func() {
			_, err := kv.Txn(t.Context()).If().Then().Else().Commit()
			asked <- err
		}()
		synctest.Wait()
		go w.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "failed to commit tx"}}, nil)
		synctest.Wait()
		go get()
		synctest.Wait()
		for range 3 {
			select {
			case err := <-asked:
				if err == nil || err != w.why {
					t.Errorf("the answer is %v", err)
				}
			default:
				t.Fatal("somebody waits")
			}
		}
	})
}

// TestADiskThatIsOlder: etcd panics where a node has told others that it keeps what it does not have. That ends the node, and not the process.
func TestADiskThatIsOlder(t *testing.T) {
	w := &wound{name: "n1", struck: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		later{w}.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "tocommit(47) is out of range [lastIndex(30)]. Was the raft log corrupted, truncated, or lost?"}}, nil)
		t.Error("etcd goes on")
	}()
	<-ended
	select {
	case <-w.struck:
	default:
		t.Fatal("nobody is told")
	}
	var e *sluice.Error
	if !errors.As(w.why, &e) || !strings.Contains(e.Text, "its disk is older than it was") || !strings.Contains(e.Hint, "sluice server members replace n1") {
		t.Errorf("the reason is %v", w.why)
	}
	defer func() {
		if recover() == nil {
			t.Error("another panic is hidden")
		}
	}()
	later{&wound{struck: make(chan struct{})}}.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "another"}}, nil)
}

// TestASnapshotThatCannotBeKept: a full disk ends the node, also where etcd would panic: as it does when it cannot keep a snapshot.
func TestASnapshotThatCannotBeKept(t *testing.T) {
	w := &wound{name: "n1", struck: make(chan struct{})}
	full := &fs.PathError{Op: "write", Path: "/data/etcd/member/snap/1.snap", Err: syscall.ENOSPC}
	over := make(chan any, 1)
	go func() {
		defer func() { over <- recover() }()
		later{w}.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "failed to save snapshot"}}, []zapcore.Field{zap.String("n", "1"), zap.Error(full)})
	}()
	if p := <-over; p != nil {
		t.Fatalf("it panics: %v", p)
	}
	select {
	case <-w.struck:
	default:
		t.Fatal("the node goes on")
	}
	if text := w.why.Error(); !strings.Contains(text, "failed to save snapshot") || !strings.Contains(text, "no space left on device") {
		t.Errorf("it says %q", text)
	}
	defer func() {
		if recover() == nil {
			t.Error("what is a mistake of etcd ends nothing")
		}
	}()
	later{&wound{struck: make(chan struct{})}}.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "another"}}, []zapcore.Field{zap.Error(errors.New("a mistake"))})
}

// TestTold: what etcd says is told to people, but not that the listener was closed, which every node says that ends.
func TestTold(t *testing.T) {
	var said []string
	l := logger(func(text string) { said = append(said, text) })
	l.Error("setting up serving from embedded etcd failed.", zap.Error(&net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}))
	l.Error("the disk is slow", zap.Error(errors.New("no answer")))
	if len(said) != 1 || !strings.Contains(said[0], "the disk is slow") {
		t.Errorf("told are %q", said)
	}
}
