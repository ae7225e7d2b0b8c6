// Package cluster breaks clusters of real servers: three processes, each in a network of its own, while jobs run on isolated hosts
// with real sshd. Servers are killed, stand still, and are cut off from each other, one way, both ways and again and again. Then
// what truly happened on the hosts is held against what was allowed, against the logs of all servers, and against what
// they answered to those who changed something. What checks that shares no code with what decides.
package cluster
