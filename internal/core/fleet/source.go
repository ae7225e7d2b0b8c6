package fleet

import "time"

// Source is what loading a fleet needs of the world. Paths are those of the fleet files: relative ones are
// relative to where the program runs.
type Source interface {
	// ReadFile returns the content of a file. A file of more than limit bytes is an error.
	ReadFile(path string, limit int64) ([]byte, error)
	// Glob lists the files that match a pattern of "*", "?" and "[...]", sorted; none is no error.
	Glob(pattern string) ([]string, error)
	// Executable reports whether the file may be run as a program.
	Executable(path string) (bool, error)
	// Run runs a program in the directory dir, without a shell, and returns what it prints. Another exit status
	// than 0, more than limit bytes, or more than the time given are errors; nothing of it goes on running.
	Run(dir string, command []string, timeout time.Duration, limit int64) ([]byte, error)
}

// Limits of what is read. They keep a broken or hostile file from taking the machine's memory.
const (
	MaxBytes      = 16 << 20  // of all files of a fleet together
	MaxHosts      = 1_000_000 // of a fleet, and of one glob
	maxMentions   = 20_000_000
	maxFiles      = 1000
	maxIncludes   = 32 // files that include each other, deep
	maxExprDepth  = 100
	maxArgument   = 1024
	maxAnswer     = 64 << 20 // bytes that a resolver or inventory program prints
	maxResolver   = time.Hour
	resolverLimit = 30 * time.Second // unless the file says otherwise
)
