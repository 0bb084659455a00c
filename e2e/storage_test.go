package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own for a root, and unmounts it with the test.
func smallDisk(t testing.TB, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("zcache-e2e", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a tmpfs (these tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// ready waits for the instance to call itself fit, or not, to be sent clients.
func (z *zcache) ready(want int) {
	z.t.Helper()
	eventually(z.t, 15*time.Second, fmt.Sprintf("/-/readyz = %d", want), func() (bool, string) {
		a := get(z.t, z.url+"/-/readyz")
		return a.Status == want, fmt.Sprint(a.Status, " ", string(a.Body))
	})
}

func TestAFullDiskMeansPassThroughNotErrors(t *testing.T) {
	body := bytesOf("b", 3*mib)
	n := startNginx(t, "")
	for i := range 6 {
		n.put(fmt.Sprintf("%d.bin", i), body)
	}
	o := startOrigin(t, func(w *wire, r *request) { // no length: the disk fills up in the middle of it
		w.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 12 {
			w.send(fmt.Sprintf("%x\r\n%s\r\n", len(body), body))
		}
		w.send("0\r\n\r\n")
	})
	disk := smallDisk(t, 24*mib)
	z := start(t, "--upstream", "up="+n.url, "--upstream", "endless="+o.url, "--root", filepath.Join(disk, "root"))
	get(t, z.url+"/up/0.bin").whole(t, "while there is room", body)
	z.published("up", "0.bin", int64(len(body)))
	z.ready(http.StatusOK)

	for range 2 {
		d, _, err := download(t, z.url+"/up/mid.bin")
		if d != bodies["mid.bin"].digest || err != nil {
			t.Errorf("a body that does not fit: %d bytes, %v; want %d", d.n, err, midSize)
		}
		a := get(t, z.url+"/endless/x").whole(t, "a body of unknown length that does not fit", bytes.Repeat(body, 12))
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	z.noEntry("endless", "x")
	get(t, z.url+"/up/0.bin").whole(t, "what was there before", body).is(t, "what was there before", 200, "")

	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	z.ready(http.StatusServiceUnavailable)
	for i := range 6 {
		get(t, fmt.Sprintf("%s/up/%d.bin", z.url, i)).whole(t, "on a full disk", body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	z.ready(http.StatusOK)
	get(t, z.url+"/up/5.bin").whole(t, "with room again", body)
	z.published("up", "5.bin", int64(len(body)))
}

// Somebody else may fill the disk while a body of known length is on its way.
func TestADiskThatFillsUpUnderAFillCostsTheClientNothing(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	reached, release := make(chan struct{}), make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == 5*mib {
			close(reached)
			<-release
		}
	}
	disk := smallDisk(t, 48*mib)
	z := start(t, "--upstream", "up="+rl.url, "--root", filepath.Join(disk, "root"))
	resp := begin(t, z.url+"/up/mid.bin")
	defer resp.Body.Close()
	<-reached
	fill(t, filepath.Join(disk, "ballast"))
	close(release)
	if d, err := digestOf(resp.Body); d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("the client got %d bytes, %v; want %d", d.n, err, midSize)
	}
	z.noEntry("up", "mid.bin")
}

// fill writes a file until its disk takes no more.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		_, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReadOnlyRootMeansPassThroughNotErrors(t *testing.T) {
	body := bytesOf("b", mib)
	n := startNginx(t, "")
	n.put("held.bin", body)
	n.put("new.bin", body)
	disk := looped(t)
	z := start(t, "--upstream", "up="+n.url, "--root", filepath.Join(disk, "root"))
	get(t, z.url+"/up/held.bin").whole(t, "while it can be written", body)
	z.published("up", "held.bin", mib)
	// ext4 turns itself read-only after an error; the abort option makes it do so, whatever files are open.
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "abort"); err != nil && !errors.Is(err, syscall.EROFS) {
		t.Fatalf("remount read-only: %v", err)
	}
	if err := os.WriteFile(filepath.Join(disk, "probe"), nil, 0o600); err == nil {
		t.Fatal("the file system can still be written")
	}
	z.ready(http.StatusServiceUnavailable)
	for range 2 {
		get(t, z.url+"/up/held.bin").whole(t, "held, read-only", body).is(t, "held, read-only", 200, "HIT")
		get(t, z.url+"/up/new.bin").whole(t, "new, read-only", body)
	}
	get(t, z.url+"/-/healthz").is(t, "health of the process", 200, "")
}

// looped mounts an ext4 of its own from an image.
func looped(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(image, 64*mib), os.Mkdir(mount, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := command(t, "mkfs.ext4", "-q", "-F", image); code != 0 {
		t.Fatalf("mkfs.ext4: %s", errs)
	}
	if _, errs, code := command(t, "mount", "-o", "loop,errors=remount-ro", image, mount); code != 0 {
		t.Fatalf("mount the image (these tests run as root): %s", errs)
	}
	t.Cleanup(func() {
		if _, errs, code := command(t, "umount", mount); code != 0 {
			t.Errorf("unmount the image: %s", errs)
		}
	})
	return mount
}

func TestARootThatIsGoneMeansPassThroughNotErrors(t *testing.T) {
	body := bytesOf("b", mib)
	n := startNginx(t, "")
	for i := range 4 {
		n.put(fmt.Sprintf("%d.bin", i), body)
	}
	z := start(t, "--upstream", "up="+n.url)
	get(t, z.url+"/up/0.bin").whole(t, "with its root", body)
	z.published("up", "0.bin", mib)
	if err := os.Rename(z.root, z.root+".away"); err != nil {
		t.Fatal(err)
	}
	z.ready(http.StatusServiceUnavailable)
	for i := range 3 {
		get(t, fmt.Sprintf("%s/up/%d.bin", z.url, i)).whole(t, "root moved away", body)
	}
	if err := os.Rename(z.root+".away", z.root); err != nil {
		t.Fatal(err)
	}
	z.ready(http.StatusOK)
	get(t, z.url+"/up/3.bin").whole(t, "root back", body)
	z.published("up", "3.bin", mib)
}

func TestTheOldestUsedIsTrimmedFirstWhileServing(t *testing.T) {
	const entries, size = 10, 2 * mib
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url)
	for i := range entries {
		path := fmt.Sprintf("%d.bin", i)
		n.put(path, bytesOf(path, size))
		get(t, z.url+"/up/"+path).whole(t, path, bytesOf(path, size))
		z.published("up", path, size)
	}
	z.stop()
	// Entry 0 was used last, entry 9 longest ago.
	for i := range entries {
		if err := os.Chtimes(z.path("up", fmt.Sprintf("%d.bin", i)), time.Now().Add(-time.Duration(i+1)*2*time.Hour), modified); err != nil {
			t.Fatal(err)
		}
	}
	z.again("--cache-max-size", "11MiB")
	eventually(t, 60*time.Second, "the cache is within its size", func() (bool, string) {
		get(t, z.url+"/up/0.bin").whole(t, "while it is trimmed", bytesOf("0.bin", size))
		return len(z.entries()) <= 5, strings.Join(z.entries(), " ")
	})
	if got := strings.Join(z.entries(), " "); !strings.HasPrefix("0.bin 1.bin 2.bin 3.bin 4.bin", got) || len(z.entries()) < 3 {
		t.Errorf("left after the trim: %s; want those used last, as many as fit", got)
	}
	get(t, z.url+"/up/9.bin").whole(t, "a trimmed one", bytesOf("9.bin", size)).is(t, "a trimmed one", 200, "MISS")
}

// entries are the names of what lies at the top of hub up.
func (z *zcache) entries() []string {
	var names []string
	all, _ := os.ReadDir(z.path("up", ""))
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".zcache") { // ours, not the upstream's
			names = append(names, e.Name())
		}
	}
	return names
}

