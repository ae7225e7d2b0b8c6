package httpapi

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// worthwhile is the size from which on an answer is compressed: what fits into one packet is no faster for it.
const worthwhile = 1400

// compressed is an answer to a question (GET) that goes out compressed, if it is JSON, large, and whoever asks takes it.
//
// The length of compressed text tells something about a secret that stands in it beside text of an attacker's choice. So
// only answers to questions are compressed: secrets, such as a new token, are handed out in answers to wishes (POST) alone,
// and nothing that is asked with a question stands in its answer. Output of hosts is no JSON.
type compressed struct {
	http.ResponseWriter
	pool   *sync.Pool
	status int // that waits for the first bytes
	gz     *gzip.Writer
}

// compresses is the writer for an answer, and what must be called at its end.
func (a *API) compresses(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, func()) {
	if r.Method != http.MethodGet || !takesGzip(r.Header.Values("Accept-Encoding")) {
		return w, func() {}
	}
	c := &compressed{ResponseWriter: w, pool: &a.gzips}
	return c, c.end
}

func takesGzip(accept []string) bool {
	for _, one := range strings.Split(strings.Join(accept, ","), ",") {
		name, q, _ := strings.Cut(one, ";")
		q = strings.ReplaceAll(q, " ", "")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") && q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000" {
			return true
		}
	}
	return false
}

// WriteHeader waits for the first bytes of an answer that may be compressed: they say whether it is worthwhile.
func (c *compressed) WriteHeader(status int) {
	if status == http.StatusOK && c.Header().Get("Content-Type") == "application/json" && c.Header().Get("Content-Encoding") == "" {
		c.Header().Add("Vary", "Accept-Encoding")
		c.status = status
		return
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressed) Write(b []byte) (int, error) {
	if c.status != 0 {
		if len(b) >= worthwhile {
			c.Header().Del("Content-Length")
			c.Header().Set("Content-Encoding", "gzip")
			c.gz, _ = c.pool.Get().(*gzip.Writer)
			if c.gz == nil {
				c.gz, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a good one
			}
			c.gz.Reset(c.ResponseWriter)
		}
		c.pass()
	}
	if c.gz != nil {
		return c.gz.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// pass writes the status that waits.
func (c *compressed) pass() {
	if status := c.status; status != 0 {
		c.status = 0
		c.ResponseWriter.WriteHeader(status)
	}
}

// end writes what is left.
func (c *compressed) end() {
	c.pass()
	if c.gz != nil {
		_ = c.gz.Close() // who is gone wants no more
		c.pool.Put(c.gz)
		c.gz = nil
	}
}

// Unwrap lets flushing and deadlines through.
func (c *compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }
