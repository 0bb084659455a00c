// Package cachetest holds any cache.Store to the contract of that interface: what is committed is what is opened, whole and by the
// right key; what failed leaves nothing; readers of a draft get every byte or an error. It knows nothing of how a Store keeps
// what it is given.
package cachetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"zcache/internal/cache"
)

// Run runs all tests, each on a new, empty Store that open makes and closes.
func Run(t *testing.T, open func(t *testing.T) cache.Store) {
	for _, c := range []struct {
		claim string
		test  func(t *testing.T, s cache.Store)
	}{
		{"nothing is stored at first", empty},
		{"what is committed is opened", roundTrip},
		{"keys keep apart what URLs keep apart", distinct},
		{"a body of another length than announced is not stored", wrongLength},
		{"a good entry outlives a failed replacement", keptOnFailure},
		{"an entry that is open outlives its replacement", openOutlives},
		{"readers follow a draft to its end", follow},
		{"readers see no more than is held back", hold},
		{"readers of a discarded draft get its error", discarded},
		{"a suspended draft is resumed where it ended", resumed},
		{"a draft is resumed by one alone", resumedOnce},
		{"a request selects its variant", variants},
		{"the more recent of a body and a negative entry answers", negative},
		{"freshening replaces the meta and keeps the body", freshened},
		{"an entry that was replaced is not freshened", freshenedTooLate},
		{"a document may have children, in any order", documents},
		{"removal takes what it names and no more", removal},
		{"a list tells every entry below a key", list},
		{"what may be a listing is one when it is", listings},
		{"a directory is a listing or a document", pagesAndListings},
		{"a listing that is cut off does not replace a whole one", cutListing},
		{"a document of former eyes is recognised", recognised},
		{"names tell what lies directly below", names},
	} {
		t.Run(c.claim, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Key is the key of path in the hub "hub".
func Key(t testing.TB, path string) cache.Key {
	t.Helper()
	path, query, has := cutQuery(path)
	k, err := cache.ParseKey("hub", path, query, has)
	if err != nil {
		t.Fatalf("ParseKey(%q): %v", path, err)
	}
	return k
}

func cutQuery(s string) (path, query string, has bool) {
	before, after, ok := bytes.Cut([]byte(s), []byte("?"))
	return string(before), string(after), ok
}

// Meta is that of a plain 200 response of unknown length, received a minute ago.
func Meta() *cache.Meta {
	at := time.Now().Add(-time.Minute)
	return &cache.Meta{
		Status: http.StatusOK, Asked: at, Received: at, Stored: at, Size: -1, Limit: -1, URL: "https://origin.example/x",
		Header: http.Header{
			"Etag": {`"v1"`}, "Last-Modified": {"Wed, 01 Jan 2025 00:00:00 GMT"}, "X-Two": {"b", "a"}, "X-Raw": {"caf\xe9"},
		},
	}
}

// Put stores body for key.
func Put(t testing.TB, s cache.Store, key cache.Key, m *cache.Meta, body string) {
	t.Helper()
	d := create(t, s, key, m)
	write(t, d, body)
	e, err := d.Commit(m)
	if err != nil {
		t.Fatalf("Commit %s: %v", key, err)
	}
	if got := Body(t, e); got != body {
		t.Fatalf("the committed entry of %s holds %.40q, want %.40q", key, got, body)
	}
}

// Body reads and closes e.
func Body(t testing.TB, e *cache.Entry) string {
	t.Helper()
	defer e.Close()
	s := e.Section(0, -1)
	defer s.Close()
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("read %s: %v", e.Key, err)
	}
	return string(b)
}

// Want says that opening key gives body.
func Want(t testing.TB, s cache.Store, key cache.Key, request http.Header, body string) {
	t.Helper()
	e, err := s.Open(key, request)
	if err != nil {
		t.Fatalf("Open %s: %v, want %.40q", key, err, body)
	}
	if got := Body(t, e); got != body {
		t.Fatalf("Open %s = %.40q, want %.40q", key, got, body)
	}
}

// WantNone says that nothing is stored for key.
func WantNone(t testing.TB, s cache.Store, key cache.Key, request http.Header) {
	t.Helper()
	e, err := s.Open(key, request)
	if err == nil {
		t.Fatalf("Open %s = %.40q, want nothing stored", key, Body(t, e))
	}
	if !errors.Is(err, cache.ErrNotStored) {
		t.Fatalf("Open %s: %v, want ErrNotStored", key, err)
	}
}

func create(t testing.TB, s cache.Store, key cache.Key, m *cache.Meta) cache.Draft {
	t.Helper()
	d, err := s.Create(key, m)
	if err != nil {
		t.Fatalf("Create %s: %v", key, err)
	}
	return d
}

func write(t testing.TB, d cache.Draft, body string) {
	t.Helper()
	if n, err := io.WriteString(d, body); err != nil || n != len(body) {
		t.Fatalf("Write = %d, %v, want %d", n, err, len(body))
	}
}

func empty(t *testing.T, s cache.Store) {
	WantNone(t, s, Key(t, "/a"), nil)
	WantNone(t, s, Key(t, "/"), nil)
	if d := s.Resume(Key(t, "/a")); d != nil {
		t.Errorf("Resume = %v, want nil", d)
	}
	if n, err := s.Remove(Key(t, "/"), true); n != 0 || err != nil {
		t.Errorf("Remove of nothing = %d, %v, want 0", n, err)
	}
}

func roundTrip(t *testing.T, s cache.Store) {
	for _, size := range []int{0, 1, 32 << 10, 32<<10 + 1, 1 << 20} {
		key, body := Key(t, fmt.Sprintf("/d/%d", size)), string(bytes.Repeat([]byte("x"), size))
		m := Meta()
		m.Size = int64(size)
		Put(t, s, key, m, body)
		e, err := s.Open(key, nil)
		if err != nil {
			t.Fatalf("Open %s: %v", key, err)
		}
		got := e.Meta
		if e.Adopted || got.Status != 200 || got.Size != int64(size) || e.Size() != got.Size || got.SHA256 != sha256.Sum256([]byte(body)) ||
			!got.Received.Equal(m.Received) || got.URL != m.URL || got.Limit != m.Limit || got.ModTime.IsZero() {
			t.Errorf("Open %s: adopted %v, meta %+v, want that of %+v", key, e.Adopted, got, m)
		}
		for name, want := range m.Header {
			if fmt.Sprint(got.Header[name]) != fmt.Sprint(want) {
				t.Errorf("Open %s: %s = %q, want %q", key, name, got.Header[name], want)
			}
		}
		if size > 1 {
			part := make([]byte, 1)
			if _, err := e.ReadAt(part, int64(size-1)); err != nil || part[0] != 'x' {
				t.Errorf("ReadAt the last byte = %q, %v", part, err)
			}
			sec := e.Section(1, 2)
			e.Close()
			if b, err := io.ReadAll(sec); string(b) != "x" || err != nil {
				t.Errorf("a section read after the entry was closed = %q, %v", b, err)
			}
			sec.Close()
		}
		e.Close()
	}
}

func distinct(t *testing.T, s cache.Store) {
	paths := []string{
		"/a", "/a?", "/a?b", "/a%2Fb", "/a%2fb", "/a//b", "/a/b", "/a%22", "/a\"", "/a%20b", "/a%2520b", "/%FF", "/%00", "/a%0Ab",
		"/__content", "/.zcache", "/.zcache-index", "/a/__content", "/" + string(bytes.Repeat([]byte("n"), 300)), "/é", "/%C3%A9",
	}
	for _, p := range paths {
		Put(t, s, Key(t, p), Meta(), "body of "+p)
	}
	for _, p := range paths {
		Want(t, s, Key(t, p), nil, "body of "+p)
	}
	Put(t, s, Key(t, "/%7Eu"), Meta(), "tilde")
	Want(t, s, Key(t, "/~u"), nil, "tilde")
}

func wrongLength(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	for _, body := range []string{"four", "sixsix"} {
		m := Meta()
		m.Size = 5
		d := create(t, s, key, m)
		write(t, d, body)
		if _, err := d.Commit(m); err == nil {
			t.Errorf("Commit of %d bytes, 5 announced: no error", len(body))
		}
		d.Discard(nil) // after a failed Commit it does nothing
		WantNone(t, s, key, nil)
	}
}

func keptOnFailure(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	Put(t, s, key, Meta(), "good")
	d := create(t, s, key, Meta())
	write(t, d, "ba")
	Want(t, s, key, nil, "good")
	d.Discard(errors.New("broken off"))
	Want(t, s, key, nil, "good")
}

func openOutlives(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	long := string(bytes.Repeat([]byte("old"), 20000))
	Put(t, s, key, Meta(), long)
	e, err := s.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	Put(t, s, key, Meta(), "new")
	Want(t, s, key, nil, "new")
	if got := Body(t, e); got != long {
		t.Errorf("the entry opened before holds %d bytes, %.10q, want %d of the old", len(got), got, len(long))
	}
}

func variants(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	in := func(lang string) http.Header { return http.Header{"X-Lang": {lang}} }
	put := func(lang, body string, age time.Duration) {
		m := Meta()
		m.Vary, m.Received = in(lang), time.Now().Add(-age)
		Put(t, s, key, m, body)
	}
	put("de", "deutsch", time.Hour)
	put("fr", "français", time.Minute)
	Want(t, s, key, in("de"), "deutsch")
	Want(t, s, key, in("fr"), "français")
	WantNone(t, s, key, in("en"))
	WantNone(t, s, key, nil)
	put("fr", "français 2", time.Second)
	Want(t, s, key, in("fr"), "français 2")
	Want(t, s, key, in("de"), "deutsch")
	Put(t, s, key, Meta(), "for all")
	Want(t, s, key, in("de"), "for all")
	Want(t, s, key, in("fr"), "for all")
	if n, err := s.Remove(key, false); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v, want the one response that outdated the others", n, err)
	}
}

func negative(t *testing.T, s cache.Store) {
	key := Key(t, "/a/b")
	put := func(status int, body string, age time.Duration) {
		m := Meta()
		m.Status, m.Received = status, time.Now().Add(-age)
		Put(t, s, key, m, body)
	}
	put(404, "gone", time.Hour)
	Want(t, s, key, nil, "gone")
	put(200, "back", 50*time.Minute)
	Want(t, s, key, nil, "back")
	put(404, "gone again", 40*time.Minute)
	Want(t, s, key, nil, "gone again")
	put(200, "back again", 30*time.Minute)
	Want(t, s, key, nil, "back again")
	put(410, "for good", 20*time.Minute)
	if n, err := s.Remove(key, false); n != 2 || err != nil {
		t.Errorf("Remove = %d, %v, want the body and the negative entry", n, err)
	}
	WantNone(t, s, key, nil)
	put(404, "gone", time.Hour)
	put(200, "back", time.Minute)
	if n, err := s.Remove(key, false); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v, want the body alone, for it outdated the negative entry", n, err)
	}
}

