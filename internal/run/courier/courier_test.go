package courier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/core/webhook"
	"sluice/internal/lab/fake"
	"sluice/internal/run/courier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files are in memory, and outlive couriers.
type files struct {
	mu      sync.Mutex
	secrets map[sluice.WebhookID]string
	places  map[sluice.WebhookID]map[sluice.Namespace]uint64
}

func (f *files) Secret(id sluice.WebhookID) (sluice.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.secrets[id]
	if !ok {
		return sluice.Secret{}, errors.New("no secret")
	}
	return sluice.NewSecret([]byte(s)), nil
}

func (f *files) SetSecret(id sluice.WebhookID, s sluice.Secret) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets[id] = string(s.Reveal())
	return nil
}

func (f *files) Places(id sluice.WebhookID) (map[sluice.Namespace]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[sluice.Namespace]uint64{}
	maps.Copy(out, f.places[id])
	return out, nil
}

func (f *files) SetPlaces(id sluice.WebhookID, p map[sluice.Namespace]uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places[id] = maps.Clone(p)
	return nil
}

func (f *files) Remove(id sluice.WebhookID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.secrets, id)
	delete(f.places, id)
	return nil
}

// post is something that was sent.
type post struct {
	url, delivery, event, signature, body string
	at                                    time.Time
}

// world is a log with a courier on it, in a bubble of synctest.
type world struct {
	t     *testing.T
	log   *fake.Log
	files *files
	*courier.Courier
	end func()

	mu      sync.Mutex
	posts   []post
	answer  func(p post) error // nil: taken
	counted map[string]int
	told    []string
}

func newWorld(t *testing.T) *world {
	return &world{t: t, log: fake.NewLog(), counted: map[string]int{},
		files: &files{secrets: map[sluice.WebhookID]string{}, places: map[sluice.WebhookID]map[sluice.Namespace]uint64{}}}
}

func (w *world) start() {
	w.Courier = courier.New(courier.Config{Log: w.log, Files: w.files, Clock: time.Now, Post: w.post, Chance: func() float64 { return .5 },
		Counted: func(r string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.counted[r]++
		},
		Trouble: func(text string, id sluice.WebhookID) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, string(id)+": "+text)
		}})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	w.end = func() {
		cancel()
		<-done
	}
	synctest.Wait()
}

func (w *world) post(_ context.Context, url string, h map[string]string, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := post{url, h[webhook.HeaderDelivery], h[webhook.HeaderEvent], h[webhook.HeaderSignature], string(body), time.Now()}
	w.posts = append(w.posts, p)
	if w.answer == nil {
		return nil
	}
	return w.answer(p)
}

func (w *world) set(id sluice.WebhookID, events ...string) string {
	w.t.Helper()
	s, err := w.Set(w.t.Context(), sluice.Webhook{ID: id, URL: "https://" + string(id) + ".example.com/", Events: events}, false, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return string(s.Reveal())
}

// hold appends events, and rings.
func (w *world) hold(ns sluice.Namespace, hosts ...sluice.Host) {
	w.t.Helper()
	_, err := w.log.Update(w.t.Context(), ns, 0, func([]sluice.Event) (out []sluice.Event, err error) {
		for _, h := range hosts {
			out = append(out, sluice.Event{Time: time.Now(), Body: sluice.HostHeld{Host: h, Reason: "r", By: "ann"}})
		}
		return out, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Ring()
	synctest.Wait()
}

// count is how many attempts went that way so far.
func (w *world) count(result string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counted[result]
}

// troubles are those that were told.
func (w *world) troubles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

func (w *world) sent() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		out = append(out, p.delivery)
	}
	return out
}

func (w *world) answers(f func(post) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func is(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestNewsOnly: a new webhook gets what comes from then on, from all namespaces, signed, and what it asked for alone.
func TestNewsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		w.hold("prod", "old1", "old2")
		secret := w.set("chat", "host.held")
		w.set("none", "job.*")
		w.hold("prod", "a", "b")
		w.hold("lab", "x")
		is(t, "sent", w.sent(), "chat-prod-3", "chat-prod-4", "chat-lab-1")
		for _, p := range w.posts {
			var at int64
			if _, err := fmt.Sscanf(p.signature, "t=%d,", &at); err != nil {
				t.Fatal(err)
			}
			if p.signature != webhook.Signature([]byte(secret), time.Unix(at, 0), []byte(p.body)) || p.event != "host.held" || !json.Valid([]byte(p.body)) {
				t.Errorf("%+v", p)
			}
		}
		if r := w.Report("chat"); r.Delivered != 3 || !r.Waiting.IsZero() {
			t.Errorf("%+v", r)
		}
		log, err := w.log.Read(t.Context(), sluice.WebhookNamespace, 0, 100)
		if b, _ := json.Marshal(log); err != nil || strings.Contains(string(b), secret) || !strings.HasPrefix(secret, "slwh_") {
			t.Errorf("the secret %s is in the log, or is none: %s %v", secret, b, err)
		}
	})
}

