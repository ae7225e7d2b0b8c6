package release_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
)

// kept is a version as the model has it. It knows nothing of how a host does it.
type kept struct {
	version string
	config  int
	at      int // when it was live last; 0: never
	good    bool
}

// model is what should be on a host after a history.
type model struct {
	trees map[string]kept // by name
	live  string
	now   int
	keep  int
}

func files(version string, config int) map[string]string {
	return map[string]string{"version": version, "config": fmt.Sprint(config), "shared": "shared", "lib/" + version: "x",
		"*deploy/hooks/prepare.d/x": hook("[ ! -e \"$FAIL_DIR/prepare\" ]"), "*deploy/hooks/deployed.d/x": hook("[ ! -e \"$FAIL_DIR/deployed\" ]")}
}

// name finds the version among what is kept, or gives it a name.
func (m *model) name(version string, config int, digest string) string {
	for name, k := range m.trees {
		if k.version == version && k.config == config {
			return name
		}
	}
	if _, taken := m.trees[version]; taken {
		return version + "~" + strings.TrimPrefix(digest, "sha256:")[:8]
	}
	return version
}

func (m *model) swing(name string) {
	k := m.trees[name]
	m.now++
	k.at = m.now
	m.trees[name], m.live = k, name
}

// succeed swings, and removes what is kept no more; safe is never removed.
func (m *model) succeed(name, safe string) {
	before := m.live
	m.swing(name)
	k := m.trees[name]
	k.good = true
	m.trees[name] = k
	var others []string
	for _, n := range slices.SortedFunc(maps.Keys(m.trees), func(a, b string) int { return m.trees[b].at - m.trees[a].at }) {
		if n != name && m.trees[n].good {
			others = append(others, n)
		}
	}
	stay := append(others[:min(len(others), max(1, m.keep-1))], name, before, safe)
	for n := range m.trees {
		if !slices.Contains(stay, n) {
			delete(m.trees, n)
		}
	}
}

// TestHistories: deploys, failures, rollbacks, collections and interruptions in any order lead to what the model says, and
// there is always a way back.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "history")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		h := &history{T: rt, m: machineIn(t, "dash", dir), model: &model{trees: map[string]kept{}, keep: rapid.IntRange(0, 4).Draw(rt, "keep")}}
		for range rapid.IntRange(2, 10).Draw(rt, "length") {
			h.step()
			h.compare()
		}
	})
}

type history struct {
	*rapid.T
	m     *machine
	model *model
}

func (h *history) tree(version string, config int) manifest.Manifest {
	return h.m.tree(files(version, config))
}

func (h *history) step() {
	h.m.point, h.m.env = "", map[string]string{"FAIL_DIR": h.m.dir}
	names := slices.Sorted(maps.Keys(h.model.trees))
	if len(names) > 0 && rapid.IntRange(0, 3).Draw(h.T, "go back") == 0 {
		name := rapid.SampledFrom(names).Draw(h.T, "to")
		k := h.model.trees[name]
		w := h.m.back(k.version, h.tree(k.version, k.config).Digest())
		w.Release.Deploy.Keep = h.model.keep
		h.carry(w, name, "", rapid.SampledFrom([]string{"", "", "deployed", "kill"}).Draw(h.T, "fails in"))
		return
	}
	version, config := fmt.Sprint(rapid.IntRange(1, 5).Draw(h.T, "version")), rapid.IntRange(1, 2).Draw(h.T, "config")
	tree := h.tree(version, config)
	w := h.m.wish(version, tree)
	w.Release.Deploy.Keep = h.model.keep
	safe := ""
	if len(names) > 0 && rapid.Bool().Draw(h.T, "with a way back") {
		safe = rapid.SampledFrom(names).Draw(h.T, "to")
		k := h.model.trees[safe]
		w.Back = &sluice.Installed{Version: k.version, Manifest: h.tree(k.version, k.config).Digest()}
	}
	name := h.model.name(version, config, tree.Digest())
	if _, ok := h.model.trees[name]; !ok {
		h.model.trees[name] = kept{version: version, config: config}
	}
	h.carry(w, name, safe, rapid.SampledFrom([]string{"", "", "", "prepare", "deployed", "kill"}).Draw(h.T, "fails in"))
}

