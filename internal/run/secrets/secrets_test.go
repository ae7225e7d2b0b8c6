package secrets

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
)

func secret(s string) sluice.Secret { return sluice.NewSecret([]byte(s)) }

func TestTheFirstGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Of{Login: secret("x")})
		var using, most atomic.Int32
		ends := make(chan struct{})
		for range 20 {
			go func() {
				_, done, err := k.Login(t.Context(), "h")
				if err != nil {
					t.Error(err)
					return
				}
				n := using.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-ends
				using.Add(-1)
				done(true)
			}()
		}
		synctest.Wait()
		if n := using.Load(); n != 1 {
			t.Fatalf("%d hosts try a password that nobody accepted yet", n)
		}
		ends <- struct{}{}
		synctest.Wait()
		if n := using.Load(); n != 19 {
			t.Fatalf("%d of 19 go on after the first was accepted", n)
		}
		close(ends)
		synctest.Wait()
	})
}

func TestTwoRefusalsAreTheEnd(t *testing.T) {
	k := New(Of{Login: secret("x"), Sudo: secret("y")})
	for range 2 {
		_, done, err := k.Login(t.Context(), "h")
		if err != nil {
			t.Fatal(err)
		}
		done(false)
		done(false) // counts once
	}
	if _, _, err := k.Login(t.Context(), "h"); !errors.Is(err, sluice.ErrSecretRefused) {
		t.Errorf("the third host gets %v", err)
	}
	if _, done, err := k.Sudo(t.Context(), "h"); err != nil {
		t.Errorf("another secret is another matter: %v", err)
	} else {
		done(true)
	}
}

func TestWhoWaitsLearnsOfTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Of{Login: secret("x")})
		var refused, got atomic.Int32
		for range 10 {
			go func() {
				_, done, err := k.Login(t.Context(), "h")
				if errors.Is(err, sluice.ErrSecretRefused) {
					refused.Add(1)
					return
				}
				got.Add(1)
				done(false)
			}()
		}
		synctest.Wait()
		if got.Load() != 2 || refused.Load() != 8 {
			t.Errorf("%d tried it, %d were spared", got.Load(), refused.Load())
		}
	})
}

func TestWaitingListensToTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Of{Login: secret("x")})
		_, done, _ := k.Login(t.Context(), "first")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := k.Login(ctx, "second"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		done(true)
	})
}

func TestNothingGiven(t *testing.T) {
	k := New(Of{})
	if _, _, err := k.Login(t.Context(), "h"); !errors.Is(err, sluice.ErrNoSecret) {
		t.Errorf("login: %v", err)
	}
	if _, err := k.Passphrase(); !errors.Is(err, sluice.ErrNoSecret) {
		t.Errorf("passphrase: %v", err)
	}
	if len(k.Values()) != 0 {
		t.Error("there are values")
	}
}

func TestWipe(t *testing.T) {
	text := []byte("hunter2")
	k := New(Of{Login: sluice.NewSecret(text)})
	k.Wipe()
	for _, b := range text {
		if b != 0 {
			t.Fatal("the text is still there")
		}
	}
}
