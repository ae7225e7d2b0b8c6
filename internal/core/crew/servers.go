package crew

import "slices"

// ServedBy puts the server that served the worker last before all others.
func ServedBy(list []string, by string) []string {
	if by == "" {
		return list
	}
	return append([]string{by}, without(list, by)...)
}

// Missed puts a server that did not serve the worker behind all others.
func Missed(list []string, by string) []string {
	if !slices.Contains(list, by) {
		return list
	}
	return append(without(list, by), by)
}

// Told takes in the servers that one of them says that there are. They replace those that it was told before; where the worker is now,
// and what a person gave, stays: from here they may have other addresses.
func Told(list, given []string, now string, told []string) []string {
	stays := func(a string) bool { return a == now || slices.Contains(given, a) || slices.Contains(told, a) }
	out := slices.DeleteFunc(slices.Clone(list), func(a string) bool { return !stays(a) })
	for _, a := range told {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func without(list []string, a string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(b string) bool { return a == b })
}
