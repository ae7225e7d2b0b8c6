package artifact_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/artifact"
)

var (
	at   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	name = sluice.ArtifactName{App: "shop", Target: "master", File: "shop.tar.gz", Version: "17"}
)

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func record() artifact.Record {
	return artifact.Record{ArtifactName: name, Content: sluice.Content{Digest: digest(1), Bytes: 10}, Manifest: digest(2), Unpacked: 30, Entries: 4, Pushed: at,
		By: "ann@laptop", Meta: map[string]string{"commit": "1a2b3c", "built": "2026-01-02T03:04:05Z"}}
}

func encoded(t testing.TB, r artifact.Record, signature string) []byte {
	t.Helper()
	statement, err := r.Statement()
	if err != nil {
		t.Fatal(err)
	}
	text, err := artifact.Encode(statement, []byte(signature))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNames(t *testing.T) {
	for _, part := range []string{"a", "shop.tar.gz", "1.2.3-rc1+build_4", "feature-x", strings.Repeat("a", 128)} {
		if err := name.Below(part).Check(); err != nil {
			t.Error(err)
		}
	}
	for _, part := range []string{".", "..", ".hidden", "-v", "a/b", "a b", "../x", "a\x00", "a\n", "ä", "a~b", "a@b", `a\b`, "a:b", strings.Repeat("a", 129), "_a"} {
		for i := range 4 {
			p := name.Parts()
			p[i] = part
			if err := (sluice.ArtifactName{App: p[0], Target: p[1], File: p[2], Version: p[3]}).Check(); sluice.CodeOf(err) != sluice.Usage {
				t.Errorf("%q: %v", part, err)
			}
		}
	}
	if err := (sluice.ArtifactName{App: "a", File: "x"}).Check(); err == nil {
		t.Error("a file without a target is a name")
	}
}

// TestEveryBit: a record that differs in one bit from what was written is not believed, nor one that is cut.
func TestEveryBit(t *testing.T) {
	for _, signature := range []string{"", "untrusted comment: x\nRWQ=\n"} {
		text := encoded(t, record(), signature)
		p, err := artifact.Parse(text, name)
		if err != nil || string(p.Signature) != signature || p.Commit() != "1a2b3c" {
			t.Fatalf("%+v, %v", p, err)
		}
		for i := range text {
			for bit := range 8 {
				bad := bytes.Clone(text)
				bad[i] ^= 1 << bit
				if _, err := artifact.Parse(bad, name); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "cannot be believed") {
					t.Fatalf("bit %d of byte %d: %v", bit, i, err)
				}
			}
			if _, err := artifact.Parse(text[:i], name); err == nil {
				t.Fatalf("cut to %d bytes", i)
			}
		}
		other := name
		other.Version = "18"
		if _, err := artifact.Parse(text, other); err == nil || !strings.Contains(err.Error(), "it is that of shop/master/shop.tar.gz/17") {
			t.Errorf("the record of another version: %v", err)
		}
	}
}

func TestWhatARecordMayBe(t *testing.T) {
	for why, change := range map[string]func(*artifact.Record){
		"says which one is the latest": func(r *artifact.Record) { r.Version = "latest" },
		"cannot name this target":      func(r *artifact.Record) { r.Target = "a/b" },
		"names no version":             func(r *artifact.Record) { r.Version = "" },
		"digests or sizes":             func(r *artifact.Record) { r.Manifest = "sha256:12" },
		"odd name":                     func(r *artifact.Record) { r.By = "ann\n" },
		"control characters":           func(r *artifact.Record) { r.Meta["commit"] = "a\x1b" },
		"is a time":                    func(r *artifact.Record) { r.Meta["built"] = "yesterday" },
	} {
		r := record()
		change(&r)
		if _, err := r.Statement(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v; it shall say %q", err, why)
		}
	}
}

