package limit

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAFloodResetsNobodyAndStaysSmall(t *testing.T) {
	const most = 1024
	l := New(Config{Client: Limits{Rate: 0.01, Burst: 3}, MaxClients: most})
	abuser := at("192.0.2.1")
	for range 3 {
		admit(t, l, abuser, "h", noon).Close()
	}
	now := noon
	for i := range 100 * most {
		now = now.Add(100 * time.Microsecond)
		if lease, refusal := l.Admit(address(i), "h", now); refusal == nil {
			lease.Close()
		}
	}
	if _, refusal := l.Admit(abuser, "h", now); refusal == nil {
		t.Error("Admit of the abuser after a flood of others is admitted, want what it has used remembered")
	}
	if n, crowded := l.parties.size(); n > most || crowded == 0 {
		t.Errorf("%d clients are held, %d shared, want at most %d and some", n, crowded, most)
	}
	now = now.Add(time.Hour)  // everybody has all of his requests again
	for i := range most / 2 { // not quite all, for hashes do not spread evenly
		admit(t, l, address(1<<20+i), "h", now).Close()
	}
	now = now.Add(time.Hour)
	for i := range most / 16 {
		admit(t, l, address(1<<21+i), "h", now).Close()
	}
	if n, _ := l.parties.size(); n > most {
		t.Errorf("%d clients are held, want at most %d", n, most)
	}
}

func TestTheQuietAreForgotten(t *testing.T) {
	l := New(Config{Client: Limits{Rate: 1, Requests: 10}})
	held := admit(t, l, at("192.0.2.1"), "h", noon)
	for i := range 10_000 {
		admit(t, l, address(i), "h", noon).Close()
	}
	before, _ := l.parties.size()
	for i := range 10_000 { // one at a time, each a while after the last
		admit(t, l, address(1<<20+i), "h", noon.Add(time.Duration(i+1)*2*time.Second)).Close()
	}
	if n, _ := l.parties.size(); n > 1000 {
		t.Errorf("%d clients are held after %d went quiet, want few", n, before)
	}
	late := noon.Add(24 * time.Hour)
	for range 9 {
		admit(t, l, at("192.0.2.1"), "h", late)
		late = late.Add(time.Second)
	}
	if _, refusal := l.Admit(at("192.0.2.1"), "h", late); policy(refusal) != "client-concurrent" {
		t.Errorf("Admit beside ten downloads = %v, want the one that has taken all the time counted", refusal)
	}
	held.Close()
	admit(t, l, at("192.0.2.1"), "h", late)
}

func TestManyAtOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := Config{
		Client: Limits{Rate: 1e6, Requests: 50, Bandwidth: 1 << 40, Daily: 1 << 40}, MaxClients: 64, Egress: 1 << 40, Registerer: reg,
		Hubs: map[string]Hub{"h": {Total: Limits{Requests: 1000}, Each: Limits{Requests: 60}}},
	}
	l := New(c)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				lease, refusal := l.Admit(address(i%200+g), "h", time.Now())
				if refusal != nil {
					continue
				}
				if err := lease.Wait(context.Background(), 10_000); err != nil {
					t.Error(err)
				}
				lease.Missed(time.Now())
				lease.Close()
				lease.Close()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			l.Apply(c)
			if _, err := l.Snapshot(time.Now()); err != nil {
				t.Error(err)
			}
			if _, err := reg.Gather(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	l.parties.each(func(p *party) {
		if p.active != 0 || p.pins != 0 {
			t.Errorf("%s at %q has %d requests and %d pins at the end, want none", p.key.who, p.key.hub, p.active, p.pins)
		}
	})
	if l.egress.live != 0 || l.hubs["h"].active != 0 || l.hubs["h"].pins != 0 {
		t.Errorf("flows of weight %g and %d requests of the hub live at the end, want none", l.egress.live, l.hubs["h"].active)
	}
}
