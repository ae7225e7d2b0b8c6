// Package docs_test holds the documents to what they say: links lead somewhere, command lines are understood by the
// program, every command, flag, event and field is described, fleet files in examples load.
package docs_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
)

var update = flag.Bool("update", false, "write usage and flags of the commands into cli.md")

// documents are all of them, by path from the top of the tree.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		names, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.ToSlash(filepath.Clean(strings.TrimPrefix(name, "../")))] = string(text)
		}
	}
	if len(out) < 10 {
		t.Fatalf("found only %d documents", len(out))
	}
	return out
}

var (
	fence  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	inline = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title  = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// blocks are the contents of the fenced blocks in one language.
func blocks(text, language string) (out []string) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	return out
}

// anchors are the places in a document that links can name, as GitHub makes them of headings.
func anchors(text string) (out []string) {
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

// TestTestsThatAreNamed: what a document says is shown by a test, is shown by one that there is.
func TestTestsThatAreNamed(t *testing.T) {
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(Test[A-Z]\w*)(\.\.\.)?`)
	for name, text := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) { // a pattern for -run is none
			is := there[m[1]]
			for one := range there {
				is = is || m[2] != "" && strings.HasPrefix(one, m[1])
			}
			if !is {
				t.Errorf("%s names %s, and there is no such test", name, m[1])
			}
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t)
	for name, text := range docs {
		text = inline.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			path := name
			if file != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(name), file))
			}
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if anchor != "" && !slices.Contains(anchors(docs[path]), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", name, m[1], path)
			}
		}
	}
}

func TestNothingNamesThisMachine(t *testing.T) {
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range documents(t) {
		for _, path := range []string{top, home} {
			if len(path) > 1 && strings.Contains(text, path+"/") {
				t.Errorf("%s has %s in it, a path of one machine", name, path)
			}
		}
	}
}

// program is the real one, with the help of every command.
type program struct {
	path string
	help map[string]string // by words, such as "host hold"; "" is the program itself
}

func build(t *testing.T) *program {
	t.Helper()
	p := &program{path: filepath.Join(t.TempDir(), "sluice"), help: map[string]string{}}
	if out, err := exec.Command("go", "build", "-o", p.path, "../cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("building sluice: %v\n%s", err, out)
	}
	p.walk(t, "")
	return p
}

// run runs the program where it can touch nothing.
func (p *program) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(p.path, args...)
	c.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := c.CombinedOutput()
	return string(out), err
}

var subcommand = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)

func (p *program) walk(t *testing.T, words string) {
	t.Helper()
	help, err := p.run(t, append(strings.Fields(words), "--help")...)
	if err != nil {
		t.Fatalf("sluice %s --help: %v\n%s", words, err, help)
	}
	p.help[words] = help
	if words == "completion" {
		return // cobra's own
	}
	_, list, ok := strings.Cut(help, "[command]\n")
	if !ok {
		return
	}
	list, _, _ = strings.Cut(list, "\nFlags:")
	for _, m := range subcommand.FindAllStringSubmatch(list, -1) {
		if m[1] != "help" && m[1] != "sluice" { // an example begins with the latter
			p.walk(t, strings.TrimSpace(words+" "+m[1]))
		}
	}
}

// usage is what the manual must have of a command: how it is called, and its own flags.
func (p *program) usage(words string) string {
	_, text, _ := strings.Cut(p.help[words], "Usage:\n")
	call, rest, _ := strings.Cut(text, "\n\n")
	out := strings.ReplaceAll(strings.TrimSpace(call), "\n  ", "\n") + "\n"
	if _, flags, ok := strings.Cut("\n\n"+rest, "\n\nFlags:\n"); ok {
		flags, _, _ = strings.Cut(flags, "\n\n")
		for line := range strings.SplitSeq(strings.TrimRight(flags, "\n"), "\n") {
			if !strings.Contains(line, "--help ") {
				out += strings.TrimRight(line, " ") + "\n"
			}
		}
	}
	return out
}

var usageBlock = regexp.MustCompile("(?ms)^<!-- usage: sluice ?([a-z -]*) -->\n```text\n(.*?)^```$")

func TestAgainstTheProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the program")
	}
	p := build(t)
	t.Run("the manual is complete", p.manualIsComplete)
	t.Run("command lines parse", p.commandLinesParse)
	t.Run("fleet files load", p.fleetFilesLoad)
	t.Run("a repository of yodeploy is brought over", p.yodeployMovesOver)
}

// Every command has a section in cli.md with its usage and its flags as the program has them, and an example.
func (p *program) manualIsComplete(t *testing.T) {
	manual, err := os.ReadFile("cli.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	fresh := usageBlock.ReplaceAllStringFunc(string(manual), func(block string) string {
		m := usageBlock.FindStringSubmatch(block)
		seen[m[1]] = true
		if _, ok := p.help[m[1]]; !ok {
			t.Errorf("cli.md describes sluice %s, which does not exist", m[1])
			return block
		}
		want := p.usage(m[1])
		if m[2] != want && !*update {
			has, says := firstDifference(m[2], want)
			t.Errorf("cli.md on sluice %s differs (go test ./docs -update writes it anew); it has\n%s\nthe program says\n%s", m[1], has, says)
		}
		return strings.Replace(block, "```text\n"+m[2], "```text\n"+want, 1)
	})
	if *update {
		if err := os.WriteFile("cli.md", []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for words := range p.help {
		if !seen[words] {
			t.Errorf("cli.md says nothing of sluice %s: it needs a line <!-- usage: sluice %s --> and a text block", words, words)
		}
		if words == "" || strings.Contains(p.help[words], "[command]\n") && words != "completion" {
			continue // groups of commands
		}
		if !strings.Contains(strings.Join(blocks(string(manual), "sh"), ""), "sluice "+words) {
			t.Errorf("cli.md has no example of sluice %s", words)
		}
	}
}

// firstDifference is the first line in which two texts differ.
func firstDifference(a, b string) (string, string) {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i], bs[i]
		}
	}
	return "more or fewer lines", "otherwise the same"
}

// Every command line in a sh block is one that the program understands: the command exists, and so do its flags.
func (p *program) commandLinesParse(t *testing.T) {
	checked := 0
	for name, text := range documents(t) {
		for _, block := range blocks(text, "sh") {
			for _, args := range commandLines(block) {
				checked++
				words, known := "", false
				for _, a := range args {
					if _, ok := p.help[strings.TrimSpace(words+" "+a)]; !ok {
						// A command that is only there for others takes no words of its own; the shells of completion are none of ours.
						known = known && (strings.HasPrefix(a, "-") || words == "completion" || !strings.Contains(p.help[words], "sluice "+words+" [command]"))
						break
					}
					words, known = strings.TrimSpace(words+" "+a), true
				}
				if !known {
					t.Errorf("%s: sluice %q: there is no such command", name, args)
					continue
				}
				at := slices.Index(args, "--")
				if at < 0 {
					at = len(args)
				}
				if out, err := p.run(t, slices.Insert(slices.Clone(args), at, "--help")...); err != nil {
					t.Errorf("%s: sluice %q: %s", name, args, out)
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("found only %d command lines; are they not recognised any more?", checked)
	}
}

// commandLines are the arguments of each call of sluice in a shell text.
func commandLines(block string) (out [][]string) {
	for line := range strings.SplitSeq(strings.ReplaceAll(block, "\\\n", " "), "\n") {
		for _, command := range shellWords(line) {
			for len(command) > 0 && regexp.MustCompile(`^[A-Z_]+=|^(if|then|exec|while|!)$`).MatchString(command[0]) {
				command = command[1:]
			}
			if len(command) > 1 && command[0] == "sluice" {
				out = append(out, command[1:])
			}
		}
	}
	return out
}

// shellWords splits a line into commands of words: quotes, comments, operators and redirections, no more.
func shellWords(line string) (commands [][]string) {
	var words []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		commands = append(commands, words)
		words = nil
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' || c == '"':
			inWord = true
			if n := strings.IndexByte(line[i+1:], c); n >= 0 {
				word.WriteString(line[i+1 : i+1+n])
				i += n + 1
			}
		case c == '#' && !inWord:
			i = len(line)
		case c == ' ' || c == '\t':
			endWord()
		case strings.IndexByte("|;&()<>`", c) >= 0:
			if strings.Trim(word.String(), "0123456789") == "" && (c == '<' || c == '>') {
				inWord = false // a descriptor's number is no argument
			}
			endCommand()
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	endCommand()
	return commands
}

// Fleet files in the examples of these documents are files that load.
func (p *program) fleetFilesLoad(t *testing.T) {
	docs := documents(t)
	for _, name := range []string{"README.md", "docs/concepts.md", "docs/cli.md", "docs/coming-from-pogo.md",
		"docs/coming-from-ansible.md", "docs/coming-from-pdsh.md", "docs/troubleshooting.md"} {
		for _, block := range blocks(docs[name], "yaml") {
			dir := t.TempDir()
			for file, content := range map[string]string{"fleet.yaml": block, "hosts.ini": "[webservers]\nweb[01:20]\n"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := p.run(t, "plan", "-f", filepath.Join(dir, "fleet.yaml"), "-t", "all"); err != nil {
				t.Errorf("%s: %s\nof\n%s", name, out, block)
			}
		}
	}
}

// What coming-from-yodeploy.md says about the repository brings all versions over, with the newest as the latest.
func (p *program) yodeployMovesOver(t *testing.T) {
	text, err := os.ReadFile("coming-from-yodeploy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## The repository\n")
	dir := t.TempDir()
	old := filepath.Join(dir, "srv/yodeploy/shop/master/shop.tar.gz")
	script := strings.NewReplacer("/srv/", dir+"/srv/", "/tmp/", dir+"/").Replace(blocks(section, "sh")[0])
	if err := os.MkdirAll(old, 0o755); err != nil {
		t.Fatal(err)
	}
	versions := []string{"9", "10", "10.1"} // not as they sort
	for i, v := range versions {
		content, at := filepath.Join(dir, "content"), time.Unix(int64(1_500_000_000+i), 0)
		err := errors.Join(os.WriteFile(content, []byte(v), 0o600), exec.Command("tar", "-czf", filepath.Join(old, v), "-C", dir, "content").Run(),
			os.WriteFile(filepath.Join(old, v+".meta"), []byte(`{"build_number": "`+v+`", "commit": "c`+v+`", "deploy_compat": "4"}`), 0o600),
			os.Chtimes(filepath.Join(old, v), at, at))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(old, "latest"), []byte("10.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-ec", script+"sluice artifact versions shop shop.tar.gz")
	c.Env = []string{"HOME=" + dir, "PATH=" + filepath.Dir(p.path) + ":" + os.Getenv("PATH"), "SLUICE_ARTIFACTS=" + filepath.Join(dir, "store")}
	out, err := c.CombinedOutput()
	_, list, _ := strings.Cut(string(out), "VERSION ")
	if err != nil || !regexp.MustCompile(`(?s)\n9 .* c9 .*\n10 .* c10 .*\n10\.1 .* c10\.1 +latest\n$`).MatchString(list) {
		t.Errorf("%v\n%s", err, out)
	}
}

// bodies are all events, with what stands in them beside the header.
var bodies = []sluice.Body{sluice.RulesApplied{}, sluice.JobSubmitted{}, sluice.JobStarted{}, sluice.StageOpened{}, sluice.GateWaiting{},
	sluice.GatePassed{}, sluice.TaskStarted{}, sluice.TaskStep{}, sluice.BalancerChanged{}, sluice.BalancerAsked{}, sluice.TaskFinished{}, sluice.TaskRetried{}, sluice.TaskWithdrawn{}, sluice.TaskOutput{},
	sluice.JobHalting{}, sluice.JobHalted{}, sluice.JobResumed{}, sluice.JobCancelling{}, sluice.JobFinished{}, sluice.HostHeld{},
	sluice.HostReleased{}, sluice.HostRetired{}, sluice.HostReturned{}, sluice.PrincipalAdded{}, sluice.PrincipalRemoved{}, sluice.RoleDefined{},
	sluice.GrantGiven{}, sluice.GrantTaken{}, sluice.TokenMade{}, sluice.TokenRevoked{}, sluice.AccessNoted{}, sluice.FleetApplied{},
	sluice.ServerRestored{}, sluice.LogRepaired{}, sluice.OutputRemoved{}, sluice.WebhookSet{}, sluice.WebhookRemoved{}, sluice.WebhookGaveUp{},
	sluice.WorkerInvited{}, sluice.WorkerEnrolled{}, sluice.WorkerRenewed{}, sluice.WorkerDrained{}, sluice.WorkerRemoved{},
	sluice.ServerInvited{}, sluice.ServerJoined{}, sluice.ServerRemoved{}}

// Every event and each of its fields is described, in the section of the event.
func TestEventsAreDescribed(t *testing.T) {
	text, err := os.ReadFile("events.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n### ")[1:] {
		head, rest, _ := strings.Cut(s, "\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		sections[head] = rest
	}
	known := map[string]bool{}
	for _, b := range bodies {
		known[b.Type()] = true
		section, ok := sections[b.Type()]
		if !ok {
			t.Errorf("events.md has no section for %s", b.Type())
		}
		for _, field := range fields(b) {
			if !strings.Contains(section, "`"+field+"`") {
				t.Errorf("events.md: %s does not mention the field %s", b.Type(), field)
			}
		}
	}
	var source []byte
	for _, file := range []string{"../event.go", "../access.go", "../guard.go", "../webhook.go", "../worker.go", "../server.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	for _, m := range regexp.MustCompile(`Type\(\) string +\{ return "([a-z.]+)" \}`).FindAllStringSubmatch(string(source), -1) {
		if !known[m[1]] {
			t.Errorf("the event %s is new: describe it in events.md and add it here", m[1])
		}
	}
	for head := range sections {
		if !known[head] {
			t.Errorf("events.md describes %s, which is no event", head)
		}
	}
}

// fields are the names of all JSON fields of an event, nested ones as well.
func fields(b sluice.Body) (out []string) {
	switch b.(type) {
	case sluice.JobSubmitted: // written by a codec of its own
		out = append(tags(reflect.TypeFor[sluice.Job]()), "tracks", "entry", "stages", "gate", "hosts")
		return append(out, tags(reflect.TypeFor[sluice.Gate]())...)
	case sluice.RulesApplied:
		return []string{"rules", "by", "hosts", "constraints", "name", "groups", "limit", "members"}
	}
	return tags(reflect.TypeOf(b))
}

func tags(t reflect.Type) (out []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != "sluice" {
		return nil
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if t.Field(i).Anonymous {
			out = append(out, tags(t.Field(i).Type)...)
		}
		if name != "" && name != "-" {
			out = append(append(out, name), tags(t.Field(i).Type)...)
		}
	}
	return out
}

// The example is a stream as the program writes it: every line is read and written again without a change.
func TestEventExample(t *testing.T) {
	text, err := os.ReadFile("events.md")
	if err != nil {
		t.Fatal(err)
	}
	var last sluice.Event
	lines := 0
	for _, block := range blocks(string(text), "json") {
		for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
			var e sluice.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in\n%s", err, line)
			}
			if _, unknown := e.Body.(sluice.UnknownBody); unknown {
				t.Errorf("nobody knows the event\n%s", line)
			}
			again, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if string(again) != line {
				t.Errorf("events.md has\n%s\nthe program writes\n%s", line, again)
			}
			last = e
			lines++
		}
	}
	if _, halted := last.Body.(sluice.JobHalted); lines < 10 || !halted {
		t.Errorf("the example has %d lines and ends with %v; it is to end as a stream ends", lines, last.Body)
	}
}
