package limit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A sender is a client that has so many connections, each of which sends what it is granted for so long before it asks again.
type sender struct {
	who   Client
	conns int
	busy  time.Duration
	churn bool // a lease for each grant
	sent  atomic.Int64
}

// send runs senders for d and returns what they have sent in all.
func send(t *testing.T, l *Limiter, d time.Duration, senders []*sender) (total int64) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range senders {
		for range s.conns {
			wg.Go(func() { s.run(ctx, l) })
		}
	}
	wg.Wait()
	for _, s := range senders {
		total += s.sent.Load()
	}
	return total
}

func (s *sender) run(ctx context.Context, l *Limiter) {
	var lease *Lease
	for ctx.Err() == nil {
		if lease == nil {
			lease, _ = l.Admit(s.who, "h", time.Now())
		}
		n, err := lease.Grant(ctx, 1<<30)
		s.sent.Add(n)
		if err == nil && s.busy > 0 {
			err = pause(ctx, s.busy)
		}
		if s.churn || err != nil {
			lease.Close()
			lease = nil
		}
	}
}

func TestOneOfTwoHundredTakesNoMoreThanItsShare(t *testing.T) {
	for _, row := range []struct {
		claim string
		churn bool
		busy  time.Duration
	}{
		{"with a hundred connections that stay", false, 0},
		{"with a new connection for each grant", true, 0},
		{"while the others take their time to send", false, 20 * time.Millisecond},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rate, clients, duration = 100 << 20, 200, 20 * time.Second
				l := New(Config{Egress: rate})
				senders := []*sender{{who: address(0), conns: 100, churn: row.churn}}
				for i := 1; i < clients; i++ {
					senders = append(senders, &sender{who: address(i), conns: 1, busy: row.busy})
				}
				total := send(t, l, duration, senders)
				fair := float64(rate) * duration.Seconds() / clients
				for i, s := range senders {
					if got := float64(s.sent.Load()) / fair; got < 0.8 || got > 1.2 {
						t.Errorf("client %d with %d connections got %.2f of its share, want 0.8 to 1.2", i, s.conns, got)
					}
				}
				if got := float64(total) / (rate * duration.Seconds()); got < 0.98 || got > 1.02 {
					t.Errorf("all have got %.3f of what there is, want all of it", got)
				}
			})
		})
	}
}

func TestWhatSomeDoNotTakeOthersGet(t *testing.T) {
	for _, row := range []struct {
		claim   string
		senders []*sender
		want    []float64 // of the rate
	}{
		{"one alone has all", []*sender{{who: address(1), conns: 1}}, []float64{1}},
		{"two have half each, whatever their connections", []*sender{{who: address(1), conns: 1}, {who: address(2), conns: 50}}, []float64{0.5, 0.5}},
		{"a slow one leaves the rest", []*sender{{who: address(1), conns: 1, busy: 100 * time.Millisecond}, {who: address(2), conns: 3}}, []float64{0.01, 0.99}},
		{"one that comes anew for each file has no more", []*sender{{who: address(1), conns: 1, churn: true}, {who: address(2), conns: 1},
			{who: address(3), conns: 1}, {who: address(4), conns: 1}, {who: address(5), conns: 1}}, []float64{0.2, 0.2, 0.2, 0.2, 0.2}},
		{"shares go by weight", []*sender{{who: Client{Token: "three"}, conns: 4}, {who: address(2), conns: 4}}, []float64{0.75, 0.25}},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rate, duration = 10 << 20, 30 * time.Second
				l := New(Config{Egress: rate, Tokens: map[string]Limits{"three": {Weight: 3}}})
				send(t, l, duration, row.senders)
				for i, s := range row.senders {
					got := float64(s.sent.Load()) / (rate * duration.Seconds())
					if got < row.want[i]-0.02 || got > row.want[i]+0.02 {
						t.Errorf("client %d got %.3f of the rate, want %.2f", i, got, row.want[i])
					}
				}
			})
		})
	}
}

func TestALateComerWaitsForNobodysPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		l := New(Config{Egress: rate})
		old, late := &sender{who: address(1), conns: 20}, &sender{who: address(2), conns: 1}
		var wg sync.WaitGroup
		wg.Go(func() { send(t, l, time.Minute, []*sender{old}) })
		time.Sleep(30 * time.Second) // of the bubble's clock
		before := old.sent.Load()
		wg.Go(func() { send(t, l, 10*time.Second, []*sender{late}) })
		time.Sleep(10 * time.Second)
		a, b := float64(old.sent.Load()-before)/(10*rate), float64(late.sent.Load())/(10*rate)
		if a < 0.45 || b < 0.45 {
			t.Errorf("the old one got %.2f and the late one %.2f of the rate, want half each", a, b)
		}
		wg.Wait()
	})
}

func TestWhoGoesWhileWaitingCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEgress(1 << 20)
		f, other := e.join(address(1).Subject(), 1), e.join(address(2).Subject(), 1)
		if err := e.wait(t.Context(), f, 1<<20); err != nil { // a second's worth
			t.Fatal(err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := e.wait(ctx, f, 1<<20); !errors.Is(err, gone) {
					t.Errorf("wait of one that left = %v, want the cause", err)
				}
			})
		}
		synctest.Wait()
		cancel(gone)
		wg.Wait()
		start := time.Now()
		if err := e.wait(t.Context(), other, 1000); err != nil || time.Since(start) > 1100*time.Millisecond {
			t.Errorf("wait behind those that left = %v after %v, want it after the first second", err, time.Since(start))
		}
		if n := e.Waiting(); n != 0 {
			t.Errorf("%d wait, want none", n)
		}
		e.part(f)
		e.part(other)
	})
}

func TestAGrantThatNobodyTookIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEgress(1 << 30)
		time.Sleep(time.Second) // of the bubble's clock: the line has been idle
		f := e.join(address(1).Subject(), 1)
		defer e.part(f)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		taken := 0
		for range 100 { // the grant is there at once, and the end of the context too: either may be seen first
			if e.wait(gone, f, 1000) == nil {
				taken++
			}
		}
		if want := e.burst() - float64(taken)*1000; e.credit != want {
			t.Errorf("after %d grants of 100 were taken the credit is %g, want %g", taken, e.credit, want)
		}
	})
}

func TestWhoComesBackIsNoNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEgress(1 << 20)
		other := e.join(address(2).Subject(), 1)
		defer e.part(other)
		f := e.join(address(1).Subject(), 1)
		if err := e.wait(t.Context(), f, 1000); err != nil {
			t.Fatal(err)
		}
		served := f.finish
		e.part(f)
		again := e.join(address(1).Subject(), 1)
		defer e.part(again)
		if again.finish != served || served <= e.virtual {
			t.Errorf("a client that closed and came back is tagged %g at %g, want %g, ahead of the others", again.finish, e.virtual, served)
		}
	})
}

func TestFlowsOfThePastAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Egress: 10 << 20})
		for i := range 5000 {
			lease := admit(t, l, address(i), "h", time.Now())
			if err := lease.Wait(t.Context(), 10_000); err != nil {
				t.Fatal(err)
			}
			lease.Close()
		}
		if n := len(l.egress.flows); n > 200 {
			t.Errorf("%d flows are held for no connection, want few", n)
		}
	})
}

func TestAStreamOfNewcomersStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10 << 20
		l := New(Config{Egress: rate})
		old := &sender{who: address(0), conns: 1}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { old.run(ctx, l) })
		var next atomic.Int64
		for range 9 { // at any time nine clients that were never seen before
			wg.Go(func() {
				for ctx.Err() == nil {
					(&sender{who: address(int(next.Add(1))), conns: 1, churn: true}).once(ctx, l)
				}
			})
		}
		wg.Wait()
		if got := float64(old.sent.Load()) / (10 * rate); got < 0.08 || got > 0.13 {
			t.Errorf("the old one got %.3f of the rate beside nine newcomers at a time, want about a tenth", got)
		}
	})
}

func (s *sender) once(ctx context.Context, l *Limiter) {
	lease, _ := l.Admit(s.who, "h", time.Now())
	defer lease.Close()
	n, _ := lease.Grant(ctx, 1<<30)
	s.sent.Add(n)
}

func TestTheRateCanChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Egress: 1})
		lease := admit(t, l, address(1), "h", time.Now())
		defer lease.Close()
		if err := lease.Wait(t.Context(), smallGrain); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- lease.Wait(t.Context(), 1<<30) }()
		synctest.Wait()
		l.Apply(Config{})
		start := time.Now()
		if err := <-done; err != nil || time.Since(start) != 0 {
			t.Errorf("Wait when the limit went = %v after %v, want at once", err, time.Since(start))
		}
	})
}
