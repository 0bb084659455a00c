package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Commands counts those that are said to an FTP server.
type commands struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *commands) heard(line string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[strings.ToUpper(verb)]++
	return true
}

// take gives the counts since the last call.
func (c *commands) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return n
}

// ofFiles are the commands among them that ask for a file.
func ofFiles(n map[string]int) (asked []string) {
	for _, verb := range slices.Sorted(maps.Keys(n)) {
		switch verb {
		case "RETR", "SIZE", "MDTM", "MLST", "REST":
			asked = append(asked, fmt.Sprint(verb, " ", n[verb]))
		}
	}
	return asked
}

func TestMirrorFTP(t *testing.T) {
	for server, lists := range map[string]string{"vsftpd": "LIST", "proftpd": "MLSD", "pure-ftpd": "MLSD"} {
		t.Run(server+" by "+lists, func(t *testing.T) {
			t.Parallel()
			testMirrorFTP(t, server, lists)
		})
	}
}

func testMirrorFTP(t *testing.T, server, lists string) {
	s := startFTP(t, server, 0)
	tr := makeTree(t, s.tree, 30, 300)
	s.put("circle/a/z", bytesOf("z", 500))
	for name, to := range map[string]string{"to-file": filepath.Base(tr.files[0]), "circle/a/loop": "..", "far": tr.dirs[12]} {
		s.link(to, name)
	}
	said := &commands{n: map[string]int{}}
	way := startWay(t, s.addr, said.heard)
	z := start(t, "--mode=mirror", "--upstream", "up=ftp://"+way)
	held := z.path("up", "")
	same := func(what string) {
		t.Helper()
		sameThroughLinks(t, what, tr.root, held, dialect{})
	}

	z.walk("/up")
	first := said.take()
	same("first walk")
	if n := len(tr.dirs) + 3; first[lists] < n || first[lists] > n+4 { // proftpd does not tell where the link leads
		t.Errorf("first walk: %v, want %d %s and up to 4 of the circle", first, n, lists)
	}

	did := z.walk("/up")
	n := said.take()
	// No listing tells what a link to another directory is: it is asked for as a file.
	if asked := ofFiles(n); !slices.Equal(asked, []string{"SIZE 1"}) || n[lists] != first[lists] || did.Fetched+did.Same > 0 {
		t.Errorf("second walk: %v, with %q and %d %s; want nothing but SIZE for a link and %d listings", did, asked, n[lists], lists, first[lists])
	}

	fresh := changeTree(t, tr)
	did = z.walk("/up")
	n = said.take()
	if did.Fetched != int64(len(fresh)) || n["RETR"] != len(fresh) || did.Removed != 22 {
		t.Errorf("walk after changes: %v, with %v; want %d files fetched and 22 removed", did, n, len(fresh))
	}
	same("walk after changes")

	// A row tells little of a file of this minute, which is asked for until it is older.
	hot := filepath.Join(tr.root, tr.files[90])
	for i, body := range []string{"hot", "not"} {
		plantFile(t, hot, []byte(body), time.Now().Truncate(time.Minute).Add(time.Duration(i-10)*time.Second))
		z.walk("/up")
		same("walk after a change of a file of this minute: " + body)
	}
	if err := os.Remove(hot); err != nil {
		t.Fatal(err)
	}
	z.walk("/up")
	same("last walk")
}
