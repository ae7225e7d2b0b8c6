package release

import (
	_ "embed"
	"fmt"
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/target"
)

//go:embed steps.sh
var steps string

//go:embed look.sh
var look string

// LookText is sent to a shell that looks at an app on the host: see look.sh. It answers in frames of the nonce.
func LookText(nonce, place string, w Wish) string {
	d := w.Release.Deploy
	var b strings.Builder
	fmt.Fprintf(&b, "{ p_n=%s p_rs='%s' p_r=%s p_p=%s p_user=%s p_group=%s\n", target.Quote(nonce), target.FrameStart,
		target.Quote(d.Root), target.Quote(place), target.Quote(d.User), target.Quote(d.Group))
	b.WriteString("p_ways() {\n:\n")
	for _, l := range w.Outside {
		b.WriteString("p_way " + target.Quote(l.Path) + "\n")
	}
	b.WriteString("}\np_owners() {\n:\n")
	users, groups := w.Tree.Owners()
	for _, u := range users {
		b.WriteString("p_owner user " + target.Quote(u) + "\n")
	}
	for _, g := range groups {
		b.WriteString("p_owner group " + target.Quote(g) + "\n")
	}
	b.WriteString("}\n" + target.Shrink(look) + "}\n")
	return b.String()
}

// much is the size of a tree, in bytes, from which computing its digests faster pays.
const much = 4 << 20

// Steps is the text that the supervisor runs for the plan; parcel is nil where nothing is sent. point is the text of a
// shell function d_point that is called between every two changes, with a name: tests interrupt there. It is "" for real.
func (p *Plan) Steps(parcel *Parcel, point string) string {
	w, d := p.wish, p.wish.Release.Deploy
	sum, _ := bare(p.tree.Manifest)
	live, ours := p.report.live()
	from := ""
	if ours {
		from = live.Name
	}
	var sources []string
	if parcel != nil {
		sources = parcel.linkedFrom()
	}
	kind := "deploy"
	if w.Kind == sluice.RollBack {
		kind = "rollback"
	}
	before := strings.TrimPrefix(p.report.Live, "versions/")
	if strings.ContainsAny(before, " \t") {
		before = "?"
	}
	var b strings.Builder
	set := func(name, value string) { b.WriteString(name + "=" + target.Quote(value) + "\n") }
	b.WriteString("s_main() {\ns_do=\n")
	set("d_kind", kind)
	set("d_root", d.Root)
	set("d_owner", w.owner())
	set("d_me", fmt.Sprintf("job %s, attempt %s, by %s, since %s", w.Job, w.Attempt, line(w.By), line(w.Since)))
	set("d_tree", p.tree.Name)
	set("d_sum", sum)
	set("d_was", p.report.Live)
	set("d_from", from)
	set("d_before", orDash(before))
	set("d_reuse", mark(p.reuse))
	set("d_seq", fmt.Sprint(p.seq))
	set("d_sources", strings.Join(sources, " "))
	set("d_remove", strings.Join(p.remove, " "))
	set("d_nohooks", mark(d.NoHooks))
	set("d_rel", p.tree.Version+"~"+sum)
	set("d_once", mark(w.Once))
	set("d_after", mark(w.After && w.Kind != sluice.RollBack))
	set("d_wait", mark(w.Wait))
	// Who deploys what is live again, with whatever configuration, may do so to repair it.
	set("d_back", mark(w.Kind == sluice.DeployTo && d.OnFailure == sluice.FailureRollsBack && live.Version != p.tree.Version))
	set("d_much", mark(w.Kind == sluice.RollBack || w.Tree.Bytes() > much))
	b.WriteString("d_tab='\t'\n")
	if p.report.Self == 0 {
		b.WriteString("d_o=\n")
	} else {
		b.WriteString("d_o=o\n")
	}
	set("d_z", "")
	if parcel != nil && parcel.gzip {
		set("d_z", "z")
	}
	b.WriteString("d_main\nd_c=$?\ns_do=exec\nreturn $d_c\n}\nd_services() {\n:\n")
	for _, s := range d.Services {
		verb := "restart"
		if s.Reload {
			verb = "reload"
		}
		b.WriteString("s_step " + target.Quote(verb+"/"+s.Name, "d_service", s.By, verb, s.Name) + " || return\n")
	}
	b.WriteString("}\n")
	if point != "" {
		b.WriteString(point + strings.ReplaceAll(steps, "#@ ", "d_point "))
	} else {
		b.WriteString(steps)
	}
	return target.Shrink(b.String())
}

// Points are the names of all points, in the order of the text.
func Points() (names []string) {
	for l := range strings.Lines(steps) {
		if name, ok := strings.CutPrefix(l, "#@ "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// Env are the variables that hooks and services find, beside those of every job.
func (p *Plan) Env() map[string]string {
	r := p.wish.Release
	live := p.report.installed(strings.TrimPrefix(p.report.Live, "versions/"))
	env := map[string]string{
		"SLUICE_APP": r.App, "SLUICE_ENV": r.Env, "SLUICE_CLUSTER": r.Cluster, "SLUICE_VERSION": p.tree.Version,
		"SLUICE_ACTION": string(p.wish.Kind), "SLUICE_ROOT": r.Deploy.Root,
		"SLUICE_RELEASE_DIR": path.Join(r.Deploy.Root, "versions", p.tree.Name), "SLUICE_LIVE_DIR": path.Join(r.Deploy.Root, "live"),
		"SLUICE_PREVIOUS_VERSION": live.Version, "SLUICE_PREVIOUS_DIR": "",
		"SLUICE_MANIFEST": p.tree.Manifest, "SLUICE_CONFIG": p.tree.Config,
	}
	if p.report.Live != "" {
		env["SLUICE_PREVIOUS_DIR"] = path.Join(r.Deploy.Root, p.report.Live)
		if path.IsAbs(p.report.Live) {
			env["SLUICE_PREVIOUS_DIR"] = p.report.Live
		}
	}
	return env
}

func mark(on bool) string {
	if on {
		return "1"
	}
	return ""
}

// line is a text that fits into a line.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if odd(string(r)) {
			return '?'
		}
		return r
	}, s)
}