func TestMeta(t *testing.T) {
	m, err := artifact.ParseMeta([]byte(`{"commit": "1a", "build": 4711, "clean": true, "tag": null}`))
	if err != nil || len(m) != 3 || m["build"] != "4711" || m["clean"] != "true" {
		t.Errorf("%v, %v", m, err)
	}
	for text, why := range map[string]string{`[]`: "JSON object", `{"a": [1]}`: "a list", `{} {}`: "follows", `{"": "x"}`: "odd name", `{"a": "` + strings.Repeat("x", 3000) + `"}`: "longer"} {
		if _, err := artifact.ParseMeta([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.20s: %v; it shall say %q", text, err, why)
		}
	}
}

func TestVersionsAsPeopleCount(t *testing.T) {
	sorted := []string{"1", "1.2", "1.2.3", "1.9", "1.10", "2", "007", "8", "10", "a", "b", "b2", "b10", "c1"}
	got := slices.Clone(sorted)
	slices.Reverse(got)
	slices.SortFunc(got, artifact.Compare)
	if !slices.Equal(got, sorted) {
		t.Errorf("%v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.StringMatching(`[a-b0-2.]{1,4}`)
		a, b, c := one.Draw(t, "a"), one.Draw(t, "b"), one.Draw(t, "c")
		if artifact.Compare(a, b) != -artifact.Compare(b, a) || (artifact.Compare(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q", a, b)
		}
		if artifact.Compare(a, b) <= 0 && artifact.Compare(b, c) <= 0 && artifact.Compare(a, c) > 0 {
			t.Fatalf("%q, %q, %q", a, b, c)
		}
	})
}

func TestLatest(t *testing.T) {
	parsed := func(version string, after time.Duration) artifact.Parsed {
		r := record()
		r.Version, r.Pushed = version, at.Add(after)
		p, err := artifact.Parse(encoded(t, r, ""), r.ArtifactName)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	is, later, earlier := parsed("17", 0), parsed("2", time.Second), parsed("18", -time.Second)
	if p, ok := artifact.Next(nil, is); !ok || p.Version != "17" {
		t.Error("the first one is not the latest")
	}
	if _, ok := artifact.Next(&is, later); !ok {
		t.Error("what was pushed later is not the latest")
	}
	if _, ok := artifact.Next(&is, earlier); ok {
		t.Error("a slow push takes the latest back")
	}
	if _, ok := artifact.Next(&is, is); ok {
		t.Error("the latest is written again")
	}
	p, _ := artifact.Next(nil, is)
	file := name
	file.Version = ""
	if got, err := artifact.ParsePointer(p.Encode(), file); err != nil || got != p {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "17\n", "17 x\n", "../x " + p.Sum + "\n", "17 " + p.Sum, "17  " + p.Sum + "\n"} {
		if _, err := artifact.ParsePointer([]byte(text), file); sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestWhatIsCollected holds the rules against each version, one by one.
func TestWhatIsCollected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []artifact.Version
		for i := range rapid.IntRange(0, 20).Draw(t, "versions") {
			r := record()
			r.App, r.Target = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app"), rapid.SampledFrom([]string{"master", "next"}).Draw(t, "target")
			r.Version, r.Pushed = fmt.Sprint(i), at.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "time"))*time.Second)
			r.Digest, r.Manifest = digest(rapid.IntRange(0, 9).Draw(t, "content")), digest(100+rapid.IntRange(0, 9).Draw(t, "manifest"))
			all = append(all, artifact.Version{Record: r, Latest: rapid.IntRange(0, 5).Draw(t, "latest") == 0})
		}
		k := artifact.Keep{Newest: rapid.IntRange(0, 4).Draw(t, "keep"), Used: map[string]bool{digest(3): true, digest(104): true}, SentSince: at,
			Live: map[artifact.AppVersion]bool{{App: "a", Version: "5"}: true}}
		gone := artifact.Excess(all, k)
		var stay []artifact.Record
		for _, v := range all {
			newer := 0
			for _, o := range all {
				if o.App == v.App && o.Target == v.Target && artifact.Newer(o.Record, v.Record) > 0 {
					newer++
				}
			}
			must := newer < max(k.Newest, 1) || v.Latest || v.Digest == digest(3) || v.Manifest == digest(104) || v.App == "a" && v.Version == "5"
			goes := slices.ContainsFunc(gone, func(g artifact.Version) bool { return g.ArtifactName == v.ArtifactName })
			if must == goes {
				t.Fatalf("%v: it goes %v, it must stay %v", v, goes, must)
			}
			if !goes {
				stay = append(stay, v.Record)
			}
		}
		var kept []sluice.Kept
		for i := range 110 {
			kept = append(kept, sluice.Kept{Name: digest(i), Changed: at.Add(time.Duration(i%3-1) * time.Second)})
		}
		loose := artifact.Loose(kept, stay, k)
		for _, c := range kept {
			needed := slices.ContainsFunc(stay, func(r artifact.Record) bool { return r.Digest == c.Name || r.Manifest == c.Name })
			must := needed || k.Used[c.Name] || !c.Changed.Before(at)
			if goes := slices.Contains(loose, c); must == goes {
				t.Fatalf("%v: it goes %v, it must stay %v", c, goes, must)
			}
		}
	})
}

// A dependency bundle stays as long as an artifact that stays has it, and while a build may be about to name it.
func TestBundlesAreKept(t *testing.T) {
	of := func(target, file, version string, content int, meta map[string]string) artifact.Version {
		r := record()
		r.Target, r.File, r.Version, r.Pushed, r.Meta = target, file, version, at.Add(time.Duration(content)*time.Second), meta
		r.Digest, r.Manifest = digest(content), digest(100+content)
		return artifact.Version{Record: r}
	}
	named := func(n int) map[string]string { return map[string]string{artifact.BundlePrefix + "venv": digest(n)} }
	all := []artifact.Version{
		of(artifact.BundleTarget, "venv", "old", 1, nil), of(artifact.BundleTarget, "venv", "kept", 2, nil),
		of(artifact.BundleTarget, "venv", "other", 3, nil), of(artifact.BundleTarget, "venv", "used", 4, nil), of(artifact.BundleTarget, "venv", "young", 50, nil),
		of("master", "shop", "1", 10, named(1)), of("master", "shop", "2", 11, named(2)), of("master", "shop", "3", 12, map[string]string{"note": digest(3)}),
	}
	gone := artifact.Excess(all, artifact.Keep{Newest: 2, Used: map[string]bool{digest(4): true}, SentSince: at.Add(40 * time.Second)})
	var names []string
	for _, v := range gone {
		names = append(names, v.Version)
	}
	if got := strings.Join(names, " "); got != "old other 1" {
		t.Errorf("%s go", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encoded(f, record(), ""))
	f.Add(encoded(f, record(), "untrusted comment: x\nRWQ=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := artifact.Parse(text, name)
		if err != nil {
			return
		}
		if again, err := artifact.Encode(p.Statement, p.Signature); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is read, and written as %q", text, again)
		}
	})
}
