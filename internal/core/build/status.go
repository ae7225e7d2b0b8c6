package build

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// Status says how the forge is told of the state of a commit.
type Status struct {
	URL      string // with {commit} and the like in it
	TokenEnv string // the variable that the token is in; "" for none
	Form     string // github, gitlab or json
	Context  string // what the status is called at the forge
	LinkEnv  string // the variable that has the address of the build's own page
}

// Forms that forges understand.
var Forms = []string{"github", "gitlab", "json"}

// State is that of a commit.
type State string

const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
)

// News is what the forge is told.
type News struct {
	App, Target, Version, Commit, Branch string
	State                                State
	Description                          string
	Link                                 string // of the build's own page
}

// Request is what is sent.
type Request struct {
	URL    string
	Header map[string]string
	Body   []byte
}

// Placeholders are what may stand in the URL.
var Placeholders = []string{"{app}", "{branch}", "{commit}", "{target}", "{version}"}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// CheckURL says what is wrong with the URL of a status, "" for nothing. A token is not sent where everybody can read it.
func (s Status) CheckURL() string {
	for _, p := range placeholder.FindAllString(s.URL, -1) {
		if !strings.Contains(strings.Join(Placeholders, " "), p) {
			return "unknown " + p + " in the url; there are " + strings.Join(Placeholders, ", ")
		}
	}
	u, err := url.Parse(placeholder.ReplaceAllString(s.URL, "x"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "the url must be one of https, such as https://api.github.com/repos/ORG/REPO/statuses/{commit}"
	case u.User != nil:
		return "the url has a password in it; token_env names the variable that has the token"
	case u.Scheme == "http" && s.TokenEnv != "" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" && u.Hostname() != "localhost":
		return "a token is only sent over https"
	}
	return ""
}

// maxDescription is what GitHub takes.
const maxDescription = 140

// Tell makes the request that tells the forge. The token is a header and nothing else.
func (s Status) Tell(n News, token string) (Request, error) {
	r := Request{Header: map[string]string{"Content-Type": "application/json"}}
	r.URL = strings.NewReplacer("{app}", url.PathEscape(n.App), "{branch}", url.PathEscape(n.Branch), "{commit}", url.PathEscape(n.Commit),
		"{target}", url.PathEscape(n.Target), "{version}", url.PathEscape(n.Version)).Replace(s.URL)
	description := plain(n.Description)
	if runes := []rune(description); len(runes) > maxDescription {
		description = string(runes[:maxDescription-3]) + "..."
	}
	var body any
	header, before := "Authorization", "Bearer "
	switch s.Form {
	case "github":
		r.Header["Accept"] = "application/vnd.github+json"
		body = struct {
			State       State  `json:"state"`
			TargetURL   string `json:"target_url,omitempty"`
			Description string `json:"description"`
			Context     string `json:"context"`
		}{n.State, n.Link, description, s.Context}
	case "gitlab":
		header, before = "PRIVATE-TOKEN", ""
		state := n.State
		if state == Failure {
			state = "failed"
		}
		body = struct {
			State       State  `json:"state"`
			TargetURL   string `json:"target_url,omitempty"`
			Description string `json:"description"`
			Name        string `json:"name"`
			Ref         string `json:"ref,omitempty"`
		}{state, n.Link, description, s.Context, n.Branch}
	default:
		body = struct {
			V           int    `json:"v"`
			App         string `json:"app"`
			Target      string `json:"target"`
			Version     string `json:"version"`
			Commit      string `json:"commit"`
			Branch      string `json:"branch"`
			State       State  `json:"state"`
			Description string `json:"description"`
			Context     string `json:"context"`
			Link        string `json:"link,omitempty"`
		}{1, n.App, n.Target, n.Version, n.Commit, n.Branch, n.State, description, s.Context, n.Link}
	}
	if token != "" {
		r.Header[header] = before + token
	}
	var err error
	r.Body, err = json.Marshal(body)
	return r, err
}
