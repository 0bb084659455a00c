package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// eachFTP runs a test against every server.
func eachFTP(t *testing.T, rate int, f func(t *testing.T, s *ftpd)) {
	for _, name := range ftpServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, startFTP(t, name, rate))
		})
	}
}

func ftpHub(t testing.TB, s *ftpd, more string) string {
	return settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\n%s", s.url(), more))
}

func TestFTPFilesComeByteForByteAndStay(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		big := sharedBodies(t)["mid.bin"]
		s.link(copyInto(t, s, big.path), "big.bin")
		odd := map[string]string{
			"plain.txt": "/up/plain.txt", "empty": "/up/empty", "with space [1] *?;&'.txt": "/up/with%20space%20%5B1%5D%20%2A%3F%3B%26%27.txt",
			"ümlaut": "/up/%C3%BCmlaut", "bytes\xff\xfe": "/up/bytes%FF%FE", "d [i] r/deep/x": "/up/d%20%5Bi%5D%20r/deep/x", "trailing ": "/up/trailing%20",
		}
		for name := range odd {
			s.put(name, bytesOf(name, 1000))
		}
		s.put("empty", nil)
		z := start(t, ftpHub(t, s, ""))
		for _, verdict := range []string{"MISS", "HIT", "stopped"} {
			if verdict == "stopped" {
				s.stop()
				verdict = "HIT"
			}
			d, resp, err := download(t, z.url+"/up/big.bin")
			if d != big.digest || err != nil || resp.Header.Get("X-Cache") != verdict {
				t.Errorf("big.bin = %d bytes, %v, %s; want it whole, %s", d.n, err, resp.Header.Get("X-Cache"), verdict)
			}
			if got, want := resp.Header.Get("Last-Modified"), modified.Format(http.TimeFormat); got != want {
				t.Errorf("big.bin: Last-Modified %q, want %q", got, want)
			}
			z.published("up", "/big.bin", big.n)
			for name, path := range odd {
				want := bytesOf(name, 1000)
				if name == "empty" {
					want = nil
				}
				get(t, z.url+path).whole(t, path, want).is(t, path, 200, verdict)
			}
			get(t, z.url+"/up/none").is(t, "what is not there", 404, "")
		}
	})
}

// copyInto puts a file into the server's tree under a hidden name, which it returns: the servers see no way out of the tree, so a link cannot lead there.
func copyInto(t testing.TB, s *ftpd, from string) string {
	t.Helper()
	name := "." + filepath.Base(from)
	if err := os.Link(from, filepath.Join(s.tree, name)); err != nil {
		b, rerr := os.ReadFile(from)
		if rerr != nil {
			t.Fatal(rerr)
		}
		s.put(name, b)
	}
	return name
}

func TestFTPRangesAndConditions(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		body := bytesOf("r", 300_000)
		s.put("r.bin", body)
		z := start(t, ftpHub(t, s, "bypass = [\"/r.bin\"]\n"))
		stamp := modified.Format(http.TimeFormat)
		for _, row := range []struct {
			field    string
			status   int
			off, end int
		}{
			{"Range: bytes=0-9", 206, 0, 10},
			{"Range: bytes=100000-199999", 206, 100_000, 200_000},
			{"Range: bytes=299990-", 206, 299_990, 300_000},
			{"Range: bytes=300000-", 416, 0, 0},
			{"If-Modified-Since: " + stamp, 304, 0, 0},
		} {
			a := get(t, z.url+"/up/r.bin", row.field).is(t, row.field, row.status, "")
			if row.status == 206 && string(a.Body) != string(body[row.off:row.end]) {
				t.Errorf("GET with %s = %d bytes, want bytes %d to %d", row.field, len(a.Body), row.off, row.end)
			}
		}
		head := ask(t, http.MethodHead, z.url+"/up/r.bin").is(t, "HEAD", 200, "")
		if head.Header.Get("Content-Length") != "300000" || head.Header.Get("Last-Modified") != stamp {
			t.Errorf("HEAD: %v", head.Header)
		}
	})
}

func TestFTPFillGoesOnAfterTheServerDied(t *testing.T) {
	const size = 6 * mib
	eachFTP(t, 2*mib, func(t *testing.T, s *ftpd) {
		body := bytesOf("resume", size)
		s.put("resume.bin", body)
		z := start(t, ftpHub(t, s, "retries = 10\n"))
		resp, err := plain.Get(z.url + "/up/resume.bin")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got := make([]byte, mib)
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatalf("the first MiB: %v", err)
		}
		s.stop()
		s.start()
		rest, err := io.ReadAll(resp.Body)
		if got = append(got, rest...); err != nil || sha256.Sum256(got) != sha256.Sum256(body) {
			t.Errorf("the body over a death of the server = %d of %d bytes, %v, want it whole", len(got), size, err)
		}
		z.published("up", "/resume.bin", size)
		if !strings.Contains(z.log(), `"action":"resume"`) {
			t.Error("the fill was not resumed: the server was too fast for this test")
		}
	})
}

func TestFTPDirectoriesAreListings(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		for name, size := range map[string]int{"pub/a.txt": 5, "pub/b [1].bin": 70_000, "pub/sub/c": 1, "pub/ümlaut": 3, "pub/s p a c e/d": 1} {
			s.put(name, bytesOf(name, size))
		}
		s.link("a.txt", "pub/to-file")
		s.link("sub", "pub/to-dir")
		if err := os.Mkdir(filepath.Join(s.tree, "pub/none"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(s.tree, "pub/closed"), 0o711); err != nil {
			t.Fatal(err)
		}
		z := start(t, ftpHub(t, s, ""))
		for _, state := range []string{"up", "stopped"} {
			got := rows(t, z.url+"/up/pub/")
			var names []string
			for _, r := range got {
				names = append(names, r.Name)
				switch name := strings.TrimSuffix(r.Name, "/"); {
				case r.IsSymlink != strings.HasPrefix(name, "to-"):
					t.Errorf("%s: row %+v: is_symlink is wrong", state, r)
				case r.IsDir || r.IsSymlink:
				default:
					info, err := os.Stat(filepath.Join(s.tree, "pub", name))
					if err != nil || r.Size == nil || *r.Size != info.Size() || !r.SizeExact {
						t.Errorf("%s: row %+v, want the size of %v, %v", state, r, info, err)
					}
					if r.ModTime == nil || modified.Before(*r.ModTime) || modified.Sub(*r.ModTime) >= time.Duration(max(r.Step, 1))*time.Second {
						t.Errorf("%s: row %s says %v within %d s, want %v", state, r.Name, r.ModTime, r.Step, modified)
					}
				}
			}
			slices.Sort(names)
			want := []string{"a.txt", "b [1].bin", "closed/", "none/", "s p a c e/", "sub/", "to-dir", "to-dir/", "to-file", "ümlaut"}
			want = slices.DeleteFunc(want, func(n string) bool { return strings.HasPrefix(n, "to-dir") && !slices.Contains(names, n) })
			if !slices.Equal(names, want) || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "to-dir") }) {
				t.Errorf("%s: names %q, want %q", state, names, want)
			}
			if len(rows(t, z.url+"/up/pub/none/")) != 0 {
				t.Errorf("%s: an empty directory has rows", state)
			}
			if state == "up" {
				get(t, z.url+"/up/pub/closed/").is(t, "a directory that may not be read", 403, "")
				get(t, z.url+"/up/pub/to-file").whole(t, "a link to a file", bytesOf("pub/a.txt", 5))
				for _, dir := range []string{"to-dir", "sub"} {
					if a := get(t, z.url+"/up/pub/"+dir).is(t, dir, 301, ""); !strings.HasSuffix(a.Header.Get("Location"), "/"+dir+"/") {
						t.Errorf("%s without a slash leads to %q", dir, a.Header.Get("Location"))
					}
				}
				get(t, z.url+"/up/pub/to-dir/c").whole(t, "a file behind a link to its directory", bytesOf("pub/sub/c", 1))
				s.stop()
			}
		}
	})
}

func TestFTPSIsCheckedAndNeverWithoutTLS(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		body := bytesOf("tls", 3*mib)
		s.put("dir/tls.bin", body)
		secure := fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = \"ftps://%s\"\n", s.addr)
		z := start(t, settings(t, secure+fmt.Sprintf("ca = %q\n", s.cert)))
		get(t, z.url+"/up/dir/tls.bin").whole(t, "by FTPS", body)
		get(t, z.url+"/up/dir/tls.bin", "Cache-Control: no-store", "Range: bytes=2000000-").is(t, "a range by FTPS", 206, "")
		wantRows(t, "listing by FTPS", rows(t, z.url+"/up/dir/"), fmt.Sprintf("tls.bin %d fresh", len(body)))
		if said := controlOf(t, s); strings.Contains(said, "USER") || !strings.Contains(said, "AUTH TLS") {
			t.Errorf("before TLS it said %q, want AUTH TLS and nothing of a login", said)
		}
		other := start(t, settings(t, secure))
		a := get(t, other.url+"/up/dir/tls.bin")
		if a.Status < 500 || strings.Contains(string(a.Body), string(body[:100])) {
			t.Errorf("with a certificate of nobody's = %d, want an error", a.Status)
		}
		other.noEntry("up", "/dir/tls.bin")
	})
}

// controlOf is what zcache says in the clear to an upstream of ftps, heard on the way to s.
func controlOf(t testing.TB, s *ftpd) string {
	t.Helper()
	said := make(chan string, 1000)
	way := startWay(t, s.addr, func(line string) bool {
		said <- line
		return true
	})
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = \"ftps://%s\"\nca = %q\n", way, s.cert)))
	get(t, z.url+"/up/dir/tls.bin").is(t, "by FTPS through a relay", 200, "")
	var all strings.Builder
	for len(said) > 0 {
		all.WriteString(<-said)
	}
	return all.String()
}

// startWay relays control connections to addr. A connection ends at the first line of the client's that pass is false for; of what is said in TLS the
// lines are of noise. It returns the address to connect to.
func startWay(t testing.TB, addr string, pass func(line string) bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(client, server)
				client.Close()
			}()
			go func() {
				defer client.Close()
				defer server.Close()
				for in := bufio.NewReader(client); ; {
					line, err := in.ReadString('\n')
					if line != "" && line[0] == 0x16 { // a handshake record of TLS: from here on there are no lines
						_, _ = io.WriteString(server, line)
						_, _ = io.Copy(server, in)
						return
					}
					if err != nil || !pass(line) {
						return
					}
					_, _ = io.WriteString(server, line)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func TestFTPServerThatDiesBetweenTwoCommands(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		var deadly atomic.Value
		deadly.Store("")
		way := startWay(t, s.addr, func(line string) bool {
			verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			return !deadly.CompareAndSwap(verb, "") // once
		})
		z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = \"ftp://%s\"\n", way)))
		for _, verb := range []string{"USER", "FEAT", "TYPE", "PWD", "SIZE", "MDTM", "EPSV", "RETR"} {
			name := "f-" + verb
			s.put(name, bytesOf(name, 100_000))
			if slices.Contains([]string{"USER", "FEAT", "TYPE", "PWD"}, verb) { // only a new connection logs in
				s.stop()
				s.start()
			}
			deadly.Store(verb)
			get(t, z.url+"/up/"+name).whole(t, "dead before "+verb, bytesOf(name, 100_000))
			if deadly.Load() != "" {
				t.Errorf("%s was never sent", verb)
			}
		}
		for i := range 3 { // the connection that is kept dies with the server
			name := fmt.Sprint("again-", i)
			s.put(name, bytesOf(name, 100_000))
			s.stop()
			s.start()
			get(t, z.url+"/up/"+name).whole(t, "after a restart", bytesOf(name, 100_000))
		}
	})
}

func TestHarnessFTPServersServe(t *testing.T) {
	for _, name := range ftpServers {
		s := startFTP(t, name, 0)
		s.put("a", []byte("a"))
		out, err := exec.Command("curl", "-sS", "--noproxy", "*", s.url()+"/a").CombinedOutput()
		if string(out) != "a" || err != nil {
			t.Errorf("curl %s/a = %q, %v", s.url(), out, err)
		}
		s.stop()
	}
}

func TestFTPURLsThroughTheProxy(t *testing.T) {
	eachFTP(t, 0, func(t *testing.T, s *ftpd) {
		body := bytesOf("proxied", 200_000)
		s.put("pub/a.bin", body)
		z := start(t, settings(t, ""), "--proxy-allow-host", s.addr)
		for _, state := range []string{"up", "stopped"} {
			for _, client := range [][]string{
				{"curl", "-sS", "-f", "--proxy", z.url, s.url() + "/pub/a.bin"},
				{"wget", "-q", "-O", "-", "-e", "use_proxy=yes", "-e", "ftp_proxy=" + z.url, s.url() + "/pub/a.bin"},
				{"curl", "-sS", "-f", "--noproxy", "*", z.url + "/files/ftp/" + s.addr + "/pub/a.bin"},
				{"curl", "-sS", "-f", "--noproxy", "*", z.url + "/download/ftp://" + s.addr + "/pub/a.bin"},
			} {
				if out, errs, exit := command(t, client[0], client[1:]...); out != string(body) || exit != 0 {
					t.Errorf("%s: %v = exit %d, %d bytes %s, want %d bytes", state, client, exit, len(out), errs, len(body))
				}
			}
			wantRows(t, state, rows(t, z.url+"/files/ftp/"+s.addr+"/pub/"), fmt.Sprintf("a.bin %d fresh", len(body)))
			s.stop()
		}
		held, err := filepath.Glob(filepath.Join(z.root, "files/ftp/*/pub/a*"))
		if err != nil || len(held) != 1 {
			t.Errorf("four ways to one file left %q, %v, want one entry", held, err)
		}
	})
}
