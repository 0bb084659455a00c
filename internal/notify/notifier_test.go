package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A box is a sink that keeps what it gets, after it has answered with its errors, one for each try.
type box struct {
	mu    sync.Mutex
	got   []Message
	times []time.Time
	tries int
	errs  []error
	takes time.Duration // for one message
	kinds []Kind
}

func (b *box) Send(ctx context.Context, m Message) error {
	await(ctx, b.takes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if len(b.errs) > 0 {
		err := b.errs[0]
		b.errs = b.errs[1:]
		if err != nil {
			return err
		}
	}
	b.got = append(b.got, m)
	b.times = append(b.times, time.Now())
	return nil
}

func (b *box) String() string { return "box" }

func (b *box) Kinds() []Kind { return b.kinds }

func (b *box) messages() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Message(nil), b.got...)
}

// start runs a notifier in a bubble and returns what ends it and waits for its end.
func start(t *testing.T, c Config) (*Notifier, func()) {
	n := New(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want the context's end", err)
		}
	}
}

func event(subject string) Event {
	return Event{Kind: UpstreamFailed, Subject: subject, Text: "no upstream answered"}
}

func TestTheSameIsToldOnceAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		n, stop := start(t, Config{Sinks: []Sink{b}, Instance: "lab"})
		defer stop()
		for range 100 {
			n.Tell(event("https://a.example/x"))
		}
		n.Tell(event("https://a.example/y"))
		n.Tell(Event{Kind: IntegrityFailure, Subject: "https://a.example/x"})
		synctest.Wait()
		if got := b.messages(); len(got) != 3 || got[0].Again != 0 || got[0].Instance != "lab" {
			t.Fatalf("%d messages, the first %+v; want one for each kind and subject", len(got), got)
		}
		time.Sleep(time.Hour + time.Second) // of the bubble's clock
		synctest.Wait()
		if got := b.messages(); len(got) != 4 || got[3].Again != 99 || got[3].Subject != "https://a.example/x" {
			t.Fatalf("after a window: %d messages, the last %+v; want one more that tells of 99", len(got), got[len(got)-1])
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := b.messages(); len(got) != 4 {
			t.Errorf("after three quiet windows: %d messages, want none more", len(got))
		}
		if len(n.seen) != 0 || len(n.order) != 0 {
			t.Errorf("%d topics are held after quiet windows, want none", len(n.seen))
		}
		n.Tell(event("https://a.example/x"))
		synctest.Wait()
		if got := b.messages(); len(got) != 5 || got[4].ID == got[0].ID {
			t.Errorf("when it happens again: %d messages, want one more with an id of its own", len(got))
		}
	})
}

func TestNoHourHasMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{}
		n, stop := start(t, Config{Sinks: []Sink{b}, PerHour: 30, Window: 24 * time.Hour})
		const events = 2000
		for i := range events {
			n.Tell(event(fmt.Sprintf("https://a.example/%d", i)))
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		stop()
		told := 0
		for i, m := range b.got {
			in := 0
			for _, at := range b.times[i:] {
				if at.Sub(b.times[i]) < time.Hour {
					in++
				}
			}
			if in > 30 && i < len(b.got)-30 { // the last one is told at the end whatever the hour
				t.Errorf("%d messages in the hour from the %dth on, want 30", in, i)
				break
			}
			if m.Kind != HeldBack {
				told++
				continue
			}
			var count int
			fmt.Sscan(m.Fields[string(UpstreamFailed)], &count)
			told += count
			if !strings.Contains(m.Text, "https://a.example/") {
				t.Errorf("a summary says %q, want what it is about", m.Text)
			}
		}
		distinct := mostSubjects + 1 // all others are one
		if told < distinct-1 || len(b.got) < 60 {
			t.Errorf("%d of %d events are told in %d messages, want all of them in some or other way", told, distinct, len(b.got))
		}
	})
}

func TestTellNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{takes: time.Hour}
		n := New(Config{Sinks: []Sink{b}})
		for i := range 10 * mostPending { // nobody runs it
			n.Tell(event(fmt.Sprint(i)))
		}
		if len(n.seen) > mostSubjects+1 {
			t.Errorf("%d topics are held, want at most %d", len(n.seen), mostSubjects+1)
		}
		(*Notifier)(nil).Tell(event("x"))
		New(Config{}).Tell(event("x"))
	})
}

