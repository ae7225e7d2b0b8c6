package target_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestRenderIsWhatWasReviewed(t *testing.T) {
	got := target.Render(target.Call{
		Attempt: "0123456789ab-0-1", Nonce: "0123456789abcdef", Stdout: 5, Stderr: 7, Limit: 1000, Timeout: 90 * time.Second,
		PreHooks: "/etc/sluice/pre.d", PostHooks: "/etc/it's/post.d",
		Env:  map[string]string{"B": "$(id)\n'x'", "A": ""},
		Main: append(target.Words("sh", "-c", "echo 'a' $b", "sh"), target.Word{Text: "blob", Here: true}), Stdin: true, Sudo: true,
	})
	golden := filepath.Join("testdata", "render.sh")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the text changed; look at it and run with -update\n%s", got)
	}
	if n := len(target.Render(target.Call{})); n > 12<<10 {
		t.Errorf("the text has %d bytes; shells read it byte by byte", n)
	}
}

// Every shell reads the text without a complaint.
func TestShellsReadTheText(t *testing.T) {
	for _, shell := range []string{"dash", "busybox sh", "bash", "ksh93", "mksh"} {
		words := strings.Fields(shell)
		if _, err := exec.LookPath(words[0]); err != nil {
			t.Logf("skipped: no %s here", shell)
			continue
		}
		for _, c := range []target.Call{{}, {Settle: true}, {Put: true}, {TTY: true, Env: map[string]string{"A": "'"}}} {
			cmd := exec.Command(words[0], append(words[1:], "-n")...)
			cmd.Stdin = strings.NewReader(target.Render(c) + target.Fetch("n", "it's") + target.PlainScript("m", "true", nil, true))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", "it's", "$(id)`id`\\", "-n", "a\nb\r\n", "\xff\xfe", "!!", "*", "~", "'", "''''"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !target.Sendable(a + b) {
			t.Skip()
		}
		cmd := exec.Command("sh")
		cmd.Stdin = strings.NewReader(`show() { printf '%s|' "$#"; for x do printf '%s\0' "$x"; done; }; show ` + target.Quote(a, b) + "\n")
		out, err := cmd.Output()
		if want := "2|" + a + "\x00" + b + "\x00"; err != nil || string(out) != want {
			t.Errorf("%q, %v; want %q", out, err, want)
		}
	})
}

type item struct{ Word, Rest, Data string }

// feed collects what a framer says, neighbouring bytes as one.
func feed(f *target.Framer, pieces ...string) (got []item) {
	for _, p := range pieces {
		f.Feed([]byte(p), func(i target.Item) {
			if n := len(got); i.Word == "" && n > 0 && got[n-1].Word == "" {
				got[n-1].Data += string(i.Data)
				return
			}
			got = append(got, item{i.Word, i.Rest, string(i.Data)})
		})
	}
	if rest := f.Rest(); len(rest) > 0 {
		if n := len(got); n > 0 && got[n-1].Word == "" {
			got[n-1].Data += string(rest)
		} else {
			got = append(got, item{Data: string(rest)})
		}
	}
	return got
}

func TestFramer(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []item
	}{
		{"noise\n\x1eN hello\n", []item{{Data: "noise\n"}, {Word: "hello"}}},
		{"no newline\x1eN o 5\nab\x1eN . 7\n", []item{{Data: "no newline"}, {Word: "o", Rest: "5"}, {Data: "ab"}, {Word: ".", Rest: "7"}}},
		{"\x1eN end c=0 .\r\n", []item{{Word: "end", Rest: "c=0 ."}}},
		{"\x1e\x1eN a\n\x1e", []item{{Data: "\x1e"}, {Word: "a"}, {Data: "\x1e"}}},
		{"\x1eM a\n", []item{{Data: "\x1eM a\n"}}},
		{"\x1eN \nx", []item{{Data: "\x1eN \nx"}}},
		{"\x1eN cut", []item{{Data: "\x1eN cut"}}},
	} {
		if got := feed(target.NewFramer("N"), c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if got := feed(target.NewFramer("N"), strings.Split(c.in, "")...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q byte by byte: %q, want %q", c.in, got, c.want)
		}
	}
}

// However a stream is cut, the framer says the same; and no byte is lost or made up.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("noise\x1eN o 0\nabc\x1eN . 3\n\x1eN end c=0 .\n"), 3)
	f.Add([]byte("\x1e\x1eN \x1eN x\n"), 1)
	f.Add(bytes.Repeat([]byte("\x1eN long"), 50), 100)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		whole := feed(target.NewFramer("N"), string(data))
		if at = at % (len(data) + 1); at < 0 {
			at = -at
		}
		if cut := feed(target.NewFramer("N"), string(data[:at]), string(data[at:])); len(data) < 8<<10 && !reflect.DeepEqual(cut, whole) {
			t.Fatalf("cut at %d: %q, whole %q", at, cut, whole)
		}
		bytesOut := 0
		for _, i := range whole {
			bytesOut += len(i.Data)
		}
		if bytesOut > len(data) {
			t.Fatalf("%d bytes of %d", bytesOut, len(data))
		}
	})
}

func TestRecord(t *testing.T) {
	for _, c := range []struct {
		in   string
		want target.Record
		ok   bool
	}{
		{"c=3 b=1.00 t=3.50 .", target.Record{Code: 3, HasCode: true, DurationMS: 2500}, true},
		{"c=265 b=0.05 t=0.05 .", target.Record{Code: 137, HasCode: true}, true},
		{" k=timeout x=oe h=1 l=12,13 .", target.Record{Kill: "timeout", CutStdout: true, CutStderr: true, Held: true, Left: []int{12, 13}}, true},
		{"c=0 b=1.00 t=2.00", target.Record{}, false},
		{"", target.Record{}, false},
		{".", target.Record{}, false},
		{"................", target.Record{}, false},
		{"c=x .", target.Record{}, false},
		{"k=cancel l=1,x .", target.Record{}, false},
	} {
		got, err := target.ParseRecord(c.in)
		if (err == nil) != c.ok || c.ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
	s, err := target.ParseStep("2 pre/10-x 1 100.00 100.25")
	if want := (target.Step{Number: 2, Name: "pre/10-x", Code: 1, DurationMS: 250}); err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzReports(f *testing.F) {
	f.Add("c=3 b=1.00 t=3.50 .")
	f.Add("2 pre/10-x 1 100.00 100.25")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := target.ParseRecord(s); err == nil {
			if r.Code < 0 || r.Code > 255 || r.DurationMS < 0 {
				t.Errorf("%+v", r)
			}
			if out := target.Conclude(target.Evidence{Sight: target.SawRecord, Record: r}); out.Outcome == sluice.Succeeded && (!r.HasCode || r.Code != 0 || r.Kill != "") {
				t.Errorf("%+v is a success", r)
			}
		}
		if s, err := target.ParseStep(s); err == nil && (s.Code < 0 || s.Code > 255 || s.DurationMS < 0) {
			t.Errorf("%+v", s)
		}
		target.ParsePIDs(s)
	})
}

func TestConclude(t *testing.T) {
	code := func(n int) *int { return &n }
	ran := func(n int) target.Record { return target.Record{Code: n, HasCode: true, DurationMS: 5} }
	killed := func(word string, left ...int) target.Record { return target.Record{Kill: word, Left: left} }
	for _, c := range []struct {
		name string
		e    target.Evidence
		want sluice.TaskFinished
	}{
		{"never reached", target.Evidence{Unreachable: true, Text: "refused"}, sluice.TaskFinished{Outcome: sluice.Unreachable, NotStarted: true, Reason: "refused"}},
		{"login refused", target.Evidence{Text: "no", Refused: true}, sluice.TaskFinished{Outcome: sluice.Failed, NotStarted: true, Refused: true, Reason: "no"}},
		{"cancelled before", target.Evidence{Kill: target.KillCancel, Unreachable: true}, sluice.TaskFinished{Outcome: sluice.Cancelled, NotStarted: true, Reason: "cancelled before it started"}},
		{"job over before", target.Evidence{Kill: target.KillJob}, sluice.TaskFinished{Outcome: sluice.TimedOut, NotStarted: true, Reason: "the job's time limit passed before it started"}},
		{"full disk", target.Evidence{Sight: target.SawRefusal, Text: "no space"}, sluice.TaskFinished{Outcome: sluice.Failed, NotStarted: true, Reason: "no space"}},
		{"revoked", target.Evidence{Sight: target.SawRevoked}, sluice.TaskFinished{Outcome: sluice.Unreachable, NotStarted: true, Reason: "it never started: the link to the host was lost before"}},
		{"revoked by cancel", target.Evidence{Sight: target.SawRevoked, Kill: target.KillCancel}, sluice.TaskFinished{Outcome: sluice.Cancelled, NotStarted: true, Reason: "cancelled before it started"}},
		{"success", target.Evidence{Sight: target.SawRecord, Record: ran(0)}, sluice.TaskFinished{Outcome: sluice.Succeeded, ExitCode: code(0), DurationMS: 5}},
		{"success beats a late cancel", target.Evidence{Sight: target.SawRecord, Record: ran(0), Kill: target.KillCancel}, sluice.TaskFinished{Outcome: sluice.Succeeded, ExitCode: code(0), DurationMS: 5}},
		{"failure", target.Evidence{Sight: target.SawRecord, Record: ran(2), Failed: "pre/10-drain"}, sluice.TaskFinished{Outcome: sluice.Failed, ExitCode: code(2), DurationMS: 5, Reason: "pre hook 10-drain ended with 2"}},
		{"timeout", target.Evidence{Sight: target.SawRecord, Record: killed(target.KillTimeout)}, sluice.TaskFinished{Outcome: sluice.TimedOut, Reason: "killed at its time limit"}},
		{"job timeout", target.Evidence{Sight: target.SawRecord, Record: killed(target.KillJob)}, sluice.TaskFinished{Outcome: sluice.TimedOut, Reason: "killed at the job's time limit"}},
		{"cancel", target.Evidence{Sight: target.SawRecord, Record: killed(target.KillCancel)}, sluice.TaskFinished{Outcome: sluice.Cancelled, Reason: "killed by a cancel"}},
		{"survivors", target.Evidence{Sight: target.SawRecord, Record: killed(target.KillCancel, 7, 8)}, sluice.TaskFinished{Outcome: sluice.Unknown, Leftovers: []int{7, 8}, Reason: "killed by a cancel, but these processes outlived it: 7, 8"}},
		{"reboot", target.Evidence{Sight: target.SawReboot}, sluice.TaskFinished{Outcome: sluice.Failed, Reason: "interrupted: the host restarted while it ran"}},
		{"silence", target.Evidence{Sight: target.SawSilence, Text: "no route"}, sluice.TaskFinished{Outcome: sluice.Unknown, Reason: "the link to the host was lost while it ran, and the host did not answer again: no route"}},
		{"silence at a cancel", target.Evidence{Sight: target.SawSilence, Kill: target.KillCancel}, sluice.TaskFinished{Outcome: sluice.Unknown, Reason: "cancelled, but the host could not be reached"}},
		{"lost", target.Evidence{Sight: target.SawLost, Left: []int{9}}, sluice.TaskFinished{Outcome: sluice.Unknown, Leftovers: []int{9}, Reason: "its supervisor on the host was killed, and there is no record of the end; these processes of it still run: 9"}},
	} {
		if got := target.Conclude(c.e); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Only a whole record of a clean end is a success, and only proof is "not started".
func TestOnlyProofCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := target.Evidence{
			Sight:       target.Sight(rapid.IntRange(0, 6).Draw(t, "sight")),
			Kill:        rapid.SampledFrom([]string{"", target.KillCancel, target.KillJob, target.KillSpoof}).Draw(t, "kill"),
			Unreachable: rapid.Bool().Draw(t, "unreachable"),
			Record: target.Record{
				Code: rapid.IntRange(0, 255).Draw(t, "code"), HasCode: rapid.Bool().Draw(t, "has"),
				Kill: rapid.SampledFrom([]string{"", target.KillCancel, target.KillTimeout}).Draw(t, "killed"),
			},
		}
		if e.Record.Kill == "" {
			e.Record.HasCode = true
		}
		r := target.Conclude(e)
		if clean := e.Sight == target.SawRecord && e.Record.Kill == "" && e.Record.Code == 0; (r.Outcome == sluice.Succeeded) != clean {
			t.Fatalf("%+v is %s", e, r.Outcome)
		}
		if proved := e.Sight == target.SawNothing || e.Sight == target.SawRefusal || e.Sight == target.SawRevoked; r.NotStarted != proved {
			t.Fatalf("%+v: not started %v", e, r.NotStarted)
		}
		if (e.Sight == target.SawLost || e.Sight == target.SawSilence) && r.Outcome != sluice.Unknown {
			t.Fatalf("%+v is %s", e, r.Outcome)
		}
	})
}

func TestEnvAndUserNames(t *testing.T) {
	for name, ok := range map[string]bool{"A": true, "_x1": true, "PATH": true, "": false, "1a": false, "a-b": false, "a b": false, "A=B": false, "SLUICE_X": false, "s_id": false, "UID": false, "ä": false} {
		if target.ValidEnv(name) != ok {
			t.Errorf("variable %q: %v", name, !ok)
		}
	}
	for name, ok := range map[string]bool{"root": true, "app-1": true, "a.b@dom": true, "": false, "-u": false, "#0": false, "a b": false, "$(id)": false} {
		if target.ValidUser(name) != ok {
			t.Errorf("user %q: %v", name, !ok)
		}
	}
}

func TestCksum(t *testing.T) {
	if _, err := exec.LookPath("cksum"); err != nil {
		t.Skip("skipped: no cksum here")
	}
	for _, text := range []string{"", "a", strings.Repeat("hello\n", 1000)} {
		cmd := exec.Command("cksum")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		c := target.NewCksum()
		_, _ = c.Write([]byte(text))
		if got := []string{uintText(uint64(c.Sum())), uintText(uint64(c.Size()))}; !reflect.DeepEqual(got, strings.Fields(string(out))) {
			t.Errorf("%q: %v, cksum says %s", text, got, out)
		}
	}
}
