package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
)

// TestIdentityOfOthers: an identity that others can read opens nothing, and one that is not there is asked for by name.
func TestIdentityOfOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityFile)
	unlock := newVersions(dir, dir, nil).Unlock
	if _, err := unlock("x"); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("without an identity: %v", err)
	}
	if err := os.WriteFile(path, []byte("AGE-SECRET-KEY-1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := unlock("x"); sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), "others can read") || strings.Contains(err.Error(), "AGE-SECRET") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unlock("x"); err == nil || strings.Contains(err.Error(), "others can read") || strings.Contains(err.Error(), "AGE-SECRET") {
		t.Errorf("%v", err)
	}
}
