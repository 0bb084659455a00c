package auth

import (
	"net/netip"
	"testing"
	"time"
)

func TestAFloodOfDenialsIsCounted(t *testing.T) {
	var got []Record
	a := NewAudit(func(r Record) { got = append(got, r) })
	clock := now
	a.now = func() time.Time { return clock }
	denied := &Denial{is: ErrDenied, text: "for the client", why: "for the log"}
	flood := Client{Addr: netip.MustParseAddr("2001:db8::1")}
	kin := Client{Addr: netip.MustParseAddr("2001:db8::2")}
	other := Client{Addr: netip.MustParseAddr("192.0.2.1")}
	for range 100 {
		a.Note(flood, "read", "/a", denied)
		a.Note(kin, "read", "/a", denied) // of one /64
	}
	if len(got) != denialBurst || got[0].Reason != "for the log" || got[0].Outcome != "denied" || got[0].Client != flood.Addr || got[0].Path != "/a" {
		t.Errorf("%d records of a flood, want %d; the first is %+v", len(got), denialBurst, got[0])
	}
	got = nil
	a.Note(other, "read", "/b", denied)
	a.Note(flood, "purge", "/c", nil)
	clock = clock.Add(denialEvery)
	a.Note(flood, "read", "/d", denied)
	if len(got) != 3 || got[0].Client != other.Addr || got[1].Outcome != "allowed" || got[1].Reason != "" || got[2].Suppressed != 200-denialBurst {
		t.Errorf("records after the flood = %+v, want another client's, what was allowed, and one with the number left out", got)
	}
	for i := range 4 * auditClients {
		a.Note(Client{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}, "read", "/", denied)
	}
	if len(a.denials) > auditClients+1 {
		t.Errorf("%d clients are remembered, want at most %d", len(a.denials), auditClients+1)
	}
	got = nil
	clock = clock.Add(time.Hour)
	a.Note(Client{Addr: netip.MustParseAddr("198.51.100.1")}, "read", "/", denied)
	if len(got) != 1 || len(a.denials) > 2 {
		t.Errorf("%d records and %d clients an hour later, want 1 and those of now", len(got), len(a.denials))
	}
	(*Audit)(nil).Note(other, "read", "/", denied)
}

func TestARecordNamesWhoItWas(t *testing.T) {
	g, text, made := house(t, "", AnonymousRead)
	var got Record
	a := NewAudit(func(r Record) { got = r })
	c := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text))
	a.Note(c, "operate", "", g.Allow(c, Operate))
	if got.Subject != "token:"+made.ID || got.Name != "lab3" || got.Outcome != "allowed" || got.Action != "operate" {
		t.Errorf("record = %+v, want the token's id and name", got)
	}
	c = g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer zct_x"))
	a.Note(c, "operate", "", g.Allow(c, Operate))
	if got.Subject != "" || got.Outcome != "denied" || got.Reason == "" {
		t.Errorf("record of a wrong token = %+v", got)
	}
}
