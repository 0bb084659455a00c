package limit

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheDayOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon))
		c := Config{
			Client: Limits{Daily: 1000}, Tokens: map[string]Limits{"ci": {Daily: 5000}},
			Hubs: map[string]Hub{"h": {Total: Limits{Daily: 9000}, Each: Limits{Daily: 8000}}},
		}
		l := New(c)
		for _, who := range []Client{at("192.0.2.1"), at("2001:db8::1"), {Token: "ci"}} {
			if err := admit(t, l, who, "h", noon).Wait(t.Context(), 3000); err != nil {
				t.Fatal(err)
			}
		}
		b, err := l.Snapshot(noon)
		if err != nil {
			t.Fatal(err)
		}
		again := New(c)
		if err := again.Restore(b, noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct {
			claim, policy string
			who           Client
			hub           string
		}{
			{"an address that had its share", "client-daily-bytes", at("192.0.2.1"), "other"},
			{"a /64", "client-daily-bytes", at("2001:db8::2"), "other"},
			{"a token that has some left", "", Client{Token: "ci"}, "other"},
			{"a hub that is used up", "hub-daily-bytes", Client{Token: "ci"}, "h"},
			{"somebody else", "", at("192.0.2.2"), "other"},
		} {
			_, refusal := again.Admit(row.who, row.hub, noon.Add(time.Hour))
			if got := policy(refusal); got != row.policy {
				t.Errorf("%s: Admit(%s, %s) = %q, want %q", row.claim, row.who.Subject(), row.hub, got, row.policy)
			}
		}
		second, err := again.Snapshot(noon.Add(time.Hour))
		var one, two state
		if json.Unmarshal(b, &one); err != nil || json.Unmarshal(second, &two) != nil || len(one.Used) != 7 || len(two.Used) != 7 {
			t.Errorf("Snapshots have %d and %d entries (%v), want 7", len(one.Used), len(two.Used), err)
		}
		tomorrow := New(c)
		if err := tomorrow.Restore(b, noon.Add(12*time.Hour)); err != nil {
			t.Fatal(err)
		}
		admit(t, tomorrow, at("192.0.2.1"), "h", noon.Add(12*time.Hour))
	})
}

func TestAStateThatIsNoneIsRefused(t *testing.T) {
	day := noon.Format(time.DateOnly)
	for claim, text := range map[string]string{
		"nothing":         "",
		"another version": fmt.Sprintf(`{"version":2,"day":%q}`, day),
		"no network":      fmt.Sprintf(`{"version":1,"day":%q,"used":[{"net":"x","bytes":1}]}`, day),
		"less than none":  fmt.Sprintf(`{"version":1,"day":%q,"used":[{"token":"x","bytes":-1}]}`, day),
	} {
		if err := New(Config{Client: Limits{Daily: 1}}).Restore([]byte(text), noon); !errors.Is(err, ErrBadState) {
			t.Errorf("%s: Restore(%s) = %v, want ErrBadState", claim, text, err)
		}
	}
}
