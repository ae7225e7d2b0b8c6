// Package printed has the rules about what hosts printed: when two texts count as the same, where their lines are, what is
// found in them, what differs between two, and what of their ends is worth a look.
//
// It takes bytes as they were printed. Nothing of what it gives is fit for a terminal or a page before it is cleaned.
package printed
