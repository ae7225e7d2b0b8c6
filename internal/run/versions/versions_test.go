package versions_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/lab/fake"
	"sluice/internal/run/stock"
	"sluice/internal/run/tarball"
	"sluice/internal/run/versions"
)

// repository keeps content in memory.
type repository struct {
	*fake.Blobs
	t *testing.T
}

func (r repository) put(content []byte) string {
	r.t.Helper()
	digest, _, err := r.Put(r.t.Context(), bytes.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	return digest
}

// artifact keeps an archive with these files, and its manifest.
func (r repository) artifact(files map[string]string) (archive, list string) {
	r.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		r.t.Fatal(err)
	}
	m, err := tarball.Read(r.t.Context(), bytes.NewReader(b.Bytes()), tarball.DefaultLimits(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.put(b.Bytes()), r.put(m.Encode())
}

func (r repository) configs(common, ofWeb1 string) string {
	r.t.Helper()
	frozen := func(text string) []byte {
		l, err := config.ReadLayer("common.yaml", []byte(text))
		if err != nil {
			r.t.Fatal(err)
		}
		rendered, err := config.Render(config.For{App: "shop", Environment: "production"}, []*config.Layer{l})
		if err != nil {
			r.t.Fatal(err)
		}
		return rendered.Freeze().JSON
	}
	text, err := release.CommonConfigs([]sluice.Host{"web2", "web3", "web1"},
		map[sluice.Host][]byte{"web1": frozen(ofWeb1), "web2": frozen(common), "web3": frozen(common)}).Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.put(text)
}

func newVersions(t *testing.T, r repository) *versions.Versions {
	dir := t.TempDir()
	v := &versions.Versions{From: r, Stock: func(ctx context.Context) (*stock.Stock, error) { return stock.Open(ctx, dir, 1<<30) }}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func job(archive, list, configs string) *sluice.Job {
	return &sluice.Job{Action: sluice.Action{Kind: sluice.DeployTo,
		Release: &sluice.Release{App: "shop", Env: "production", Version: "1", Artifact: archive, Manifest: list, Config: configs}}}
}

// TestVersionOfAHost: the files of the artifact and the host's own configuration, each with its content.
func TestVersionOfAHost(t *testing.T) {
	r := repository{fake.NewBlobs(), t}
	archive, list := r.artifact(map[string]string{"bin/shop": "run", "readme": "text"})
	v := newVersions(t, r)
	j := job(archive, list, r.configs("port: 80\n", "port: 8080\n"))
	for host, port := range map[sluice.Host]string{"web1": "8080", "web2": "80", "another": "80"} {
		got, err := v.Version(t.Context(), j, host)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"bin/shop": "run", "readme": "text", release.ConfigPath: fmt.Sprintf("{\"port\":%s}\n", port)}
		for _, e := range got.Files {
			if e.Kind != manifest.File {
				continue
			}
			in, err := got.Open(t.Context(), e.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil || string(text) != want[e.Path] || int64(len(text)) != e.Size {
				t.Errorf("%s on %s: %q, %v; want %q", e.Path, host, text, err, want[e.Path])
			}
			_ = in.Close()
			delete(want, e.Path)
		}
		if len(want) > 0 {
			t.Errorf("on %s there is no %v", host, want)
		}
		if i := slices.IndexFunc(got.Files, func(e manifest.Entry) bool { return e.Path == release.ConfigPath }); got.Files[i].Mode != release.ConfigMode {
			t.Errorf("the configuration has the mode %o", got.Files[i].Mode)
		}
		got.Close()
	}
}

// changed gives other content than the digest says.
type changed struct {
	repository
	digest string
}

func (c changed) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if digest == c.digest {
		return io.NopCloser(strings.NewReader("something else")), nil
	}
	return c.repository.Open(ctx, digest)
}

// sealedYAML is a layer with a value that somebody else can open.
func sealedYAML(t *testing.T) string {
	t.Helper()
	text, _ := sealedFor(t)
	return text
}

// sealedFor is a layer with a value, and who can open it.
func sealedFor(t *testing.T) (string, *age.X25519Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	lines := armor.NewWriter(&b)
	w, err := age.Encrypt(lines, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), lines.Close()); err != nil {
		t.Fatal(err)
	}
	return "key: !sealed |\n  " + strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", "\n  ") + "\n", id
}

// rendering is a job whose artifact has these templates.
func (r repository) rendering(files map[string]string, configs string, list ...sluice.Template) *sluice.Job {
	archive, manifest := r.artifact(files)
	j := job(archive, manifest, configs)
	j.Action.Release.Deploy.Templates = list
	return j
}

// TestTemplatesOfAHost: they are part of the version, whichever of them have the same content, and only the worker has what is
// sealed.
func TestTemplatesOfAHost(t *testing.T) {
	r := repository{fake.NewBlobs(), t}
	layer, id := sealedFor(t)
	v := newVersions(t, r)
	v.Unlock = func(armored string) (sluice.Secret, error) {
		in, err := age.Decrypt(armor.NewReader(strings.NewReader(armored)), id)
		if err != nil {
			return sluice.Secret{}, err
		}
		text, err := io.ReadAll(in)
		return sluice.NewSecret(text), err
	}
	const same = "key={{.key}}\n"
	j := r.rendering(map[string]string{"deploy/templates/a": same, "deploy/templates/b": same, "deploy/templates/c": "plain", "d": "plain"}, r.configs(layer, layer),
		sluice.Template{From: "deploy/templates/a", To: "deploy/a", Outside: "/etc/a"}, sluice.Template{From: "deploy/templates/b", To: "deploy/b", Mode: "0600", User: "root"},
		sluice.Template{From: "deploy/templates/c", To: "deploy/c"})
	got, err := v.Version(t.Context(), j, "web2")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	want := map[string]string{"deploy/a": "0640  key=secret\n", "deploy/b": "0600 root key=secret\n", "deploy/c": "0644  plain", "d": "0644  plain"}
	for _, e := range got.Files {
		if w, ok := want[e.Path]; ok {
			in, err := got.Open(t.Context(), e.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if is := fmt.Sprintf("%04o %s %s", e.Mode, e.User, text); err != nil || is != w || int64(len(text)) != e.Size {
				t.Errorf("%s: %q, %v; want %q", e.Path, is, err, w)
			}
			_ = in.Close()
			delete(want, e.Path)
		}
	}
	if len(want) > 0 {
		t.Errorf("there is no %v", want)
	}
	if len(got.Links) != 1 || got.Links[0] != (release.Link{Path: "/etc/a", To: "deploy/a"}) {
		t.Errorf("%v", got.Links)
	}
}

func TestWhatIsNoVersion(t *testing.T) {
	r := repository{fake.NewBlobs(), t}
	archive, list := r.artifact(map[string]string{"bin/shop": "run"})
	inTheWay, itsList := r.artifact(map[string]string{release.ConfigPath: "{}"})
	plain, sealed := r.configs("port: 80\n", "port: 80\n"), r.configs(sealedYAML(t), "port: 80\n")
	for name, c := range map[string]struct {
		from stock.Opener
		j    *sluice.Job
		why  string
	}{
		"a manifest that was changed":    {changed{r, list}, job(archive, list, ""), "the manifest of the artifact is not what its digest says"},
		"a configuration that was":       {changed{r, plain}, job(archive, list, plain), "the configuration is not what its digest says"},
		"an archive that was":            {changed{r, archive}, job(archive, list, plain), "artifact"},
		"a file where ours belongs":      {r, job(inTheWay, itsList, plain), "and what is made for the host belongs there"},
		"a template without its key":     {r, r.rendering(map[string]string{"deploy/templates/a": "{{.prot}}"}, plain, sluice.Template{From: "deploy/templates/a", To: "a"}), "deploy/templates/a:1:3: there is no key .prot"},
		"a template that is not there":   {r, r.rendering(map[string]string{"a": ""}, plain, sluice.Template{From: "deploy/templates/a", To: "b"}), "the artifact has no template deploy/templates/a"},
		"a template in a file's place":   {r, r.rendering(map[string]string{"deploy/templates/a": "x", "a": ""}, plain, sluice.Template{From: "deploy/templates/a", To: "a"}), "and what is made for the host belongs there"},
		"what nobody here can open":      {r, job(archive, list, sealed), "has no identity to open it with"},
		"a configuration that is gone":   {r, job(archive, list, "sha256:"+strings.Repeat("0", 64)), fs.ErrNotExist.Error()},
		"another artifact than was said": {r, job(inTheWay, list, ""), "artifact"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVersions(t, r)
			v.From = c.from
			got, err := v.Version(t.Context(), c.j, "web2")
			if err == nil {
				got.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v; it shall say %q", err, c.why)
			}
		})
	}
}

// TestSecretsOfAHost: what is sealed in the configuration that a host gets, and in the one that it goes back to, is known, so that it can be
// masked; also when the job only brings hosts back.
func TestSecretsOfAHost(t *testing.T) {
	r := repository{fake.NewBlobs(), t}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	seal := func(text string) string {
		var b bytes.Buffer
		a := armor.NewWriter(&b)
		w, err := age.Encrypt(a, id.Recipient())
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err = errors.Join(err, w.Close(), a.Close()); err != nil {
			t.Fatal(err)
		}
		return "key: !sealed |\n  " + strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", "\n  ") + "\n"
	}
	v := newVersions(t, r)
	now, before := r.configs(seal("for most"), seal("for web1")), r.configs("a: 1\n", seal("as it was"))
	deploy := job("", "", now)
	deploy.Action.Back = map[sluice.Host]sluice.Installed{"web1": {Version: "0", Config: before}, "web2": {Version: "0", Config: before}}
	back := &sluice.Job{Action: sluice.Action{Kind: sluice.RollBack, Release: &sluice.Release{App: "shop"}, Back: deploy.Action.Back}}
	if list, err := v.Secrets(t.Context(), deploy, "web1"); err == nil || list != nil {
		t.Errorf("without an identity: %v, %v", list, err)
	}
	v.Unlock = func(armored string) (sluice.Secret, error) {
		in, err := age.Decrypt(armor.NewReader(strings.NewReader(armored)), id)
		if err != nil {
			return sluice.Secret{}, err
		}
		text, err := io.ReadAll(in)
		return sluice.NewSecret(text), err
	}
	for _, c := range []struct {
		job  *sluice.Job
		host sluice.Host
		want string
	}{{deploy, "web1", "for web1, as it was"}, {deploy, "web2", "for most"}, {deploy, "web3", "for most"}, {back, "web1", "as it was"}, {back, "web2", ""}, {back, "web3", ""}} {
		list, err := v.Secrets(t.Context(), c.job, c.host)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range list {
			got = append(got, string(s.Reveal()))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s of %s: %q, want %q", c.host, c.job.Action.Kind, text, c.want)
		}
	}
}

// TestConfigurationsAreReadOnce: a release has those of all its hosts in one blob, which is not read again for each of them.
func TestConfigurationsAreReadOnce(t *testing.T) {
	r := repository{fake.NewBlobs(), t}
	c := &counting{repository: r, n: map[string]int{}}
	v := newVersions(t, r)
	v.From = c
	j := job("", "", r.configs("a: 1\n", "a: 2\n"))
	for range 3 {
		for _, h := range []sluice.Host{"web1", "web2"} {
			if _, err := v.Secrets(t.Context(), j, h); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := c.n[j.Action.Release.Config]; n != 1 {
		t.Errorf("read %d times", n)
	}
	for i := range 6 { // others come, and the first is asked for again
		if _, err := v.Secrets(t.Context(), job("", "", r.configs(fmt.Sprintf("a: %d\n", i+7), "a: 2\n")), "web1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Secrets(t.Context(), j, "web1"); err != nil || c.n[j.Action.Release.Config] != 2 {
		t.Errorf("%v, read %d times", err, c.n[j.Action.Release.Config])
	}
}

// counting counts how often something is read.
type counting struct {
	repository
	n map[string]int
}

func (c *counting) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	c.n[digest]++
	return c.repository.Open(ctx, digest)
}
