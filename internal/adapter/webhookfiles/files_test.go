package webhookfiles_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/adapter/webhookfiles"
)

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "webhooks")
	d, err := webhookfiles.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Secret("chat"); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("no secret: %v", err)
	}
	if _, err := d.Places("chat"); err == nil {
		t.Error("no places, and no error: it would begin at the beginning")
	}
	places := map[sluice.Namespace]uint64{"prod": 7, "lab": 1}
	for _, secret := range []string{"CANARY1", "CANARY2"} {
		if err := d.SetSecret("chat", sluice.NewSecret([]byte(secret))); err != nil {
			t.Fatal(err)
		}
		if err := d.SetPlaces("chat", places); err != nil {
			t.Fatal(err)
		}
	}
	d, err = webhookfiles.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.Secret("chat"); err != nil || string(s.Reveal()) != "CANARY2" {
		t.Errorf("%v", err)
	}
	if p, err := d.Places("chat"); err != nil || !maps.Equal(p, places) {
		t.Errorf("%v, error %v", p, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%v, error %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for range 2 {
		if err := d.Remove("chat"); err != nil {
			t.Error(err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	if err := d.SetPlaces("../out", places); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("%v", err)
	}
}
