// Package config makes an application's configuration out of layers: files of everybody, of an environment, of a cluster,
// of the application, each saying only what is different. It knows the order of layers and the laws by which they are
// merged, and can say of every key who spoke about it and who was heard.
//
// A layer is a tree of values, each with the place where it stands. Merging goes from the first layer to the last:
//
//   - maps are merged key by key, lists append, a text, number or truth is replaced by another one of the same type;
//   - null yields to any type; anything else of another type is refused, and both places are told;
//   - !missing stands for a value that a later layer must give: what is left of it refuses the rendering;
//   - !delete removes a key with all below it;
//   - !replace before a list or map takes it as a whole, so that nothing of the earlier layers is left.
//
// Merged trees share what they have in common with the layers that they are made of. So nothing here changes a [Value]
// after it was read.
//
// Sealed values stay sealed: they are merged, shown, compared and frozen as ciphertext. [Frozen.Open] opens them, on the
// worker that needs them; how age decrypts is handed in.
//
// The package reads no files and runs no programs: a [Tree] does.
package config
