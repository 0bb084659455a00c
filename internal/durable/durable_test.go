package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roots runs test with both ways to resolve a name.
func roots(t *testing.T, test func(t *testing.T, r *Root, dir string)) {
	for _, walk := range []bool{false, true} {
		t.Run(fmt.Sprintf("walk=%v", walk), func(t *testing.T) {
			dir := t.TempDir()
			r, err := OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.walk = r.walk || walk
			test(t, r, dir)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoNameLeavesTheRoot(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(outside+"/secret", []byte("secret"), 0o600))
	roots(t, func(t *testing.T, r *Root, dir string) {
		must(t, r.MkdirAll("a/b"))
		must(t, r.WriteFile("a/real", []byte("real"), false))
		for name, to := range map[string]string{"out": outside, "file": outside + "/secret", "a/up": "../..", "a/in": "real", "a/dir": "b", "loop": "loop"} {
			must(t, os.Symlink(to, dir+"/"+name))
		}
		must(t, os.Symlink("/proc/self/root", dir+"/magic"))
		for _, name := range []string{
			"out/secret", "file", "a/up/x", "a/in", "a/dir/x", "loop", "magic/etc", "../x", "a/../../x", "..", "/etc/passwd", "", "a//b", "a/./b", "a/",
			"a\x00b",
		} {
			for call, f := range map[string]func() error{
				"Open":      func() error { f, err := r.Open(name); return closed(f, err) },
				"OpenRW":    func() error { f, err := r.OpenRW(name); return closed(f, err) },
				"Create":    func() error { f, err := r.Create(name); return closed(f, err) },
				"MkdirAll":  func() error { return r.MkdirAll(name + "/n") },
				"WriteFile": func() error { return r.WriteFile(name+"/n", nil, false) },
				"Link":      func() error { return r.Link("a/real", name+"/n") },
				"Rename":    func() error { return r.Rename("a/real", name+"/n") },
				"Sub":       func() error { _, err := r.Sub(name); return err },
			} {
				if err := f(); err == nil {
					t.Errorf("%s(%q): no error", call, name)
				}
			}
		}
		if st, err := r.Lstat("file"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Errorf("Lstat of a link: %o, %v, want the link itself", st.Mode, err)
		}
		must(t, r.RemoveAll(t.Context(), "out", nil))
		must(t, r.RemoveAll(t.Context(), "a", nil))
		if _, err := os.Stat(outside + "/secret"); err != nil {
			t.Errorf("what a link led to was removed: %v", err)
		}
	})
}

func closed(f *os.File, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}

func TestNamesOfAnyBytesAndLength(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		deep := strings.Repeat("d", 99)
		for _, name := range []string{"a b", "\xff\n", `\`, "...", strings.Repeat("n", 255), strings.Repeat(deep+"/", 60) + "f"} {
			if i := strings.LastIndexByte(name, '/'); i > 0 {
				must(t, r.MkdirAll(name[:i]))
			}
			must(t, r.WriteFile(name, []byte(name), false))
			must(t, r.Rename(name, name+"x"[:min(1, 254/len(filepath.Base(name)))]))
			name += "x"[:min(1, 254/len(filepath.Base(name)))]
			if b, err := r.ReadFile(name, 1<<20); err != nil || len(b) == 0 {
				t.Errorf("read %.20q: %q, %v", name, b, err)
			}
		}
		n := 0
		must(t, r.RemoveAll(t.Context(), deep, func(*unix.Stat_t) { n++ }))
		if _, err := r.Lstat(deep); !errors.Is(err, fs.ErrNotExist) || n != 1 {
			t.Errorf("a deep tree after RemoveAll: %v, %d files told", err, n)
		}
	})
}

func TestReadDirTellsAllNamesOnce(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		want := map[string]byte{"d": Folder}
		must(t, r.MkdirAll("x/d"))
		for i := range 2000 {
			name := fmt.Sprintf("%0100d", i)
			must(t, os.WriteFile(dir+"/x/"+name, nil, 0o600))
			want[name] = Regular
		}
		for range 2 {
			got := map[string]byte{}
			must(t, r.ReadDir("x", func(name string, kind byte) bool {
				if _, twice := got[name]; twice {
					t.Errorf("%s was told twice", name)
				}
				got[name] = kind
				return true
			}))
			if len(got) != len(want) || got["d"] != Folder {
				t.Errorf("%d names, want %d", len(got), len(want))
			}
		}
		n := 0
		must(t, r.ReadDir("x", func(string, byte) bool { n++; return n < 3 }))
		if n != 3 {
			t.Errorf("told to end after 3, it went on to %d", n)
		}
	})
}

func TestExchangeLinkRemove(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		must(t, r.MkdirAll("d"))
		must(t, r.WriteFile("f", []byte("f"), true))
		must(t, r.Link("f", "d/__content"))
		must(t, r.Exchange("d", "f"))
		if b, err := r.ReadFile("f/__content", 9); string(b) != "f" || err != nil {
			t.Errorf("after Exchange f/__content = %q, %v", b, err)
		}
		if err := r.Rmdir("d"); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("Rmdir of a file: %v", err)
		}
		must(t, r.Remove("d"))
		if err := r.Remove("f"); !errors.Is(err, unix.ENOTEMPTY) {
			t.Errorf("Remove of a full directory: %v", err)
		}
		must(t, r.Remove("f/__content"))
		must(t, r.Remove("f"))
		if err := r.MkdirAll("a/b/c"); err != nil {
			t.Error(err)
		}
		must(t, r.WriteFile("a/b/c/f", nil, false))
		if err := r.MkdirAll("a/b/c/f/g"); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("MkdirAll through a file: %v, want ENOTDIR", err)
		}
	})
}

func TestAttributes(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		f, err := r.Create("f")
		must(t, err)
		defer f.Close()
		if _, err := Attr(f, "user.zcache", nil); !errors.Is(err, ErrNoAttr) {
			t.Errorf("Attr where there is none: %v", err)
		}
		for _, n := range []int{0, 1, 600, 3000} {
			value := bytes.Repeat([]byte("v"), n)
			must(t, SetAttr(f, "user.zcache", value))
			if got, err := Attr(f, "user.zcache", make([]byte, 16)); err != nil || !bytes.Equal(got, value) {
				t.Errorf("Attr of %d bytes = %d bytes, %v", n, len(got), err)
			}
		}
		must(t, RemoveAttr(f, "user.zcache"))
		must(t, RemoveAttr(f, "user.zcache"))
		changed, used := time.Unix(1000, 5), time.Unix(2000, 7)
		must(t, SetTimes(f, time.Time{}, changed))
		must(t, r.SetUsed("f", used))
		st, err := r.Lstat("f")
		if err != nil || st.Mtim.Sec != 1000 || st.Mtim.Nsec != 5 || st.Atim.Sec != 2000 {
			t.Errorf("times = %v, %v, %v", st.Mtim, st.Atim, err)
		}
	})
}

func TestLockIsHeldByOne(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		first, err := r.Lock("lock")
		must(t, err)
		if _, err := r.Lock("lock"); !errors.Is(err, ErrLocked) {
			t.Errorf("a second Lock: %v, want ErrLocked", err)
		}
		first.Close()
		again, err := r.Lock("lock")
		must(t, err)
		again.Close()
	})
}

func TestClosedRootOpensNothing(t *testing.T) {
	r, err := OpenRoot(t.TempDir())
	must(t, err)
	must(t, r.WriteFile("f", nil, false))
	r.Close()
	if f, err := r.Open("f"); err == nil {
		f.Close()
		t.Error("Open after Close: no error")
	}
}

func TestFifoDoesNotBlock(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		must(t, unix.Mkfifo(dir+"/fifo", 0o600))
		f, err := r.Open("fifo")
		must(t, err)
		f.Close()
	})
}

func TestSpareIsCalledWithoutDescriptors(t *testing.T) {
	r, err := OpenRoot(t.TempDir())
	must(t, err)
	defer r.Close()
	must(t, r.MkdirAll("d"))
	var held []*os.File
	r.Spare(func() {
		for _, f := range held {
			f.Close()
		}
		held = nil
	})
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: old.Max}))
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	must(t, r.WriteFile("d/f", []byte("x"), false))
	if held != nil {
		t.Error("the write went on without a spare descriptor; the test shows nothing")
	}
}

func TestGrowingWaitEndsWithItsContext(t *testing.T) {
	g := growing(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the reader left")
	cancel(cause)
	if _, _, err := g.Wait(ctx, 0); !errors.Is(err, cause) {
		t.Errorf("Wait = %v, want %v", err, cause)
	}
	g.Close()
	if _, ok := g.Section(t.Context(), 0, -1); ok {
		t.Error("a closed Growing gave a Section")
	}
}

func growing(t *testing.T) *Growing {
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	return NewGrowing(f, 0)
}

func TestFollowersGetAllBytes(t *testing.T) {
	g := growing(t)
	const followers = 100
	want := make([]byte, 0, 1<<20)
	type result struct {
		body []byte
		err  error
	}
	results := make(chan result)
	for i := range followers {
		s, _ := g.Section(t.Context(), int64(i), -1)
		go func() {
			b, err := io.ReadAll(s)
			s.Close()
			results <- result{b, err}
		}()
	}
	for i := range 200 {
		p := bytes.Repeat([]byte{byte(i)}, 1+i*17)
		want = append(want, p...)
		if _, err := g.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	g.End(nil)
	g.Close()
	var got []int
	for range followers {
		r := <-results
		if r.err != nil || !bytes.HasSuffix(want, r.body) {
			t.Fatalf("a follower got %d bytes, %v", len(r.body), r.err)
		}
		got = append(got, len(want)-len(r.body))
	}
	slices.Sort(got)
	for i, off := range got {
		if i != off {
			t.Fatalf("follower %d began at %d", i, off)
		}
	}
	if _, err := g.Write([]byte("x")); err == nil {
		t.Error("Write after End: no error")
	}
}

func TestADirectoryCanBeMarked(t *testing.T) {
	roots(t, func(t *testing.T, r *Root, dir string) {
		must(t, r.MkdirAll("a"))
		sub, err := r.Sub("a")
		must(t, err)
		defer sub.Close()
		for _, want := range []bool{false, true} {
			if got, err := sub.Marked("user.test"); got != want || err != nil {
				t.Errorf("Marked = %v, %v, want %v", got, err, want)
			}
			must(t, sub.Mark("user.test", []byte("x")))
		}
		if got, err := r.Marked("user.test"); got || err != nil {
			t.Errorf("the directory above is marked: %v, %v", got, err)
		}
		var buf [8]byte
		if got, err := sub.ReadMark("user.test", buf[:]); string(got) != "x" || err != nil {
			t.Errorf("ReadMark = %q, %v, want x", got, err)
		}
		must(t, sub.Mark("user.test", make([]byte, 9)))
		if got, err := sub.ReadMark("user.test", buf[:]); !errors.Is(err, unix.ERANGE) {
			t.Errorf("ReadMark of one that does not fit = %q, %v, want ERANGE", got, err)
		}
		for range 2 { // the second finds none
			must(t, sub.Unmark("user.test"))
			if got, err := sub.ReadMark("user.test", buf[:]); got != nil || err != nil {
				t.Errorf("ReadMark after Unmark = %q, %v, want none", got, err)
			}
		}
	})
}
