// Package workerwire carries the messages of a [sluice.Line] between a server and its workers: gRPC over TLS 1.3, on a
// connection that the worker opens. Both ends prove who they are by certificates of the server's own authority.
//
// It knows gRPC, whose types do not leave it. What the messages mean, and who is let in, is decided by those who use it.
package workerwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sluice"
	"sluice/internal/adapter/workerwire/wirepb"
)

// Protocol is the version that this program speaks, and Oldest the one that it still understands.
const (
	Protocol = 1
	Oldest   = 1
)

const (
	maxMessage = 8 << 20
	chunkSize  = 256 << 10
	// alive is how soon a dead connection is found out by the network itself; leases are sooner.
	alive = 20 * time.Second
)

// toStatus says an error on the wire.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	code := codes.Unavailable
	switch sluice.CodeOf(err) {
	case sluice.Denied:
		code = codes.PermissionDenied
	case sluice.NotFound:
		code = codes.NotFound
	case sluice.Usage, sluice.Config, sluice.Conflict:
		code = codes.FailedPrecondition
	}
	text := err.Error()
	var e *sluice.Error
	if errors.As(err, &e) && e.Hint != "" {
		text += "\n" + e.Hint
	}
	return status.Error(code, text)
}

// fromStatus is the error that the other end said, or that there is no contact.
func fromStatus(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text, hint := s.Message(), ""
	for i := range text {
		if text[i] == '\n' {
			text, hint = text[:i], text[i+1:]
			break
		}
	}
	code := sluice.Contact
	switch s.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		code = sluice.Denied
	case codes.NotFound:
		code = sluice.NotFound
	case codes.FailedPrecondition:
		code = sluice.Usage
	}
	return &sluice.Error{Code: code, Text: text, Hint: hint}
}

// encoded writes a body as the log has it.
func encoded(b sluice.Body) []byte {
	text, err := json.Marshal(b)
	if err != nil {
		panic(fmt.Sprintf("a %T that cannot be written: %v", b, err)) // forms of the log can
	}
	return text
}

func headsTo(heads []sluice.SeenHead) []*wirepb.Head {
	var out []*wirepb.Head
	for _, h := range heads {
		out = append(out, &wirepb.Head{Namespace: string(h.Namespace), Seq: h.Seq, Hash: h.Hash.String(), Epoch: uint32(h.Epoch), Sign: h.Sign})
	}
	return out
}

func headsFrom(heads []*wirepb.Head) []sluice.SeenHead {
	var out []sluice.SeenHead
	for _, h := range heads {
		s := sluice.SeenHead{Head: sluice.Head{Namespace: sluice.Namespace(h.GetNamespace()), Seq: h.GetSeq()}, Epoch: int(h.GetEpoch()), Sign: h.GetSign()}
		_ = s.Hash.UnmarshalText([]byte(h.GetHash())) // what is no hash fits no signature
		out = append(out, s)
	}
	return out
}

func termTo(t sluice.SeenTerm) *wirepb.Term {
	return &wirepb.Term{Epoch: uint32(t.Epoch), Term: t.Term}
}

func termFrom(t *wirepb.Term) sluice.SeenTerm {
	return sluice.SeenTerm{Epoch: int(t.GetEpoch()), Term: t.GetTerm()}
}

func openedTo(o *sluice.WorkerOpened) *wirepb.Opened {
	return &wirepb.Opened{Job: string(o.Job), Digest: o.Digest[:], Error: o.Error, Refused: o.Refused}
}

func openedFrom(o *wirepb.Opened) *sluice.WorkerOpened {
	out := &sluice.WorkerOpened{Job: sluice.JobID(o.GetJob()), Error: o.GetError(), Refused: o.GetRefused()}
	copy(out.Digest[:], o.GetDigest())
	return out
}

func toServer(m sluice.ToServer) *wirepb.ToServer {
	switch {
	case m.Hello != nil:
		h := &wirepb.Hello{Protocol: Protocol, Version: m.Hello.Version, Limit: uint32(m.Hello.Limit), Heads: headsTo(m.Hello.Heads),
			SignedOnly: m.Hello.SignedOnly, Seen: termTo(m.Hello.Seen)}
		for _, a := range m.Hello.Held {
			h.Held = append(h.Held, &wirepb.Held{Attempt: string(a.Attempt), Ended: a.Ended})
		}
		for _, o := range m.Hello.Opened {
			h.Opened = append(h.Opened, openedTo(&o))
		}
		return &wirepb.ToServer{Is: &wirepb.ToServer_Hello{Hello: h}}
	case m.Beat != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Beat{Beat: &wirepb.Beat{Number: m.Beat.Number, Held: uint32(m.Beat.Held)}}}
	case m.Output != nil:
		o := m.Output
		return &wirepb.ToServer{Is: &wirepb.ToServer_Output{Output: &wirepb.Output{Attempt: string(o.Attempt), Stream: o.Stream, Offset: o.Offset, Data: o.Data}}}
	case m.Step != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Step{Step: encoded(*m.Step)}}
	case m.Balanced != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Balanced{Balanced: encoded(*m.Balanced)}}
	case m.Outcome != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Outcome{Outcome: encoded(*m.Outcome)}}
	case m.Withdraw != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Withdraw{Withdraw: encoded(*m.Withdraw)}}
	case m.Gone != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Gone{Gone: &wirepb.Gone{Attempt: string(m.Gone.Attempt), Error: m.Gone.Error}}}
	case m.Opened != nil:
		return &wirepb.ToServer{Is: &wirepb.ToServer_Opened{Opened: openedTo(m.Opened)}}
	}
	return &wirepb.ToServer{}
}

// fromWorker reads a message; one of a kind that a newer program sends is the zero value.
func fromWorker(m *wirepb.ToServer) (out sluice.ToServer, err error) {
	switch is := m.GetIs().(type) {
	case *wirepb.ToServer_Hello:
		h := &sluice.WorkerHello{Version: is.Hello.GetVersion(), Limit: int(is.Hello.GetLimit()), Heads: headsFrom(is.Hello.GetHeads()),
			SignedOnly: is.Hello.GetSignedOnly(), Seen: termFrom(is.Hello.GetSeen())}
		for _, a := range is.Hello.GetHeld() {
			h.Held = append(h.Held, sluice.WorkerHeld{Attempt: sluice.AttemptID(a.GetAttempt()), Ended: a.GetEnded()})
		}
		for _, o := range is.Hello.GetOpened() {
			h.Opened = append(h.Opened, *openedFrom(o))
		}
		out.Hello = h
	case *wirepb.ToServer_Beat:
		out.Beat = &sluice.WorkerBeat{Number: is.Beat.GetNumber(), Held: int(is.Beat.GetHeld())}
	case *wirepb.ToServer_Output:
		o := is.Output
		out.Output = &sluice.WorkerOutput{Attempt: sluice.AttemptID(o.GetAttempt()), Stream: o.GetStream(), Offset: o.GetOffset(), Data: o.GetData()}
	case *wirepb.ToServer_Step:
		out.Step, err = decoded[sluice.TaskStep](is.Step)
	case *wirepb.ToServer_Balanced:
		out.Balanced, err = decoded[sluice.BalancerChanged](is.Balanced)
	case *wirepb.ToServer_Outcome:
		out.Outcome, err = decoded[sluice.TaskFinished](is.Outcome)
	case *wirepb.ToServer_Withdraw:
		out.Withdraw, err = decoded[sluice.TaskWithdrawn](is.Withdraw)
	case *wirepb.ToServer_Gone:
		out.Gone = &sluice.WorkerGone{Attempt: sluice.AttemptID(is.Gone.GetAttempt()), Error: is.Gone.GetError()}
	case *wirepb.ToServer_Opened:
		out.Opened = openedFrom(is.Opened)
	}
	return out, err
}

func decoded[T any](text []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("a message that cannot be read: %w", err)
	}
	return v, nil
}