func freshened(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	Put(t, s, key, Meta(), "body")
	e, err := s.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m := *e.Meta
	m.Received, m.Header = time.Now(), http.Header{"Etag": {`"v2"`}}
	if err := s.Freshen(e, &m); err != nil {
		t.Fatal(err)
	}
	again, err := s.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Adopted || again.Meta.ETag() != `"v2"` || !again.Meta.Received.Equal(m.Received) || again.Meta.SHA256 != e.Meta.SHA256 ||
		!again.Meta.Stored.Equal(e.Meta.Stored) || again.Meta.LastModified() != "" {
		t.Errorf("after Freshen: adopted %v, %+v", again.Adopted, again.Meta)
	}
	if got := Body(t, again); got != "body" {
		t.Errorf("after Freshen the body is %q", got)
	}
}

func freshenedTooLate(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	Put(t, s, key, Meta(), "old")
	e, err := s.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m := Meta()
	m.Header.Set("Etag", `"new"`)
	Put(t, s, key, m, "new")
	if err := s.Freshen(e, Meta()); err != nil {
		t.Errorf("Freshen of a replaced entry: %v", err)
	}
	got, err := s.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if got.Meta.ETag() != `"new"` {
		t.Errorf("the new entry's ETag became %s", got.Meta.ETag())
	}
}

