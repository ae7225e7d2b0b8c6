package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
)

// Alarm raises an alarm about a member, as nodes do among themselves.
func (n *Node) Alarm(ctx context.Context, kind etcdserverpb.AlarmType, member uint64) error {
	_, err := n.etcd.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: kind, MemberID: member})
	return err
}

// ID is the number of the member that the node is.
func (n *Node) ID() uint64 { return uint64(n.etcd.Server.MemberID()) }

// Lead has another member lead, if this one does.
func (n *Node) Lead(ctx context.Context, member uint64) error {
	return n.etcd.Server.MoveLeader(ctx, uint64(types.ID(n.etcd.Server.Leader())), member)
}

// Recent reports whether a version of etcd is used.
var Recent = recent

// Defragment writes the node's file anew.
func (n *Node) Defragment() error { return n.defragment() }