// TestAChat: it gets sentences, of what was known when it happened.
func TestAChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		_, err := w.Set(t.Context(), sluice.Webhook{ID: "chat", URL: "https://chat.example.com/", Events: []string{"job.*"}, Form: sluice.WebhookText}, false, "ann")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		const id = "0123456789ab"
		job := sluice.Job{ID: id, By: "ann", Command: "deploy shop@1.2 to prod", Targets: []sluice.Host{"web1"}}
		_, err = w.log.Update(t.Context(), "prod", 0, func([]sluice.Event) (out []sluice.Event, err error) {
			for _, b := range []sluice.Body{sluice.JobSubmitted{Submitted: job}, sluice.TaskFinished{Host: "web1", Outcome: sluice.Succeeded,
				Release: &sluice.Activation{Before: sluice.Installed{Version: "1.1"}, Live: sluice.Installed{Version: "1.2"}}},
				sluice.JobFinished{Outcome: sluice.Succeeded, Counts: map[sluice.Outcome]int{sluice.Succeeded: 1}}} {
				out = append(out, sluice.Event{Time: time.Now(), Job: id, Body: b})
			}
			return out, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Ring()
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		var got []string
		for _, p := range w.posts {
			got = append(got, p.body)
		}
		is(t, "said", got, `{"text":"deploy shop@1.2 to prod by ann: submitted, for 1 host (job 0123456789ab in prod)"}`,
			`{"text":"deploy shop@1.2 to prod by ann: succeeded after 0s: 1 host succeeded; 1 host from 1.1 to 1.2 (job 0123456789ab in prod)"}`)
	})
}

// TestOrderAndPatience: what is not taken is sent again, at growing intervals, and nothing overtakes it; another webhook does
// not wait for that, nor does the log.
func TestOrderAndPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		w.set("slow", "*")
		w.set("fine", "*")
		down := true
		w.answers(func(p post) error {
			if down && strings.HasPrefix(p.delivery, "slow") {
				return errors.New("status 503")
			}
			return nil
		})
		begin := time.Now()
		w.hold("prod", "a", "b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var slow []time.Duration
		for _, p := range w.posts {
			if p.delivery == "slow-prod-1" {
				slow = append(slow, p.at.Sub(begin))
			}
		}
		if want := []time.Duration{0, 750 * time.Millisecond, 2250 * time.Millisecond, 5250 * time.Millisecond}; !slices.Equal(slow, want) {
			t.Errorf("tries after %v, want %v", slow, want)
		}
		if r := w.Report("slow"); r.Tries != 4 || r.Error != "status 503" || !r.Waiting.Equal(begin) || !r.Next.After(time.Now()) {
			t.Errorf("%+v", r)
		}
		if d := w.Waiting(); d["slow"] != 10*time.Second || d["fine"] != 0 {
			t.Errorf("waiting %v", d)
		}
		w.mu.Lock()
		down, w.posts = false, slices.DeleteFunc(w.posts, func(p post) bool { return p.delivery == "slow-prod-1" })
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		is(t, "sent", w.sent(), "fine-prod-1", "fine-prod-2", "slow-prod-1", "slow-prod-2")
		if f, d, told := w.count("failed"), w.count("delivered"), w.troubles(); f != 4 || d != 4 || len(told) != 1 {
			t.Errorf("failed %d, delivered %d, told %q", f, d, told)
		}
	})
}

