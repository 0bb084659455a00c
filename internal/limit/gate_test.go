package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAGateTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(Upstream{Trips: 1, Queue: 100})
		leave, err := g.Enter(t.Context(), address(0).Subject())
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan string, 100)
		for _, name := range []string{"a1", "a2", "a3", "a4", "b1", "b2", "c1"} {
			go func() {
				leave, err := g.Enter(t.Context(), Subject{token: name[:1]})
				if err != nil {
					t.Errorf("Enter(%s) = %v, want its turn", name, err)
					return
				}
				order <- name
				leave()
				leave()
			}()
			synctest.Wait() // it stands in line
		}
		leave()
		got := ""
		for range 7 {
			got += <-order + " "
		}
		if want := "a1 b1 c1 a2 b2 a3 a4 "; got != want {
			t.Errorf("turns = %s, want %s", got, want)
		}
		synctest.Wait()
		if under, waiting := g.Load(); under != 0 || waiting != 0 {
			t.Errorf("%d under way and %d waiting at the end, want none", under, waiting)
		}
	})
}

func TestAFullGateRefusesWhoHasMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(Upstream{Trips: 1, Queue: 4, Wait: time.Minute})
		if _, err := g.Enter(t.Context(), Subject{}); err != nil {
			t.Fatal(err)
		}
		type result struct {
			name string
			err  error
		}
		results := make(chan result, 100)
		enter := func(name string) {
			go func() {
				_, err := g.Enter(t.Context(), Subject{token: name[:1]})
				results <- result{name, err}
			}()
			synctest.Wait()
		}
		refused := func(want string) {
			t.Helper()
			select {
			case r := <-results:
				var refusal *Refusal
				if r.name != want || !errors.As(r.err, &refusal) || refusal.Status != 503 {
					t.Errorf("%s is refused with %v, want %s with a Refusal of status 503", r.name, r.err, want)
					return
				}
				checkFields(t, refusal, map[string]string{"Ratelimit-Policy": `"hub-upstream";q=1;qu="concurrent-requests"`}, [2]time.Duration{time.Second, time.Minute})
			default:
				t.Errorf("nobody is refused, want %s", want)
			}
		}
		for i := range 4 {
			enter(fmt.Sprintf("a%d", i))
		}
		enter("a4")
		refused("a4") // its own client has most
		enter("b0")
		refused("a3") // whoever came last of those who have most
		enter("b1")
		refused("a2")
		enter("b2")
		refused("b2") // both have two
		enter("c0")
		refused("a1")
		enter("a5")
		refused("a5") // it would have two then, as many as the other has now
		start := time.Now()
		for range 4 { // a0 b0 b1 c0: no turn comes
			if r := <-results; !errors.Is(r.err, ErrRefused) || time.Since(start) > time.Minute {
				t.Errorf("%s = %v after %v, want a refusal after the longest wait", r.name, r.err, time.Since(start))
			}
		}
		if under, waiting := g.Load(); under != 1 || waiting != 0 {
			t.Errorf("%d under way and %d waiting, want 1 and none", under, waiting)
		}
	})
}

func TestAGateUnderLoadLosesNoTurn(t *testing.T) {
	l := New(Config{Hubs: map[string]Hub{"h": {Upstream: Upstream{Trips: 4, Queue: 1000}}}})
	g := l.Gate("h")
	var under, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(With(context.Background(), Subject{token: fmt.Sprint(i % 7)}))
			defer cancel()
			if i%5 == 0 {
				time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
			}
			leave, err := g.Enter(ctx, From(ctx))
			if err != nil {
				return
			}
			n := under.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			under.Add(-1)
			leave()
		})
	}
	wg.Wait()
	if u, w := g.Load(); u != 0 || w != 0 || most.Load() > 4 {
		t.Errorf("%d under way and %d waiting at the end, at most %d at a time; want 0, 0 and at most 4", u, w, most.Load())
	}
	if l.Gate("h") != g || (*Limiter)(nil).Gate("h") != nil {
		t.Error("Gate gives another gate, want the one of the hub, and none without a Limiter")
	}
}