func TestASinkIsTriedAgain(t *testing.T) {
	down := errors.New("down")
	for _, row := range []struct {
		claim string
		errs  []error
		got   int // of two messages
		tries int
		least time.Duration // until the first was taken
	}{
		{"one that is down for a while", []error{down, down, down}, 2, 5, 36 * time.Second},
		{"one that is down for good", []error{down, down, down, down, down, down}, 1, 7, 0},
		{"one that will never take it", []error{errPermanent}, 1, 2, 0},
		{"one that wants no more", []error{errGone}, 0, 1, 0},
		{"one that says when to come again", []error{retryLater{down, 3 * time.Minute}}, 2, 3, 3 * time.Minute},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, other := &box{errs: row.errs}, &box{}
				reg := prometheus.NewRegistry()
				n, stop := start(t, Config{Sinks: []Sink{b, other}, Registerer: reg})
				defer stop()
				began := time.Now()
				n.Tell(event("one"))
				n.Tell(event("two"))
				synctest.Wait()
				if got := other.messages(); len(got) != 2 {
					t.Errorf("another sink has %d messages, want both at once", len(got))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := b.messages(); len(got) != row.got || b.tries != row.tries {
					t.Fatalf("%d messages after %d tries, want %d after %d", len(got), b.tries, row.got, row.tries)
				}
				if row.least > 0 && (b.times[0].Sub(began) < row.least || b.times[0].Sub(began) > 2*row.least) {
					t.Errorf("taken after %v, want %v or a little more", b.times[0].Sub(began), row.least)
				}
				if _, err := reg.Gather(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheEndWaitsForWhatIsQueued(t *testing.T) {
	for _, row := range []struct {
		claim string
		takes time.Duration
		errs  []error
		got   int
		within,
		atLeast time.Duration
	}{
		{"all that can be told is", 100 * time.Millisecond, nil, 5, time.Second, 0},
		{"what fails is not tried again", 0, []error{errors.New("down")}, 4, time.Second, 0},
		{"but no longer than five seconds", 3 * time.Second, nil, 1, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &box{takes: row.takes, errs: row.errs}
				n := New(Config{Sinks: []Sink{b}})
				for i := range 5 {
					n.Tell(event(fmt.Sprint(i)))
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				began := time.Now()
				if err := n.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v, want the context's end", err)
				}
				took := time.Since(began)
				if got := len(b.messages()); got != row.got || took > row.within || took < row.atLeast {
					t.Errorf("%d messages in %v, want %d in %v to %v", got, took, row.got, row.atLeast, row.within)
				}
			})
		})
	}
}

func TestAStuckSinkHoldsAFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{takes: sendTimeout / 2}
		n, stop := start(t, Config{Sinks: []Sink{b}, PerHour: 3000})
		for i := range 500 {
			n.Tell(event(fmt.Sprint(i)))
			synctest.Wait()
		}
		if got := len(n.outlets[0].queue); got != mostQueued {
			t.Errorf("%d messages wait for the sink, want %d", got, mostQueued)
		}
		stop()
	})
}

func TestWhatIsToldIsClean(t *testing.T) {
	e := Event{
		Kind: UpstreamFailed, Subject: "https://user:secret@a.example/x\r\nBcc: all@example.org", Text: "ftp://u@b/ \x00" + strings.Repeat("é", 5000),
		Fields: map[string]string{"url": "https://me:pw@c/", "a\nb": "x"},
	}.clean()
	if e.Subject != "https://a.example/x  Bcc: all@example.org" {
		t.Errorf("Subject = %q, want it without user and line breaks", e.Subject)
	}
	if !strings.HasPrefix(e.Text, "ftp://b/  é") || len(e.Text) > mostText || strings.Contains(e.Text, "\uFFFD") {
		t.Errorf("Text = %.20q of %d bytes, want it clean, cut between characters", e.Text, len(e.Text))
	}
	if e.Fields["url"] != "https://c/" || e.Fields["a b"] != "x" {
		t.Errorf("Fields = %q, want them clean", e.Fields)
	}
}

func TestSinksChooseKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, some := &box{}, &box{kinds: []Kind{StorageRed}}
		n, stop := start(t, Config{Sinks: []Sink{all, some}})
		n.Tell(event("x"))
		n.Tell(Event{Kind: StorageRed, Subject: "/data"})
		synctest.Wait()
		stop()
		if a, s := all.messages(), some.messages(); len(a) != 2 || len(s) != 1 || s[0].Kind != StorageRed {
			t.Errorf("one that takes all has %d and one that takes storage-red has %+v, want 2 and 1", len(a), s)
		}
	})
}

func TestReadinessIsToldWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		good, bad := &box{}, &box{errs: []error{down, down}}
		r := NewReadiness([]Sink{good, bad}, "lab", nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Set(true, "")
		synctest.Wait()
		if got := good.messages(); len(got) != 0 {
			t.Errorf("told of %d changes at the start, want none: it begins ready", len(got))
		}
		for range 10 {
			r.Set(false, "disk is full")
			synctest.Wait()
		}
		if got := good.messages(); len(got) != 1 || got[0].Subject != "red" || got[0].Text != "disk is full" || got[0].Kind != ReadinessChanged {
			t.Errorf("told %+v, want one red", got)
		}
		time.Sleep(10 * time.Second) // of the bubble's clock
		synctest.Wait()
		if got := bad.messages(); len(got) != 1 || bad.tries != 3 {
			t.Errorf("a hook that failed twice has %d messages after %d tries, want 1 after 3", len(got), bad.tries)
		}
		r.Set(true, "")
		synctest.Wait()
		r.Set(false, "stopping")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want the context's end", err)
		}
		states := ""
		for _, m := range good.messages() {
			states += m.Subject + " "
		}
		if states != "red green red " {
			t.Errorf("told %s, want red green red, the last one at the end", states)
		}
		(*Readiness)(nil).Set(false, "")
	})
}

func TestAStateThatIsOverIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{takes: time.Second}
		r := NewReadiness([]Sink{b}, "", nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Set(false, "one")
		synctest.Wait() // it is being told
		r.Set(true, "")
		r.Set(false, "two")
		r.Set(true, "")
		time.Sleep(time.Minute)
		cancel()
		<-done
		if got := b.messages(); len(got) != 2 || got[0].Text != "one" || got[1].Subject != "green" {
			t.Errorf("told %+v, want the first red and the last green", got)
		}
	})
}