func documents(t *testing.T, s cache.Store) {
	for _, order := range [][]string{
		{"/a", "/a/", "/a/b", "/a/b/c"}, {"/a/b/c", "/a/b", "/a/", "/a"}, {"/a/b", "/a", "/a/b/c", "/a/"},
	} {
		for i, p := range order {
			Put(t, s, Key(t, p), Meta(), "body of "+p)
			for _, done := range order[:i+1] {
				Want(t, s, Key(t, done), nil, "body of "+done)
			}
			for _, todo := range order[i+1:] {
				WantNone(t, s, Key(t, todo), nil)
			}
		}
		for i, p := range order {
			if n, err := s.Remove(Key(t, p), false); n != 1 || err != nil {
				t.Errorf("Remove %s = %d, %v, want 1", p, n, err)
			}
			WantNone(t, s, Key(t, p), nil)
			for _, kept := range order[i+1:] {
				Want(t, s, Key(t, kept), nil, "body of "+kept)
			}
		}
	}
}

func removal(t *testing.T, s cache.Store) {
	all := []string{"/a", "/a/", "/a/b", "/a/b?q", "/a/" + string(bytes.Repeat([]byte("n"), 300)), "/a//c", "/ab", "/ab/c", "/z?a"}
	for _, p := range all {
		Put(t, s, Key(t, p), Meta(), p)
	}
	m := Meta()
	m.Status = 404
	Put(t, s, Key(t, "/a/missing"), m, "no")
	d := create(t, s, Key(t, "/a/part"), Meta())
	write(t, d, "x")
	d.Suspend(nil)
	if n, err := s.Remove(Key(t, "/a"), true); n != 7 || err != nil {
		t.Errorf("Remove /a and below = %d, %v, want 7", n, err)
	}
	for _, p := range append(all[:6:6], "/a/missing") {
		WantNone(t, s, Key(t, p), nil)
	}
	if s.Resume(Key(t, "/a/part")) != nil {
		t.Error("a removed draft was resumed")
	}
	for _, p := range all[6:] {
		Want(t, s, Key(t, p), nil, p)
	}
	if n, err := s.Remove(Key(t, "/"), true); n != 3 || err != nil {
		t.Errorf("Remove of the hub = %d, %v, want 3", n, err)
	}
	WantNone(t, s, Key(t, "/z?a"), nil)
}

