package e2e

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

// The harness is held against plain nginx first: what it cannot show there it cannot show of zcache either.
func TestHarnessSeesWhatNginxServes(t *testing.T) {
	n := startNginx(t, "")
	d, _, err := download(t, n.url+"/mid.bin")
	if want := bodies["mid.bin"].digest; d != want || err != nil {
		t.Fatalf("download of mid.bin from nginx = %x, %v, want %x", d, err, want)
	}
	a := get(t, n.url+"/mid.bin", "Range: bytes=5-14", "If-Range: "+modified.Format(http.TimeFormat))
	a.is(t, "range of nginx", http.StatusPartialContent, "")
	eventually(t, 10*time.Second, "nginx has logged 2 requests, the second for 10 bytes", func() (bool, string) {
		log := n.log("/mid.bin") // written after the answer
		return len(log) == 2 && log[1].Range == "bytes=5-14" && log[1].Sent == 10, fmt.Sprintf("%+v", log)
	})
}

func TestHarnessRelayCutsAndCounts(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	d, _, err := download(t, rl.url+"/mid.bin")
	if d != bodies["mid.bin"].digest || err != nil {
		t.Fatalf("download through the relay = %d bytes, %v", d.n, err)
	}
	rl.cut = mib
	d, _, err = download(t, rl.url+"/mid.bin")
	if err == nil || d.n > mib {
		t.Errorf("download through the cutting relay = %d bytes, %v; want at most 1 MiB and an error", d.n, err)
	}
	if got := rl.count("/mid.bin"); got != 2 {
		t.Errorf("relay counted %d requests, want 2", got)
	}
	rl.stop()
	if _, err := tryAsk(http.MethodGet, rl.url+"/mid.bin"); err == nil {
		t.Error("a stopped relay answered")
	}
	rl.start()
	get(t, rl.url+"/", "Range: bytes=0-1")
}

func TestHarnessOriginKeepsTheWire(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.file(r, bytesOf("x", 100), modified, `ETag: "v1"`) })
	a := target(t, o.addr, "/a\"b%ff//../%2e")
	a.whole(t, "odd target", bytesOf("x", 100))
	if got := o.asked("").Target; got != "/a\"b%ff//../%2e" {
		t.Errorf("origin saw target %q", got)
	}
	get(t, o.url+"/x", "Range: bytes=10-19").is(t, "range", http.StatusPartialContent, "")
	get(t, o.url+"/x", `If-None-Match: "v1"`).is(t, "conditional", http.StatusNotModified, "")
	if _, err := os.Stat(binary); err != nil {
		t.Errorf("binary: %v", err)
	}
}
