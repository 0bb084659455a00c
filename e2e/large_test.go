package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// many is how many entries a directory has that is large.
const many = 100_000

// crowd fills dir with many empty files.
func crowd(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		name := filepath.Join(dir, fmt.Sprintf("package-with-a-middling-name-%06d_1.0-1_amd64.deb", i))
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// firstByte is how long the first byte of an answer's body took, and how often mark is in it.
func firstByte(t testing.TB, url, accept, mark string) (time.Duration, int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	began := time.Now()
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	one := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, one); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return took, bytes.Count(body, []byte(mark))
}

func TestHundredThousandEntriesTakeLittleMemory(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	crowd(t, filepath.Join(n.tree, "pool"))
	for hub, upstream := range map[string]string{"net": n.url, "disk": "file://" + n.tree} {
		z := start(t, "--upstream", hub+"="+upstream)
		get(t, z.url+"/"+hub+"/")
		if hub == "net" {
			get(t, z.url+"/net/pool/", "Accept: text/plain") // to fetch and read it is another matter
			t.Logf("net: fetched and read with at most %d MiB", z.memory("VmHWM")>>20)
		}
		before := z.memory("VmRSS")
		for _, c := range []struct{ accept, mark string }{{"application/json", `"url":"./package-`}, {"text/html", `href="./package-`}} {
			took, n := firstByte(t, z.url+"/"+hub+"/pool/", c.accept, c.mark)
			t.Logf("%s as %s: first byte after %s", hub, c.accept, took.Round(time.Millisecond))
			if n != many {
				t.Errorf("%s as %s: %d entries, want %d", hub, c.accept, n, many)
			}
		}
		var page []row
		if err := json.Unmarshal(get(t, z.url+"/"+hub+"/pool/?format=json&limit=500&offset=99600").Body, &page); err != nil || len(page) != 400 {
			t.Errorf("%s: the last page has %d entries, %v, want 400", hub, len(page), err)
		}
		peak := z.memory("VmHWM")
		t.Logf("%s: %d MiB before, at most %d MiB", hub, before>>20, peak>>20)
		if grown := peak - before; grown >= 64*mib {
			t.Errorf("%s: the process grew from %d to %d MiB, want less than 64 MiB more", hub, before>>20, peak>>20)
		}
	}
}
