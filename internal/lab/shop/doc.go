// Package shop is the proof that a release is not noticed by those who ask: the shop of examples/shop on real hosts, run by a
// real supervisord on each, behind a real HAProxy or nginx, under a load that counts every answer and every failure, while the
// program itself deploys, fails, goes back, and has a worker killed. It knows the program as people do, by its command line.
package shop
