package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
)

// kept are files by name, and what was kept.
type kept struct {
	Files
	of map[string]string
}

func (k kept) Read(path string) ([]byte, error) {
	if text, ok := k.of[path]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

func (k kept) Keep(path string, secret []byte) error {
	if strings.Contains(path, "nowhere") {
		return errors.New("no such directory")
	}
	k.of[path] = string(secret)
	return nil
}

// TestClusterFlags: what a server is told of its cluster is checked before it does anything.
func TestClusterFlags(t *testing.T) {
	host := "S1.Example.com"
	serve := func(args ...string) (ClusterOptions, int, string) {
		var got ClusterOptions
		var stderr bytes.Buffer
		status := Main(t.Context(), World{Args: append([]string{"server"}, args...), Env: func(string) string { return "" }, Stdout: &stderr, Stderr: &stderr,
			Clock: time.Now, Files: kept{of: map[string]string{"user": "ann:pass:word\n", "two": "ann:a\nbob:b\n", "none": "ann\n", "empty": "ann:\n"}},
			Hostname: func() (string, error) { return host, nil },
			Serve:    func(_ context.Context, o ServeOptions) error { got = o.Cluster; return nil }})
		return got, status, stderr.String()
	}
	for _, c := range []struct {
		args string
		want ClusterOptions
	}{
		{"", ClusterOptions{}},
		{"--cluster s1:7659", ClusterOptions{Address: "s1:7659", Name: "s1.example.com"}},
		{"--cluster [::1]:65534 --name s1 --join FILE", ClusterOptions{Address: "[::1]:65534", Name: "s1", JoinFile: "FILE"}},
		{"--cluster s1:1 --name s1 --engine https://e1:2379,https://e2:2379/ --engine-ca ca --engine-cert c --engine-key k --engine-user user", ClusterOptions{
			Address: "s1:1", Name: "s1", Engine: EngineOptions{URLs: []string{"https://e1:2379", "https://e2:2379"}, CAFile: "ca", Certificate: "c", Key: "k",
				User: "ann", Password: sluice.NewSecret([]byte("pass:word"))}}},
		{"--cluster s1:1 --name s1 --engine http://127.0.0.1:2379", ClusterOptions{Address: "s1:1", Name: "s1", Engine: EngineOptions{URLs: []string{"http://127.0.0.1:2379"}}}},
	} {
		got, status, said := serve(strings.Fields(c.args)...)
		if status != exitOK || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %d %s\n%+v, want\n%+v", c.args, status, said, got, c.want)
		}
	}
	for args, want := range map[string]string{
		"--name s1":                         "--name is for a server of a cluster",
		"--join FILE":                       "--join is for",
		"--engine https://e1":               "--engine is for",
		"--cluster s1":                      `"s1" is not HOST:PORT`,
		"--cluster :7659":                   "is not HOST:PORT",
		"--cluster s1:0":                    "is not HOST:PORT",
		"--cluster s1:http":                 "is not HOST:PORT",
		"--cluster 0.0.0.0:7659":            "others cannot reach a server at 0.0.0.0:7659",
		"--cluster s1:65535":                "no port after 65535",
		"--cluster s1:1 --name S_1":         `--name: "S_1" is no name`,
		"--cluster s1:1 --engine-ca":        "flag needs an argument",
		"--cluster s1:1 --engine-ca c":      "--engine-ca is for an etcd that exists",
		"--cluster s1:1 --engine-user user": "--engine-user is for",
		"--cluster s1:1 --engine https://e1 --engine-cert c":      "belong together",
		"--cluster s1:1 --engine https://e1 --engine-key k":       "belong together",
		"--cluster s1:1 --engine e1:2379":                         "takes URLs such as",
		"--cluster s1:1 --engine https://e1/path":                 "takes URLs such as",
		"--cluster s1:1 --engine https://e1?a=b":                  "takes URLs such as",
		"--cluster s1:1 --engine http://e1:2379":                  "could read and change the log",
		"--cluster s1:1 --engine https://ann:CANARY@e1":           "--engine-user FILE",
		"--cluster s1:1 --engine https://ann:CANARY@e1:port":      "takes URLs such as",
		"--cluster s1:1 --engine https://e1,http://localhost":     "some do not",
		"--cluster s1:1 --engine http://localhost --engine-ca ca": "for an etcd with TLS",
		"--cluster s1:1 --engine https://e1 --engine-user there":  "--engine-user: file does not exist",
		"--cluster s1:1 --engine https://e1 --engine-user two":    "no USER:PASSWORD in one line",
		"--cluster s1:1 --engine https://e1 --engine-user none":   "no USER:PASSWORD in one line",
		"--cluster s1:1 --engine https://e1 --engine-user empty":  "no USER:PASSWORD in one line",
	} {
		if got, status, said := serve(strings.Fields(args)...); status != exitUsage || !strings.Contains(said, want) || strings.Contains(said, "CANARY") || got.Address != "" {
			t.Errorf("%s: %d %s, want %q", args, status, said, want)
		}
	}
	host = "my_machine"
	if _, status, said := serve("--cluster", "s1:1"); status != exitUsage || !strings.Contains(said, "the name of this machine") || !strings.Contains(said, "--name NAME") {
		t.Errorf("%d %s", status, said)
	}
}

