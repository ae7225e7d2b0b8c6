// Package balance decides about servers behind load balancers: may this one be taken out now, is it drained, is it back,
// and is it healthy?
//
// It is pure. It judges what was read back of a balancer ([sluice.BalancedPool]) or seen of a server ([Seen]) and answers
// with values that say what was counted; the text of each is made of those. What it was not shown it takes for no
// permission and for no success.
package balance