func list(t *testing.T, s cache.Store) {
	all := []string{"/a", "/a/", "/a/b", "/a/b?q", "/a/%2F", "/a/" + string(bytes.Repeat([]byte("n"), 300)), "/ab"}
	for _, p := range all {
		Put(t, s, Key(t, p), Meta(), p)
	}
	for _, c := range []struct {
		under string
		want  []string
	}{{"/", all}, {"/a", all[:6]}, {"/a/", all[:6]}, {"/ab", all[6:]}, {"/none", nil}} {
		got := map[cache.Key]cache.Info{}
		err := s.List(t.Context(), Key(t, c.under), func(k cache.Key, info cache.Info) bool {
			got[k] = info
			return true
		})
		if err != nil || len(got) != len(c.want) {
			t.Errorf("List %s = %d entries, %v, want %d", c.under, len(got), err, len(c.want))
		}
		for _, p := range c.want {
			if info, ok := got[Key(t, p)]; !ok || info.Size != int64(len(p)) || info.ModTime.IsZero() || info.Used.IsZero() {
				t.Errorf("List %s tells of %s: %v, %+v", c.under, p, ok, info)
			}
		}
	}
	n := 0
	if err := s.List(t.Context(), Key(t, "/"), func(cache.Key, cache.Info) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("List that is told to end after 2 went on to %d, %v", n, err)
	}
}
