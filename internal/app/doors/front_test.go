package doors

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// says answers at once.
func says(text string) Answers {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, text)
		return true
	}
}

func asked(f *Front) string {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/jobs", nil))
	return w.Body.String()
}

// TestBetweenLives: who comes between two lives, or is not answered by the one, waits for the next.
func TestBetweenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFront(&http.Server{})
		defer f.Close(0)
		got := make(chan string, 2)
		go func() { got <- asked(f) }()
		synctest.Wait()
		refuses := f.Begin(func(http.ResponseWriter, *http.Request) bool { return false })
		synctest.Wait()
		go func() { got <- asked(f) }()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatalf("answered with %q by one that does not", <-got)
		}
		refuses.Stop(time.Second)
		next := f.Begin(says("the next"))
		defer next.Stop(0)
		if a, b := <-got, <-got; a != "the next" || b != "the next" {
			t.Errorf("answered with %q and %q", a, b)
		}
	})
}

// TestPass: what comes another way is answered in the shift that is meant, has as long to end in as the rest when that ends, and is cut off then.
func TestPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFront(&http.Server{})
		defer f.Close(0)
		pass := func(wanted bool) bool {
			return f.Pass(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v1/jobs", nil), func() bool { return wanted })
		}
		if pass(true) {
			t.Error("answered between two lives")
		}
		cut := make(chan time.Duration, 1)
		began := time.Now()
		s := f.Begin(func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			cut <- time.Since(began)
			return true
		})
		if pass(false) {
			t.Error("answered in a shift that is not meant")
		}
		go pass(true)
		synctest.Wait()
		s.Stop(3 * time.Second)
		if took := <-cut; took != 3*time.Second || time.Since(began) != took {
			t.Errorf("cut off after %v, and the shift ended after %v", took, time.Since(began))
		}
		if pass(true) {
			t.Error("answered when the shift has ended")
		}
	})
}

// TestWhoDoesNotRead: who reads nothing of an answer does not hold up the end of a shift, whatever the handler looks at.
func TestWhoDoesNotRead(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"HTTP/1": (*httptest.Server).Start,
		"HTTP/2": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFront(&http.Server{})
			defer f.Close(0)
			began := make(chan struct{})
			shift := f.Begin(func(w http.ResponseWriter, _ *http.Request) bool {
				close(began)
				for {
					if _, err := w.Write(make([]byte, 1<<20)); err != nil {
						return true
					}
				}
			})
			s := httptest.NewUnstartedServer(f)
			start(s)
			defer s.Close()
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			<-began
			shift.Stop(0) // it ends
		})
	}
}