// many are servers of a cluster as they stand.
func many(roles ...string) api.Cluster {
	c := api.Cluster{Self: "s1", Owner: "s1", Term: 3, Majority: true}
	for i, r := range roles {
		c.Members = append(c.Members, api.Member{Name: sluice.ServerName("s" + string(rune('1'+i))), Role: r})
	}
	return c
}

func TestAfterRemoval(t *testing.T) {
	const owner, other, lost, invited = api.OwnerRole, api.CopyRole, api.LostRole, api.InvitedRole
	for _, c := range []struct {
		of   api.Cluster
		gone sluice.ServerName
		want string
	}{
		{many(owner), "s1", "s1 owns the log: another server takes it over. It is the only one."},
		{many(owner, other), "s2", "One server is left: while it is away nothing goes on, and what it loses is lost."},
		{many(owner, other, other), "s3", "Two servers are left, and both must run: without either nothing can be changed."},
		{many(owner, other, lost), "s3", "Two servers are left, and both must run: without either nothing can be changed."},
		{many(owner, other, lost), "s2", "Two servers are left, and both must run: without either nothing can be changed. Only 1 of them are heard now: then nothing can be changed until another one is back."},
		{many(owner, other, other, other, invited), "s1", "s1 owns the log: another server takes it over. 3 servers are left, of which 2 must run."},
		{many(owner, other, other, other, other), "s4", "4 servers are left, of which 3 must run."},
		{many(owner, invited), "s2", "s2 has not joined: its invitation is withdrawn."},
	} {
		got, err := afterRemoval(c.of, c.gone)
		if s := strings.Join(got, " "); err != nil || s != c.want {
			t.Errorf("%s of %d: %q, %v", c.gone, len(c.of.Members), s, err)
		}
	}
	if _, err := afterRemoval(many(owner), "s9"); sluice.CodeOf(err) != sluice.NotFound {
		t.Error(err)
	}
}

// answering is a server that answers for a cluster, and remembers what it was asked.
type answering struct {
	cluster api.Cluster
	stale   string
	log     []string
}

func (s *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Replaces string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	s.log = append(s.log, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v1/")+" "+body.Replaces))
	w.Header().Set("Content-Type", "application/json")
	if s.stale != "" {
		w.Header().Set(api.StaleHeader, s.stale)
	}
	var answer any = struct{}{}
	switch r.Method {
	case http.MethodGet:
		answer = s.cluster
	case http.MethodPost:
		answer = api.ServerInvitation{Server: "s4", Token: "sluices.s4.SECRET", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func TestMembers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	before, behind, none := now.Add(-3*time.Minute), uint64(12), uint64(0)
	s := &answering{cluster: many(api.OwnerRole, api.CopyRole, api.LostRole, api.InvitedRole)}
	s.cluster.Since = &before
	s.cluster.Members[0].Behind, s.cluster.Members[0].InEngine, s.cluster.Members[0].Version = &none, "voter", "1.2"
	s.cluster.Members[1].Behind, s.cluster.Members[1].Seen, s.cluster.Members[1].Address = &behind, &before, "s2:7659"
	s.cluster.Members[1].InEngine, s.cluster.Members[1].Leads = "voter", true
	s.cluster.Members[3].Replaces = "s3"
	server := httptest.NewServer(s)
	defer server.Close()
	files := kept{of: map[string]string{}}
	var confirm func(string) (string, error)
	run := func(args ...string) (status int, out, errs string) {
		s.log = nil
		var stdout, stderr bytes.Buffer
		status = Main(t.Context(), World{Args: append([]string{"server", "members"}, args...), Stdout: &stdout, Stderr: &stderr, Files: files, Confirm: confirm,
			Clock: func() time.Time { return now },
			Env: func(name string) string {
				return map[string]string{"SLUICE_SERVER": server.URL, "SLUICE_TOKEN": "token"}[name]
			},
			Client: func(at Server) (*client.Client, func() error, error) {
				c, err := client.New(at.URL, "token", server.Client())
				if err == nil {
					c.Stale = func(since time.Time) { at.Stale(c.At(), since) }
				}
				return c, func() error { return nil }, err
			}})
		return status, stdout.String(), stderr.String()
	}
	says := func(wantOut, wantErr, wantLog string, args ...string) {
		t.Helper()
		status, out, errs := run(args...)
		if status != exitOK || out != wantOut || errs != wantErr || strings.Join(s.log, "; ") != wantLog {
			t.Errorf("%q: status %d, %q\n%s\n%s", args, status, s.log, out, errs)
		}
	}
	says(`s1 owns the log (term 3), for 3m0s.
SERVER         ROLE            IN ENGINE     BEHIND  SEEN  VERSION  ADDRESS
s1 (this one)  owner           voter         0       -     1.2      -
s2             copy            voter, leads  12      3m0s  -        s2:7659
s3             lost            -             -       -     -        -
s4             invited for s3  -             -       -     -        -
`, "", "GET servers")
	s.cluster.Members[1].Trouble = "its disk\x1b has 12 MiB left"
	if status, out, _ := run(); status != exitOK || !strings.HasSuffix(out, "\ns2: its disk\\e has 12 MiB left\n") {
		t.Errorf("%d %q", status, out)
	}
	s.cluster.Owner = ""
	if _, out, _ := run(); !strings.HasPrefix(out, "Nobody owns the log now, for 3m0s: nothing can be changed.\n") {
		t.Errorf("%q", out)
	}
	s.cluster.Owner, s.cluster.Members[1].Trouble = "s1", ""
	if status, out, _ := run("-o", "json"); status != exitOK || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"owner":"s1"`) || !strings.Contains(out, `"behind":12`) {
		t.Errorf("%d %s", status, out)
	}

	const how = "Good for one server, until 2026-01-02T03:04:05Z. Put it into a file on the new server, then there, with its own HOST:PORT:\n" +
		"  sluice server --cluster HOST:PORT --name s4 --join FILE\n"
	says("sluices.s4.SECRET\n", how, "POST servers/s4/invite", "add", "s4")
	says("sluices.s4.SECRET\n", how+"When it comes, s3 is removed. Until then nothing changes.\n", "POST servers/s4/invite s3", "replace", "s3", "s4")
	says("", strings.Replace(how, "Put it into a file on", "Bring out to", 1), "POST servers/s4/invite", "add", "s4", "--join-file", "out")
	if files.of["out"] != "sluices.s4.SECRET\n" {
		t.Errorf("%q", files.of)
	}
	says(`{"server":"s4","file":"out","expires":"2026-01-02T03:04:05Z"}`+"\n", "", "POST servers/s4/invite", "add", "s4", "--join-file", "out", "-o", "json")
	says(`{"server":"s4","token":"sluices.s4.SECRET","expires":"2026-01-02T03:04:05Z"}`+"\n", "", "POST servers/s4/invite", "add", "s4", "-o", "json")
	refused := func(want, wantLog string, args ...string) {
		t.Helper()
		if status, out, errs := run(args...); status != exitUsage || out != "" || !strings.Contains(errs, want) || strings.Join(s.log, "; ") != wantLog {
			t.Errorf("%q: status %d, %q\n%s\n%s", args, status, s.log, out, errs)
		}
	}
	refused("no such directory", "POST servers/s4/invite", "add", "s4", "--join-file", "nowhere/out")
	refused("is no name of a server", "", "add", "S4")
	refused("is no name of a server", "", "replace", "S3", "s4")
	refused("takes the names of two servers", "", "replace", "s4")

	refused("there is nobody to ask whether s2 may be removed: Two servers are left", "GET servers", "remove", "s2")
	confirm = func(string) (string, error) { return "n", nil }
	refused("nothing was removed", "GET servers", "remove", "s2")
	refused("there is no server s9", "GET servers", "remove", "s9")
	confirm = func(string) (string, error) { return "y", nil }
	refused("there is nobody to ask whether s2 may be removed", "GET servers", "remove", "s2", "-o", "json") // a question is no JSON
	says("Removed s2.\nNext: sluice server members\n", "Two servers are left, and both must run: without either nothing can be changed.\n"+
		"Only 1 of them are heard now: then nothing can be changed until another one is back.\n", "GET servers; DELETE servers/s2", "remove", "s2")
	says(`{"done":"remove","server":"s2"}`+"\n", "", "DELETE servers/s2", "remove", "s2", "--yes", "-o", "json")

	s.stale = "2026-01-02T02:59:00Z"
	host := strings.TrimPrefix(server.URL, "http://")
	says("Removed s2.\nNext: sluice server members\n", "sluice: this is what the server "+host+" had at 2026-01-02T02:59:00Z; it has no contact with the others\n"+
		"Two servers are left, and both must run: without either nothing can be changed.\n"+
		"Only 1 of them are heard now: then nothing can be changed until another one is back.\n", "GET servers; DELETE servers/s2", "remove", "s2")
	s.cluster.Majority, s.cluster.Owner, s.cluster.Waits = false, "", "a majority of the servers"
	if status, out, errs := run(); status != exitOK || !strings.HasPrefix(out, "s1 has no contact with a majority, for 3m0s: nothing can be changed.\n"+
		"s1 cannot own the log yet; it waits for this: a majority of the servers.\nSERVER") || strings.Count(errs, "\n") != 1 {
		t.Errorf("%d %s %s", status, out, errs)
	}
}
