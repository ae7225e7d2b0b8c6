// Package template renders the templates of an artifact: Go's text/template, held to what can be trusted with the
// configuration of a host.
//
//   - A key that is not there is an error, with its place and what was probably meant; so are null and whatever else would be
//     written as nothing, or as Go sees it. What may be missing is said by default.
//   - There are a few functions, none of which knows anything but its arguments. No file, no network, no clock.
//   - Work, memory and output are counted and end at limits, so that the same template with the same values comes to the same
//     end everywhere.
//   - A value that was sealed ([Hide]) can be written, and texts can be made of it; nothing can be decided by it. So a
//     template comes to the same text whether the true value is there or a word in its place, but for the value itself.
//
// How it is done: the tree that Go's parser makes is changed before it runs. Every way to a key becomes a call of our own,
// every action ends with a call that writes, and every list of actions begins with one that counts.
package template