func TestBadStartsSayWhatAndHow(t *testing.T) {
	taken := freeAddr(t)
	n := start(t, "--listen", taken, "--upstream", "http://127.0.0.1:9")
	file := filepath.Join(t.TempDir(), "file")
	plant(t, file, []byte("x"), modified)
	rows := []struct {
		name string
		args []string
		exit int
		says string
	}{
		{"port in use", []string{"serve", "--listen", taken, "--root", t.TempDir()}, 1, taken},
		{"a file as root", []string{"serve", "--listen", freeAddr(t), "--root", file}, 1, file},
		{"the root of a running zcache", []string{"serve", "--listen", freeAddr(t), "--root", n.root}, 1, n.root},
		{"unknown flag", []string{"serve", "--lisen", ":1"}, 2, "lisen"},
		{"impossible value", []string{"serve", "--cache-max-size", "many"}, 1, "cache-max-size"},
	}
	for _, row := range rows {
		_, errs, exit := command(t, binary, row.args...)
		if lines := strings.Count(strings.TrimSpace(errs), "\n") + 1; exit != row.exit && exit != 2 || exit == 0 || !strings.Contains(errs, row.says) || lines != 1 {
			t.Errorf("%s: exit %d, %q; want %d and one line that names %s", row.name, exit, errs, row.exit, row.says)
		}
	}
}
