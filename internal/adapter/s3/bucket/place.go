package bucket

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice"
)

// anyRegion is signed for where nobody says a region: stores of one's own take it.
const anyRegion = "us-east-1"

const form = "s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION&path-style=true"

// Place is a prefix of a bucket.
type Place struct {
	Bucket string
	Prefix string // "" or with a slash at the end
	// Endpoint is the URL of the store; "" for what the environment says, or AWS.
	Endpoint string
	Region   string // "" for what the environment says
	// PathStyle has the bucket in the path and not in the name of the host.
	PathStyle bool
}

func (p Place) String() string { return "s3://" + p.Bucket + "/" + strings.TrimSuffix(p.Prefix, "/") }

// Parse reads an s3:// URL. flag is what it was given with, for errors.
func Parse(flag, text string) (Place, error) {
	wrong := func(format string, args ...any) *sluice.Error {
		return sluice.Errorf(sluice.Usage, flag+": "+format, args...).WithHint("such as %s", form)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Port() != "" || u.Fragment != "" {
		return Place{}, wrong("%q names no bucket", text)
	}
	if u.User != nil {
		return Place{}, wrong("everybody on the machine could see a key that is on the command line").
			WithHint("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or ~/.aws/credentials")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Place{}, wrong("%v", err)
	}
	for name, values := range query {
		if !slices.Contains([]string{"endpoint", "region", "path-style"}, name) || len(values) != 1 {
			return Place{}, wrong("%q is no option of a bucket, or there twice; there are endpoint, region and path-style", name)
		}
	}
	p := Place{Bucket: u.Host, Region: query.Get("region"), Endpoint: query.Get("endpoint")}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		p.Prefix = prefix + "/"
	}
	if p.Endpoint != "" {
		if err := endpoint(p.Endpoint, wrong); err != nil {
			return Place{}, err
		}
		p.PathStyle = true // what stores of one's own understand, as a rule
	}
	if style := query.Get("path-style"); style != "" {
		if p.PathStyle, err = strconv.ParseBool(style); err != nil {
			return Place{}, wrong("path-style is true or false, not %q", style)
		}
	}
	return p, nil
}

// endpoint looks at the URL of a store. What is kept is not encrypted, so it goes over no network in clear text.
func endpoint(text string, wrong func(format string, args ...any) *sluice.Error) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return wrong("the endpoint %q is no URL of a store", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return wrong("the endpoint is the URL of the store alone, such as https://%s", u.Host)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return wrong("without TLS everybody on the way to %s could read what is kept there", u.Host).WithHint("endpoint=https://%s", u.Host)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