// TestGivenUpAfterADay: then the next one has its turn, and the log says so.
func TestGivenUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		w.set("chat", "*")
		w.answers(func(post) error { return errors.New("status 500") })
		w.hold("prod", "a")
		time.Sleep(23*time.Hour + 50*time.Minute)
		w.hold("prod", "b")
		synctest.Wait()
		if n := w.count("given_up"); n != 0 {
			t.Errorf("given up before a day: %d", n)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if n := w.count("given_up"); n != 1 {
			t.Errorf("given up: %d", n)
		}
		w.answers(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		sent := w.sent()
		if last := sent[len(sent)-1]; last != "chat-prod-2" || w.count("delivered") != 1 {
			t.Errorf("the last is %s; delivered %d", last, w.count("delivered"))
		}
		log, err := w.log.Read(t.Context(), sluice.WebhookNamespace, 0, 100)
		if err != nil || len(log) != 2 {
			t.Fatalf("%v, error %v", log, err)
		}
		if b, ok := log[1].Body.(sluice.WebhookGaveUp); !ok || b.In != "prod" || b.Event != 1 || b.What != "host.held" || b.Tries < 100 || b.Reason != "status 500" {
			t.Errorf("%+v", log[1].Body)
		}
	})
}

// TestRestart: what was not taken comes again from the next process, and what was does not.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.set("chat", "*")
		w.hold("prod", "a")
		w.answers(func(post) error { return errors.New("refused") })
		w.hold("prod", "b", "c")
		w.end()
		w.hold("prod", "d") // while nobody is there
		w.answers(nil)
		w.posts = nil
		w.start()
		is(t, "sent", w.sent(), "chat-prod-2", "chat-prod-3", "chat-prod-4")
		w.end()
	})
}

// TestChanges: a webhook that is changed goes on where it was, with its secret; one that is removed sends nothing more, and
// starts afresh if it is made again.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		first := w.set("chat", "host.*")
		w.hold("prod", "a")
		if again := w.set("chat", "job.*"); again != "" {
			t.Errorf("the secret is shown again: %s", again)
		}
		w.hold("prod", "b")
		w.set("chat", "*")
		w.hold("prod", "c")
		is(t, "sent", w.sent(), "chat-prod-1", "chat-prod-3")
		s, err := w.Set(t.Context(), sluice.Webhook{ID: "chat", URL: "https://x/", Events: []string{"*"}}, true, "ann")
		if err != nil || string(s.Reveal()) == first || !s.Set() {
			t.Errorf("renewed: %v", err)
		}
		if err := w.Remove(t.Context(), "chat", "ann"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.hold("prod", "d")
		if len(w.files.secrets) > 0 || len(w.files.places) > 0 || len(w.Waiting()) > 0 {
			t.Errorf("left: %v %v %v", w.files.secrets, w.files.places, w.Waiting())
		}
		if err := w.Remove(t.Context(), "chat", "ann"); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("%v", err)
		}
		w.set("chat", "*")
		w.hold("prod", "e")
		is(t, "sent", w.sent(), "chat-prod-1", "chat-prod-3", "chat-prod-5")
		list, err := w.List(t.Context())
		if err != nil || len(list) != 1 || list[0].By != "ann" {
			t.Errorf("%v, error %v", list, err)
		}
	})
}

func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		w.set("chat", "job.*")
		if err := w.Test(t.Context(), "chat"); err != nil {
			t.Fatal(err)
		}
		if p := w.posts[0]; p.event != webhook.TestType || !strings.HasPrefix(p.delivery, "test-") {
			t.Errorf("%+v", p)
		}
		w.answers(func(post) error { return errors.New("status 404") })
		if err := w.Test(t.Context(), "chat"); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "status 404") {
			t.Errorf("%v", err)
		}
		if err := w.Test(t.Context(), "tchat"); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("%v", err)
		}
	})
}

// TestTheLogFails: an error of the log is told, and nothing is lost or sent twice by it.
func TestTheLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer w.end()
		w.set("chat", "*")
		w.log.Faults.Set(fake.LogRead, fake.Once(errors.New("busy")))
		w.hold("prod", "a")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.hold("prod", "b")
		is(t, "sent", w.sent(), "chat-prod-1", "chat-prod-2")
		if told := w.troubles(); len(told) != 1 || !strings.Contains(told[0], "busy") {
			t.Errorf("told %q", told)
		}
	})
}
