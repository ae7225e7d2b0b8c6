// Package testfleet starts hosts for tests that are as real as one machine allows, and breaks them on request.
//
// [Start] (or [New], outside of tests) needs root on Linux. Every host has its own network, mount, host name, IPC
// and process namespaces: its root is an overlay of the machine's own root with the changes in a tmpfs of a set
// size, its first process is a small shell that starts a real OpenSSH server, and its network card is one end of a
// veth pair. So each has its own files, name, address and processes. Killing its first process is a power cut,
// taking its link down is a pulled cable, a full tmpfs is a full disk.
//
// The other ends of the cables are ports of a bridge in a control namespace of its own. Nothing touches the
// machine's network; programs and connections that are to reach the hosts are started in the control namespace with
// [Fleet.Command], [Fleet.Dial] and [Fleet.Listen].
//
//	machine     test process ---- pipe: the life line ----> control process
//	                                                        |  network, mounts: the bridge, the tmpfs of every host
//	                                                        `- a process namespace that holds those of all hosts
//
// The control process holds everything that lives longer than one boot of a host: the namespaces exist only as long
// as it does, nothing has a name outside, and it ends all other processes and itself when the life line breaks,
// which happens also when the test process is killed. Nothing is left over.
//
// [StartPlain] (or [NewPlain]) needs no root: the hosts are addresses of the loopback network, where OpenSSH serves
// as the current user, or, where not even sshd is there or shall be needed, a server in this process. What needs
// isolation answers [ErrUnsupported] there.
//
// [Proxy] stands before any server and adds delay, slowness, silence and cuts.
//
// The package knows nothing of what is tested with it.
package testfleet
