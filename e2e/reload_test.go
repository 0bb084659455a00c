package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The auth file changes all the time where people give out tokens. A client must not notice: neither a connection may end, nor a request be refused that
// both the old rules and the new ones let through.
func TestNoRequestIsLostWhileTheAuthFileChanges(t *testing.T) {
	const (
		changes = 50
		apart   = 150 * time.Millisecond
		workers = 20
		gap     = 20 * time.Millisecond // of each worker: 1,000 requests a second
	)
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 4000))
	dir := t.TempDir()
	file := filepath.Join(dir, "auth.toml")
	token := newToken(t, file, "--name", "steady", "--read", "/up")
	z := start(t, "--upstream", "up="+n.url, "--auth-file", file, "--anonymous", "none")
	get(t, z.url+"/up/a.bin", "Authorization: Bearer "+token).whole(t, "with the token", bytesOf("a", 4000))

	ctx, cancel := context.WithCancel(t.Context())
	var asked, lost atomic.Int64
	var first sync.Once
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	var g sync.WaitGroup
	for range workers {
		g.Go(func() {
			tick := time.NewTicker(gap)
			defer tick.Stop()
			for ctx.Err() == nil {
				asked.Add(1)
				if err := askWith(client, z.url+"/up/a.bin", token, 4000); err != nil {
					lost.Add(1)
					first.Do(func() { t.Errorf("request %d: %v", asked.Load(), err) })
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	begun := time.Now()
	for i := range changes {
		switch {
		case i%10 == 9: // a person's slip, mended with the next change
			broken(t, z, file)
		default:
			newToken(t, file, "--name", fmt.Sprintf("guest%d", i))
		}
		time.Sleep(apart) // the rate of changes is the test's subject
	}
	last := newToken(t, file, "--name", "last")
	eventually(t, 10*time.Second, "the last token is in force", func() (bool, string) {
		a, err := tryAsk(http.MethodGet, z.url+"/up/a.bin", "Authorization: Bearer "+last)
		return err == nil && a.Status == http.StatusOK, fmt.Sprint(a, err)
	})
	took := time.Since(begun)
	cancel()
	g.Wait()
	rate := float64(asked.Load()) / took.Seconds()
	t.Logf("%d requests, %.0f a second, %d lost, over %d changes in %s", asked.Load(), rate, lost.Load(), changes, took.Round(time.Millisecond))
	if lost.Load() > 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), asked.Load())
	}
	if log := z.log(); strings.Count(log, "auth file reloaded") < changes/4 || !strings.Contains(log, "the old rules stay in force") {
		t.Errorf("the log tells of %d reloads and %d refusals", strings.Count(log, "auth file reloaded"), strings.Count(log, "the old rules stay in force"))
	}
}

// askWith asks with a token and wants a whole answer of so many bytes.
func askWith(client *http.Client, url, token string, size int64) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || got != size:
		return fmt.Errorf("%s with %d bytes", resp.Status, got)
	}
	return nil
}

// newToken has the binary make a token.
func newToken(t *testing.T, file string, args ...string) string {
	t.Helper()
	out, errs, exit := command(t, binary, append([]string{"token", "create", "--auth-file", file}, args...)...)
	if exit != 0 {
		t.Fatalf("token create %v: exit %d, %s", args, exit, errs)
	}
	return strings.TrimSpace(out)
}

// broken spoils an auth file until the server has said so, and mends it.
func broken(t *testing.T, z *zcache, file string) {
	t.Helper()
	const refusal = "the old rules stay in force"
	before := strings.Count(z.log(), refusal)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(good[:len(good):len(good)], "\n[[token\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the broken file is refused", func() (bool, string) { n := strings.Count(z.log(), refusal); return n > before, fmt.Sprint(n) })
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
}
