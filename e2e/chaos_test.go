package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// versions is an origin whose files change under the clients' hands and whose connections break. A body can be made from its ETag
// alone, so whoever has an answer can tell whether its head and its bytes belong together.
type versions struct {
	*origin
	now     atomic.Int64
	control string
}

func (v *versions) serve(w *wire, r *request) {
	tag := fmt.Sprintf("%d", v.now.Load())
	body := versionBody(r.Target, tag)
	switch rand.IntN(8) {
	case 0:
		w.cut()
	case 1: // breaks in the middle of what may be a whole or a part
		cutting := &cutter{Conn: w.Conn, left: 200 + rand.IntN(len(body)+1)}
		w.Conn = cutting
		w.file(r, body, modified, "ETag: "+strconv.Quote(tag), v.control)
		w.last = true
	default:
		w.file(r, body, modified, "ETag: "+strconv.Quote(tag), v.control)
	}
}

// versionBody differs in length, too: neither may be mixed.
func versionBody(path, tag string) []byte {
	n, _ := strconv.Atoi(tag)
	return bytesOf(path+tag, 30_000+n%7*1000)
}

func TestUnderConstantChangeEveryAnswerFitsItsValidator(t *testing.T) {
	const workers, rounds = 16, 100
	for _, control := range []string{"Cache-Control: max-age=0", "Cache-Control: max-age=1, stale-while-revalidate=1", "Cache-Control: max-age=0, must-revalidate"} {
		v := &versions{control: control}
		v.origin = startOrigin(t, v.serve)
		z := start(t, "--upstream", "up="+v.url)
		var whole, parts, broken atomic.Int64
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(worker), 1))
				for range rounds {
					path := fmt.Sprintf("/f%d", random.IntN(4))
					switch random.IntN(30) {
					case 0:
						v.now.Add(1)
					case 1:
						operate(t, z, "POST", "/-/purge", fmt.Sprintf(`{"path":"/up%s"}`, path))
					}
					var fields []string
					switch random.IntN(4) {
					case 0:
						from := random.IntN(30_000)
						fields = []string{fmt.Sprintf("Range: bytes=%d-%d", from, from+random.IntN(40_000))}
					case 1:
						fields = []string{fmt.Sprintf("Range: bytes=-%d", 1+random.IntN(40_000))}
					case 2:
						fields = []string{fmt.Sprintf(`If-None-Match: "%d"`, v.now.Load())}
					}
					a, err := tryAsk(http.MethodGet, z.url+"/up"+path, fields...)
					if err != nil || a.Err != nil {
						broken.Add(1)
						continue
					}
					if fault := fits(a, path); fault != "" {
						t.Errorf("%s, GET %s %v = %d (X-Cache %s): %s", control, path, fields, a.Status, a.cache(), fault)
					}
					switch a.Status {
					case 200:
						whole.Add(1)
					case 206:
						parts.Add(1)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%s: %d whole bodies, %d parts, %d broken, %d versions, %d requests upstream", control, whole.Load(), parts.Load(), broken.Load(), v.now.Load(), v.count(""))
		if whole.Load() < workers*rounds/8 || parts.Load() < workers*rounds/8 {
			t.Errorf("%s: only %d whole bodies and %d parts of %d requests", control, whole.Load(), parts.Load(), workers*rounds)
		}
	}
}

// fits says what is wrong with an answer, judged by its own ETag.
func fits(a answer, path string) string {
	tag, err := strconv.Unquote(a.Header.Get("ETag"))
	switch a.Status {
	case 200, 206, 304:
		if err != nil {
			return "no ETag"
		}
	case 416, 502, 503, 504:
		return ""
	default:
		return "unexpected status"
	}
	want := versionBody(path, tag)
	switch a.Status {
	case 200:
		if !bytes.Equal(a.Body, want) {
			return fmt.Sprintf("%d bytes that are not the body of version %s", len(a.Body), tag)
		}
	case 206:
		var from, to, size int
		if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil {
			if strings.HasSuffix(a.Header.Get("Content-Range"), "/*") {
				return "a range of a body whose length is known says it is not"
			}
			return "Content-Range " + a.Header.Get("Content-Range")
		}
		if size != len(want) || from > to || to >= size || !bytes.Equal(a.Body, want[from:to+1]) {
			return fmt.Sprintf("%d bytes with Content-Range %s that are not those of version %s (%d bytes)", len(a.Body), a.Header.Get("Content-Range"), tag, len(want))
		}
	}
	return ""
}

// A cutter breaks its connection after so many bytes.
type cutter struct {
	net.Conn
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.Conn.Write(b[:c.left])
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Conn.Close()
		c.left = 0
		return 0, net.ErrClosed
	}
	c.left -= len(b)
	return c.Conn.Write(b)
}
