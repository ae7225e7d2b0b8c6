// Package document reads YAML files strictly: within limits, with the place of every value, no key twice, no merge keys
// and no tags that nobody asked for. What is wrong is collected, so that a person gets all of it at once, each with what
// was expected and, where a word is misspelt, the one that was probably meant.
//
// Fleet files, app.yaml and configuration are read with it. It does not know what is in them: that is [Form], and the
// words that its callers pass along.
package document