// carry does it on the machine, and in the model.
func (h *history) carry(w release.Wish, name, safe, fails string) {
	fail := h.m.dir + "/" + fails
	switch fails {
	case "kill":
		h.m.point = fmt.Sprintf("d_point() {\ncase $1 in %s) kill -9 0 ;; esac\n}\n", rapid.SampledFrom(release.Points()).Draw(h.T, "at"))
	case "prepare", "deployed":
		if err := os.WriteFile(fail, nil, 0o644); err != nil {
			h.Fatal(err)
		}
		defer func() { _ = os.Remove(fail) }()
	}
	code, err := h.m.run(w)
	if err != nil {
		h.Fatalf("refused: %v", err)
	}
	switch {
	case fails == "kill" && code == -1:
		// Either is live now; and then again, without an accident.
		link, _ := os.Readlink(h.m.file("live"))
		live := strings.TrimPrefix(link, "versions/")
		if live != h.model.live && live != name {
			h.Fatalf("%q is live, neither %q nor %q", live, h.model.live, name)
		}
		h.whole(live)
		h.wayBack(live, safe)
		if live != h.model.live {
			h.model.swing(live)
		}
		h.m.point = ""
		if code, err := h.m.run(h.again(w)); code != 0 || err != nil {
			h.Fatalf("the next run: %d, %v\n%s", code, err, h.m.out)
		}
		h.model.succeed(name, safe)
	case fails == "" || fails == "kill":
		if code != 0 {
			h.Fatalf("%d\n%s", code, h.m.out)
		}
		h.model.succeed(name, safe)
	case fails == "prepare" && code == 1:
	case fails == "deployed" && code == 1:
		h.model.swing(name)
	default:
		h.Fatalf("%d, and it should fail in %s\n%s", code, fails, h.m.out)
	}
}

// again is the same wish by another attempt.
func (h *history) again(w release.Wish) release.Wish {
	h.m.tries++
	w.Attempt = sluice.NewAttemptID(job, 0, h.m.tries)
	return w
}

func (h *history) whole(name string) {
	if name == "" {
		return
	}
	k := h.model.trees[name]
	if err := same(h.m.file("versions", name), h.tree(k.version, k.config)); err != nil {
		h.Fatal(err)
	}
}

// wayBack says that something is there that did succeed, beside what is live, if there ever was; and what must be.
func (h *history) wayBack(live, safe string) {
	there, should := false, false
	for name, k := range h.model.trees {
		if k.good && name != live {
			should = true
			if _, err := os.Stat(h.m.file("versions", name)); err == nil {
				there = true
				h.whole(name)
			}
		}
	}
	if should && !there {
		h.Fatalf("there is no way back: %v of %v", h.m.versions(), h.model.trees)
	}
	if safe != "" {
		h.whole(safe)
	}
}

func (h *history) compare() {
	want := slices.Sorted(maps.Keys(h.model.trees))
	got := h.m.versions()
	if !slices.Equal(got, want) {
		h.Fatalf("kept is %v, want %v (live %q)", got, want, h.model.live)
	}
	link, _ := os.Readlink(h.m.file("live"))
	if strings.TrimPrefix(link, "versions/") != h.model.live {
		h.Fatalf("live leads to %q, want %q", link, h.model.live)
	}
	for _, name := range want {
		h.whole(name)
	}
	r, _ := h.m.look(h.m.wish("1", nil))
	for _, t := range r.Trees {
		k := h.model.trees[t.Name]
		if t.Version != k.version || t.Good != k.good || t.Damaged || t.Manifest != h.tree(k.version, k.config).Digest() {
			h.Fatalf("the record says %+v, want %+v", t, k)
		}
	}
}
