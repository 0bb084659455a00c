package auth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func writeTo(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// TestHashesOfOtherProgramsAreChecked has what openssl passwd made, and htpasswd -B.
func TestHashesOfOtherProgramsAreChecked(t *testing.T) {
	for _, row := range []struct{ claim, hash, password string }{
		{"SHA-512", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"SHA-512 with rounds", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.", "Hello world!"},
		{"SHA-256", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
		{"SHA-256 with rounds", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA", "Hello world!"},
		{"bcrypt", "$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O", "bar"},
	} {
		if _, err := hashKind(row.hash); err != nil {
			t.Errorf("%s: hashKind = %v", row.claim, err)
		}
		if !matches(row.hash, row.password) || matches(row.hash, row.password+"x") || matches(row.hash, "") {
			t.Errorf("%s: matches takes a wrong password, or not the right one", row.claim)
		}
	}
}

func TestWeakHashesAreRefusedWithTheReason(t *testing.T) {
	for _, row := range []struct{ claim, line, says string }{
		{"a good one and a comment", "# users\n\nbob:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\n", ""},
		{"with more fields", "bob:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O:Bob:x\n", ""},
		{"plain text", "bob:hunter2\n", "unhashed"},
		{"nothing", "bob:\n", "unhashed"},
		{"DES", "bob:rqXexS6ZhobKA\n", "unknown"},
		{"MD5 of Apache", "bob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n", "MD5"},
		{"SHA-1", "bob:{SHA}IBeFPpPkVEVqHOF1SBhkgeXTqmU=\n", "SHA-1"},
		{"a cheap SHA-crypt", "bob:$5$rounds=10$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8\n", "10 rounds"},
		{"one that takes minutes", "bob:$5$rounds=99999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8\n", "99999999 rounds"},
		{"a bcrypt that takes minutes", "bob:$2y$20$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\n", "cost of 20"},
		{"a cut bcrypt", "bob:$2y$05$bWBMg3\n", "malformed"},
		{"no colon", "bob\n", "users:1"},
		{"a name twice", "bob:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\nbob:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\n", "users:2"},
		{"a name like a token", "zct_a:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\n", "users:1"},
	} {
		file := filepath.Join(t.TempDir(), "users")
		writeTo(t, file, row.line)
		err := newRules(AnonymousRead).addPasswords(file)
		if (row.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: addPasswords = %v, want one that says %q", row.claim, err, row.says)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "eIMz")) {
			t.Errorf("%s: addPasswords tells the hash: %v", row.claim, err)
		}
	}
}

// passwordHouse has alice with password "right", a counter of checks, and a gate that lets checks through when it is closed or sent to.
func passwordHouse() (c *checker, r *Rules, checks *atomic.Int64, gate chan struct{}) {
	r = newRules(AnonymousRead)
	r.htpasswd["alice"], r.decoy = "hash of right", "decoy"
	r.users["alice"] = &identity{kind: byPassword, id: "alice", name: "alice", grant: ungranted}
	c, checks, gate = newChecker(), new(atomic.Int64), make(chan struct{})
	c.match = func(hash, password string) bool {
		checks.Add(1)
		<-gate
		return hash == "hash of "+password
	}
	return c, r, checks, gate
}

var here = netip.MustParsePrefix("192.0.2.1/32")

func TestAPasswordIsCheckedOnceInAWhile(t *testing.T) {
	c, r, checks, gate := passwordHouse()
	close(gate)
	clock := now
	c.now = func() time.Time { return clock }
	for _, row := range []struct {
		claim      string
		name, pass string
		after      time.Duration
		good       bool
		checks     int64
	}{
		{"the first time", "alice", "right", 0, true, 1},
		{"again", "alice", "right", time.Minute, true, 1},
		{"a wrong one", "alice", "wrong", 0, false, 2},
		{"again", "alice", "wrong", time.Second, false, 2},
		{"a wrong one does not push out the right one", "alice", "right", 0, true, 2},
		{"nobody costs the same", "bob", "right", 0, false, 3},
		{"nobody again", "bob", "right", 0, false, 3},
		{"the wrong one after a while", "alice", "wrong", wrongFor, false, 4},
		{"the right one after a while", "alice", "right", rightFor, true, 5},
		{"one that is too long costs nothing", "alice", strings.Repeat("x", longestPassword+1), 0, false, 5},
	} {
		clock = clock.Add(row.after)
		who, err := c.identify(t.Context(), r, here, row.name, row.pass)
		if (who != nil) != row.good || (err == nil) != row.good || checks.Load() != row.checks {
			t.Errorf("%s: identify = %v, %v after %d checks, want good %v after %d", row.claim, who, err, checks.Load(), row.good, row.checks)
		}
	}
	r.htpasswd["alice"] = "hash of new"
	if _, err := c.identify(t.Context(), r, here, "alice", "right"); err == nil {
		t.Error("the old password is good after the hash has changed")
	}
	for i := range 3 * wrongKept {
		c.identify(t.Context(), r, here, "alice", strconv.Itoa(i))
	}
	if len(c.wrong) > wrongKept || len(c.right) == 0 {
		t.Errorf("%d wrong and %d right ones are kept after a flood, want at most %d and some", len(c.wrong), len(c.right), wrongKept)
	}
}

func TestAFloodOfGuessesIsBounded(t *testing.T) {
	c, r, checks, gate := passwordHouse()
	var wg sync.WaitGroup
	results := make(chan error, 1000)
	ask := func(from, password string) {
		wg.Go(func() {
			_, err := c.identify(t.Context(), r, netip.MustParsePrefix(from), "alice", password)
			results <- err
		})
	}
	for range 50 {
		ask("192.0.2.7/32", "right") // one client's parallel downloads are one check
	}
	for i := range 20 {
		ask("192.0.2.66/32", strconv.Itoa(i))
	}
	// All but the downloads and as many guesses as one client may have under way are told to come back.
	for range 20 - waitingOne {
		if err := <-results; !errors.Is(err, ErrBusy) {
			t.Errorf("identify in a flood = %v, want ErrBusy", err)
		}
	}
	if most := int64(cap(c.slots)); checks.Load() > most {
		t.Errorf("%d checks at a time, want at most %d", checks.Load(), most)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.identify(ctx, r, here, "alice", "another"); !errors.Is(err, ErrBusy) {
		t.Errorf("identify for a client that has left = %v, want ErrBusy", err)
	}
	close(gate)
	wg.Wait()
	close(results)
	good := 0
	for err := range results {
		if err == nil {
			good++
		}
	}
	if good != 50 {
		t.Errorf("%d of 50 requests with the right password were let in", good)
	}
	for i := range 3 * waitingAll {
		ask2 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		c.identify(t.Context(), r, ask2, "alice", "x"+strconv.Itoa(i))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) > 1 || len(c.flights) > 1 { // the check that nobody waits for may still be on its way
		t.Errorf("%d sources and %d flights are left", len(c.waiting), len(c.flights))
	}
}

func TestTheDecoyIsAsSlowAsTheSlowest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	const slow = "$2y$10$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O"
	writeTo(t, file, "a:$2y$05$bWBMg3oUStnhfy5rFvoyreviPySU6hvEmBub5wIlM/D.c5FeYJQ6O\nb:"+slow+"\nc:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8\n")
	r := newRules(AnonymousRead)
	if err := r.addPasswords(file); err != nil || r.decoy != slow {
		t.Errorf("addPasswords = %v with decoy %q, want the costliest, %q", err, r.decoy, slow)
	}
}

func TestAPasswordThatWasChangedIsGoodNoMore(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	writeTo(t, users, "alice:"+hashOf(t, "pw")+"\n")
	auth := writeFile(t, "version = 1\nhtpasswd = [\""+users+"\"]\n")
	g := guard()
	g.SetRules(load(t, auth))
	ask := func() Client { return g.Identify(request("192.0.2.1:1", "h", "Authorization", basic("alice", "pw"))) }
	c := ask()
	g.SetRules(load(t, auth))
	if !c.Known() || !g.Renew(c).Known() {
		t.Errorf("Identify = %q, renewed after a reload %q, want alice", c.Subject(), g.Renew(c).Subject())
	}
	writeTo(t, users, "alice:"+hashOf(t, "new")+"\n")
	g.SetRules(load(t, auth))
	if g.Renew(c).Known() || ask().Known() {
		t.Error("the old password is good after a reload")
	}
}
