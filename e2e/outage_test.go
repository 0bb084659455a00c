package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lifetimes is an origin whose paths name their Cache-Control: /max-age=600/x. Its body counts the answers for a path.
func lifetimes(t testing.TB) *origin {
	return startOrigin(t, func(w *wire, r *request) {
		control, _, _ := strings.Cut(r.Target[1:], "/")
		w.file(r, []byte(fmt.Sprintf("answer %d", r.Nth)), modified.Add(time.Duration(r.Nth)*time.Hour),
			"Cache-Control: "+control, fmt.Sprintf(`ETag: "%d"`, r.Nth))
	})
}

func TestWithoutTheUpstreamWhatIsHeldIsServed(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	fresh, stale := z.url+"/up/max-age=600/x", z.url+"/up/max-age=0/x"
	forbidden := []string{"max-age=0,must-revalidate", "max-age=0,proxy-revalidate", "s-maxage=0", "no-cache"}
	get(t, fresh).is(t, "fill", 200, "MISS")
	get(t, stale).is(t, "fill", 200, "MISS")
	for _, control := range forbidden {
		get(t, z.url+"/up/"+control+"/x").is(t, "fill", 200, "MISS")
	}

	o.stop()
	get(t, fresh).whole(t, "fresh", []byte("answer 1")).is(t, "fresh", 200, "HIT")
	for range 2 {
		a := get(t, stale).whole(t, "stale", []byte("answer 1"))
		if a.cache() != "STALE" && a.cache() != "OFFLINE" {
			t.Errorf("stale without the upstream: X-Cache %q, want STALE or OFFLINE", a.cache())
		}
		if status := a.Header.Get("Cache-Status"); !strings.Contains(status, "zcache") || !strings.Contains(status, "fwd=stale") && !strings.Contains(status, "hit") {
			t.Errorf("stale without the upstream: Cache-Status %q", status)
		}
		if age, err := strconv.Atoi(a.Header.Get("Age")); err != nil || age < 0 {
			t.Errorf("stale without the upstream: Age %q, want seconds", a.Header.Get("Age"))
		}
		if a.Took > 4*time.Second {
			t.Errorf("stale without the upstream took %v, want at most about 3 s", a.Took)
		}
	}
	get(t, stale, "Range: bytes=0-5").is(t, "range of a stale entry", http.StatusPartialContent, "")
	for _, control := range forbidden {
		a := get(t, z.url+"/up/"+control+"/x")
		if a.Status != http.StatusGatewayTimeout && a.Status != http.StatusBadGateway {
			t.Errorf("%s without the upstream = %d, want 504: it may not be served stale", control, a.Status)
		}
	}
	missing := get(t, z.url+"/up/max-age=600/missing").is(t, "missing", http.StatusGatewayTimeout, "")
	if p := missing.problem(t, "missing"); p["error"] == nil || p["status"] != 504.0 {
		t.Errorf("missing without the upstream: %s, want a problem with status and error", clip(missing.Body))
	}

	// Nothing of the outage sticks.
	o.start()
	get(t, z.url+"/up/max-age=600/missing").whole(t, "missing, upstream back", []byte("answer 1"))
	eventually(t, 10*time.Second, "the stale entry is renewed", func() (bool, string) {
		a := get(t, stale)
		return string(a.Body) != "answer 1" && a.Status == 200, a.cache()
	})
	for _, control := range forbidden {
		get(t, z.url+"/up/"+control+"/x").is(t, control+", upstream back", 200, "")
	}
}

func TestAFailingUpstreamIsNoReasonToFail(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		if status, _ := strconv.Atoi(r.Target[1:]); r.Nth > 1 {
			w.reply(r, status, "sorry", "Retry-After: 1")
			return
		}
		w.reply(r, 200, "good", "Cache-Control: max-age=0", `ETag: "1"`)
	})
	z := start(t, "--upstream", "up="+o.url)
	for _, status := range []int{500, 502, 503, 504, 429} {
		path := fmt.Sprintf("/up/%d", status)
		get(t, z.url+path).is(t, "fill", 200, "MISS")
		get(t, z.url+path).whole(t, fmt.Sprintf("held, upstream says %d", status), []byte("good"))
	}
}

func TestOnlyIfCachedNeverAsksTheUpstream(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/max-age=600/x", "Cache-Control: only-if-cached").is(t, "missing", http.StatusGatewayTimeout, "")
	if got := o.count(""); got != 0 {
		t.Fatalf("the origin was asked %d times", got)
	}
	get(t, z.url+"/up/max-age=600/x")
	get(t, z.url+"/up/max-age=600/x", "Cache-Control: only-if-cached").is(t, "held", 200, "HIT")
}

// An upstream that does not start to answer within 3 s is answered for by the copy, and its answer is kept when it comes.
func TestASlowUpstreamIsAnsweredForByTheCopy(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Nth == 2 {
			<-release
		}
		control := "Cache-Control: max-age=0"
		if r.Nth > 1 {
			control = "Cache-Control: max-age=600"
		}
		w.file(r, []byte(fmt.Sprintf("answer %d", r.Nth)), modified.Add(time.Duration(r.Nth)*time.Hour), control, fmt.Sprintf(`ETag: "%d"`, r.Nth))
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/x").is(t, "fill", 200, "MISS")
	a := get(t, z.url+"/up/x").whole(t, "upstream silent", []byte("answer 1")).is(t, "upstream silent", 200, "STALE")
	if a.Took < 2*time.Second || a.Took > 5*time.Second {
		t.Errorf("the copy came after %v, want about 3 s", a.Took)
	}
	again := get(t, z.url+"/up/x").whole(t, "upstream still silent", []byte("answer 1"))
	if again.Took > 5*time.Second {
		t.Errorf("the second client waited %v, want at most about 3 s", again.Took)
	}
	close(release)
	eventually(t, 10*time.Second, "the revalidation behind is seen", func() (bool, string) {
		a := get(t, z.url+"/up/x")
		return string(a.Body) == "answer 2" && a.cache() == "HIT", a.cache() + " " + string(a.Body)
	})
	if got := o.count("/x"); got != 2 {
		t.Errorf("the origin was asked %d times, want twice: the one revalidation went on behind", got)
	}
}

func TestOfflineMakesNoRequestAtAll(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	for _, control := range []string{"max-age=600", "max-age=0", "max-age=0,must-revalidate", "no-cache"} {
		get(t, z.url+"/up/"+control+"/x").is(t, "fill", 200, "MISS")
	}
	z.stop()
	asked := o.count("")
	z.again("--offline")
	get(t, z.url+"/up/max-age=600/x").whole(t, "fresh", []byte("answer 1"))
	for _, control := range []string{"max-age=0", "max-age=0,must-revalidate", "no-cache"} {
		get(t, z.url+"/up/"+control+"/x").whole(t, control, []byte("answer 1")).is(t, control, 200, "OFFLINE")
	}
	get(t, z.url+"/up/max-age=600/missing").is(t, "missing", http.StatusGatewayTimeout, "")
	ask(t, http.MethodHead, z.url+"/up/max-age=600/missing").is(t, "missing, HEAD", http.StatusGatewayTimeout, "")
	if a := ask(t, http.MethodDelete, z.url+"/up/max-age=600/x"); a.Status < 400 {
		t.Errorf("DELETE off line = %d, want a refusal", a.Status)
	}
	if got := o.count(""); got != asked {
		t.Errorf("off line the origin was asked %d times", got-asked)
	}
}

func TestProxyModeStoresNothing(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--mode", "proxy", "--upstream", "up="+o.url)
	for i := 1; i <= 3; i++ {
		get(t, z.url+"/up/max-age=600/x").whole(t, "proxy mode", []byte(fmt.Sprintf("answer %d", i)))
	}
	get(t, z.url+"/up/max-age=600/x", "Range: bytes=0-5").is(t, "range in proxy mode", http.StatusPartialContent, "")
	_ = filepath.WalkDir(z.root, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(p); strings.Contains(string(b), "answer") {
				t.Errorf("proxy mode stored %s", p)
			}
		}
		return nil
	})
}

func TestStaleWhileRevalidateAnswersAtOnceAndRenewsBehind(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Nth == 2 {
			<-release
		}
		control := "Cache-Control: max-age=0, stale-while-revalidate=600"
		if r.Nth > 1 {
			control = "Cache-Control: max-age=600"
		}
		w.reply(r, 200, fmt.Sprintf("answer %d", r.Nth), control)
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/x").is(t, "fill", 200, "MISS")
	for range 3 {
		a := get(t, z.url+"/up/x").whole(t, "while it is revalidated", []byte("answer 1"))
		if a.Took > time.Second {
			t.Errorf("the answer took %v, want it at once", a.Took)
		}
	}
	eventually(t, 10*time.Second, "the origin is asked behind", func() (bool, string) { return o.count("/x") == 2, "" })
	close(release)
	eventually(t, 10*time.Second, "the new answer is served", func() (bool, string) {
		a := get(t, z.url+"/up/x")
		return string(a.Body) == "answer 2", string(a.Body)
	})
	if got := o.count("/x"); got != 2 {
		t.Errorf("the origin was asked %d times, want twice", got)
	}
}

// Revalidation sends both validators; a 304 keeps the body and freshens what is told of it.
func TestARevalidationSendsBothValidatorsAndKeepsTheBody(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		w.file(r, []byte("body"), modified, "Cache-Control: max-age=0", `ETag: "v"`, fmt.Sprintf("X-Answer: %d", r.Nth))
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/x").is(t, "fill", 200, "MISS")
	a := get(t, z.url+"/up/x").whole(t, "revalidated", []byte("body")).is(t, "revalidated", 200, "REVALIDATED")
	if a.Header.Get("X-Answer") != "2" {
		t.Errorf("X-Answer after the 304 = %q, want the 304's own 2", a.Header.Get("X-Answer"))
	}
	if o.count("/x") != 2 {
		t.Fatalf("the origin was asked %d times, want twice", o.count("/x"))
	}
	r := o.requests("/x")[1]
	if r.Header.Get("If-None-Match") != `"v"` || r.Header.Get("If-Modified-Since") != modified.Format(http.TimeFormat) {
		t.Errorf("revalidated with If-None-Match %q and If-Modified-Since %q, want both", r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since"))
	}
}
