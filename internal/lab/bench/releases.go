package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/lab/testfleet"
)

// releaseRoot is where the application is on the hosts.
const releaseRoot = "/root/shop"

// shipping is one way to bring versions of an application to hosts.
type shipping struct {
	name string
	// of is what brings a version, "1" or "2".
	of func(version string) program
	// tree is where a version's files are below the root, once it is live.
	tree string
}

// shipped is what that took.
type shipped struct {
	usage
	sent int64 // bytes that left the machine that deploys
}

// releases brings an application of many files to hosts, and then its next version, of which little changed.
func releases(ctx context.Context, l *lab) (s section, err error) {
	hosts, app := l.pick([]int{2}, []int{20})[0], application{files: l.pick([]int{100}, []int{5000})[0], bytes: int64(l.pick([]int{4}, []int{200})[0]) << 20}
	s = section{title: fmt.Sprintf("An application of %d MB in %d files to %d hosts", app.bytes>>20, app.files, hosts),
		about: fmt.Sprintf("First one version, then the next, of which 1 %% of the files changed; %d hosts at a time. All begin with what they need made ready: an archive, a "+
			"tree or a git repository. *Sent* is what left the machine that deploys, with all that the network takes. Everything ends with a link that leads to the new "+
			"version; Sluice keeps a journal, checks every byte on the host against a digest and has it on the disk before that. Of the others rsync --checksum alone looks at what is in "+
			"files. Capistrano's hosts mirror the repository, so they get both versions with the first.", copyWidth)}
	fleet, err := testfleet.New(ctx, testfleet.Config{Hosts: hosts, Host: testfleet.HostConfig{Disk: 4*app.bytes + 64<<20, SSHD: []string{"MaxStartups 1000", "SetEnv SHLVL=1"}}})
	switch {
	case errors.Is(err, testfleet.ErrUnavailable):
		return s, fmt.Errorf("%w: isolated hosts need root and some programs", errSkipped)
	case err != nil:
		return s, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	if err := app.write(l); err != nil {
		return s, err
	}
	ways, stop, err := l.shippings(ctx, fleet)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	first, second, err := l.ship(ctx, fleet, app, ways)
	if err != nil {
		return s, err
	}
	s.tables = []table{app.table("first version", first), app.table("second version", second)}
	s.targets = app.targets(s.tables[1])
	return s, nil
}

// table has the bytes in the place of the server's processor time, which is not measured here.
func (a application) table(caption string, results []result) table {
	return table{caption: caption, results: results, columns: []column{
		{"wall, x sluice", func(r, base result) string { return ratio(r.wall, base.wall) }}, fanColumns[2],
		{"sent MB/host", func(r, _ result) string { return fmt.Sprintf("%.2f", float64(r.sent)/1e6/float64(r.hosts)) }},
		{"sent, of the application", func(r, _ result) string {
			return fmt.Sprintf("%.2f %%", 100*float64(r.sent)/float64(r.hosts)/float64(a.bytes))
		}},
		{"client CPU s", func(r, _ result) string { return seconds(r.cpu) }}, fanColumns[5],
	}}
}

func (a application) targets(t table) (out []target) {
	ours := t.results[0]
	if !ours.ok() {
		return nil
	}
	out = append(out, target{what: "bytes sent for the second version, % of the application", most: 2, got: 100 * float64(ours.sent) / float64(ours.hosts) / float64(a.bytes), format: "%.2f"})
	peers := slices.DeleteFunc(slices.Clone(t.results[1:]), func(r result) bool { return !r.ok() })
	if len(peers) > 0 {
		fastest := slices.MinFunc(peers, func(a, b result) int { return cmp.Compare(a.wall, b.wall) })
		out = append(out, target{what: "wall of the second version, as a share of the fastest peer's", most: 1, got: ours.wall.Seconds() / fastest.wall.Seconds(), format: "%.2f"})
	}
	return out
}

// ship measures all ways in turn, round by round, each on hosts that have nothing.
func (l *lab) ship(ctx context.Context, f *testfleet.Fleet, app application, ways []shipping) (first, second []result, err error) {
	samples := make([][2][]shipped, len(ways))
	failed := make([]string, len(ways))
	for round := range l.rounds {
		for i, w := range ways {
			if failed[i] != "" || l.skip != "" && i > 0 && strings.Contains(w.name, l.skip) {
				failed[i] = cmp.Or(failed[i], "left out")
				continue
			}
			for v, version := range []string{"1", "2"} {
				say("round %d of %d: version %s by %s", round+1, l.rounds, version, w.name)
				u, err := l.shipOne(ctx, f, app, w, version)
				if ctx.Err() != nil {
					return nil, nil, ctx.Err()
				}
				if err != nil {
					say("%v", err)
					failed[i] = shortly(err)
					break
				}
				say("  %v, %.2f MB/host", u.Wall.Round(time.Millisecond), float64(u.sent)/1e6/float64(len(f.Hosts)))
				samples[i][v] = append(samples[i][v], u)
			}
			if err := onAll(ctx, f, "rm -rf "+releaseRoot+" /root/.sluice"); err != nil {
				return nil, nil, err
			}
		}
	}
	for i, w := range ways {
		for v, out := range []*[]result{&first, &second} {
			of := samples[i][v]
			*out = append(*out, result{name: w.name, hosts: len(f.Hosts), err: failed[i],
				wall:   median(of, func(s shipped) time.Duration { return s.Wall }),
				cpu:    median(of, func(s shipped) time.Duration { return s.CPU }),
				memory: median(of, func(s shipped) int64 { return s.Memory }),
				sent:   median(of, func(s shipped) int64 { return s.sent })})
		}
	}
	return first, second, nil
}

func (l *lab) shipOne(ctx context.Context, f *testfleet.Fleet, app application, w shipping, version string) (shipped, error) {
	p := w.of(version)
	p.name = w.name
	p.env = append(p.env, "HOME="+f.Home)
	p.within = func(argv []string) *exec.Cmd { return f.Command(ctx, argv[0], argv[1:]...) }
	if _, err := exec.LookPath(p.argv[0]); err != nil {
		return shipped{}, fmt.Errorf("%s is not installed", p.argv[0])
	}
	before, err := sent(ctx, f)
	if err != nil {
		return shipped{}, err
	}
	u, err := l.run(ctx, p)
	if err != nil {
		return shipped{}, err
	}
	after, err := sent(ctx, f)
	if err != nil {
		return shipped{}, err
	}
	// Whatever brought it, all of it must be live.
	proof := fmt.Sprintf("cd %s/%s && test \"$(find . -type f -path './files/*' | wc -l)\" = %d && test \"$(cat files/0/0 | sha256sum)\" = '%s'",
		releaseRoot, w.tree, app.files, app.sums[version])
	if err := onAll(ctx, f, proof); err != nil {
		return shipped{}, fmt.Errorf("%s did not do what it should: version %s: %w", w.name, version, err)
	}
	return shipped{u, after - before}, nil
}

// sent is how many bytes went to the hosts so far.
func sent(ctx context.Context, f *testfleet.Fleet) (int64, error) {
	out, err := f.Command(ctx, "cat", "/proc/net/dev").Output()
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(out) {
		if fields := strings.Fields(string(line)); len(fields) > 9 && fields[0] == "br0:" {
			return strconv.ParseInt(fields[9], 10, 64)
		}
	}
	return 0, errors.New("the bridge of the hosts has no figures")
}

// onAll runs shell text on all hosts, not by ssh.
func onAll(ctx context.Context, f *testfleet.Fleet, text string) error {
	errs := make([]error, len(f.Hosts))
	var wg sync.WaitGroup
	turn := make(chan struct{}, copyWidth)
	for i, h := range f.Hosts {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			_, errs[i] = h.Exec(ctx, text)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