func toWorker(m sluice.ToWorker) *wirepb.ToWorker {
	switch {
	case m.Lease != nil:
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Lease{Lease: &wirepb.Lease{Number: m.Lease.Number, Milliseconds: m.Lease.For.Milliseconds(),
			Term: termTo(m.Lease.Term)}}}
	case m.Assign != nil:
		a := m.Assign
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Assign{Assign: &wirepb.Assign{Job: encoded(sluice.JobSubmitted{Submitted: *a.Job}), JobId: string(a.Job.ID),
			Host: string(a.Host), Attempt: string(a.Attempt), Settle: a.Settle, Resumed: a.Resumed, Stdout: a.Stdout, Stderr: a.Stderr,
			Approvals: a.Approvals}}}
	case m.Drop != "":
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Drop{Drop: string(m.Drop)}}
	case m.Kill != nil:
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Kill{Kill: &wirepb.Kill{Attempt: string(m.Kill.Attempt), TimeLimit: m.Kill.TimeLimit}}}
	case m.Stop != "":
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Stop{Stop: string(m.Stop)}}
	case m.Committed != "":
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Committed{Committed: string(m.Committed)}}
	case m.Drain != nil:
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Drain{Drain: *m.Drain}}
	case m.Secrets != nil:
		s := m.Secrets
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Secrets{Secrets: &wirepb.Secrets{JobId: string(s.Job.ID),
			Job: encoded(sluice.JobSubmitted{Submitted: *s.Job}), Sealed: s.Sealed}}}
	case m.Wipe != "":
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Wipe{Wipe: string(m.Wipe)}}
	case m.Heads != nil:
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Heads{Heads: &wirepb.Heads{Heads: headsTo(m.Heads)}}}
	case m.Owner != nil:
		return &wirepb.ToWorker{Is: &wirepb.ToWorker_Owner{Owner: &wirepb.Owner{Term: termTo(m.Owner.Term), Servers: m.Owner.Servers}}}
	}
	return &wirepb.ToWorker{}
}

func fromServer(m *wirepb.ToWorker) (out sluice.ToWorker, err error) {
	switch is := m.GetIs().(type) {
	case *wirepb.ToWorker_Lease:
		out.Lease = &sluice.WorkerLease{Number: is.Lease.GetNumber(), For: time.Duration(is.Lease.GetMilliseconds()) * time.Millisecond,
			Term: termFrom(is.Lease.GetTerm())}
	case *wirepb.ToWorker_Assign:
		a := is.Assign
		b, err := decoded[sluice.JobSubmitted](a.GetJob())
		if err != nil {
			return out, err
		}
		b.Submitted.ID = sluice.JobID(a.GetJobId())
		out.Assign = &sluice.WorkerAssign{Job: &b.Submitted, Host: sluice.Host(a.GetHost()), Attempt: sluice.AttemptID(a.GetAttempt()),
			Settle: a.GetSettle(), Resumed: a.GetResumed(), Stdout: a.GetStdout(), Stderr: a.GetStderr(),
			Approvals: a.GetApprovals()}
	case *wirepb.ToWorker_Drop:
		out.Drop = sluice.AttemptID(is.Drop)
	case *wirepb.ToWorker_Kill:
		out.Kill = &sluice.WorkerKill{Attempt: sluice.AttemptID(is.Kill.GetAttempt()), TimeLimit: is.Kill.GetTimeLimit()}
	case *wirepb.ToWorker_Stop:
		out.Stop = sluice.AttemptID(is.Stop)
	case *wirepb.ToWorker_Committed:
		out.Committed = sluice.AttemptID(is.Committed)
	case *wirepb.ToWorker_Drain:
		out.Drain = &is.Drain
	case *wirepb.ToWorker_Secrets:
		b, err := decoded[sluice.JobSubmitted](is.Secrets.GetJob())
		if err != nil {
			return out, err
		}
		b.Submitted.ID = sluice.JobID(is.Secrets.GetJobId())
		out.Secrets = &sluice.WorkerSecrets{Job: &b.Submitted, Sealed: is.Secrets.GetSealed()}
	case *wirepb.ToWorker_Wipe:
		out.Wipe = sluice.JobID(is.Wipe)
	case *wirepb.ToWorker_Heads:
		out.Heads = headsFrom(is.Heads.GetHeads())
	case *wirepb.ToWorker_Owner:
		out.Owner = &sluice.WorkerOwner{Term: termFrom(is.Owner.GetTerm()), Servers: is.Owner.GetServers()}
	}
	return out, err
}
