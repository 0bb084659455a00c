package cachetest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// page is a listing as servers make them.
func page(names ...string) string {
	var b strings.Builder
	b.WriteString("<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\r\n")
	for _, name := range names {
		b.WriteString(`<a href="` + name + `">` + name + `</a>` + strings.Repeat(" ", 51-len(name)) + "08-Nov-2025 10:00                 123\r\n")
	}
	b.WriteString("</pre><hr></body>\r\n</html>\r\n")
	return b.String()
}

// pageMeta is the Meta of a page that may be a listing.
func pageMeta(path string) *cache.Meta {
	m := Meta()
	m.Listing = true
	m.URL = "https://origin.example" + path
	m.Header = http.Header{"Content-Type": {"text/html"}}
	return m
}

// listed are the names that the listing at path tells.
func listed(t *testing.T, s cache.Store, path string) []string {
	t.Helper()
	e, err := s.Open(Key(t, path), nil)
	if err != nil {
		t.Fatalf("Open %s: %v", path, err)
	}
	defer e.Close()
	if !e.Meta.Listing {
		t.Fatalf("Open %s: an ordinary document, want a listing", path)
	}
	l, err := s.Listing(e)
	if err != nil {
		t.Fatalf("Listing of %s: %v", path, err)
	}
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	return names
}

func wantListed(t *testing.T, s cache.Store, path string, want ...string) {
	t.Helper()
	if got := listed(t, s, path); !slices.Equal(got, want) {
		t.Errorf("the listing at %s has %q, want %q", path, got, want)
	}
}

func listings(t *testing.T, s cache.Store) {
	for _, path := range []string{"/", "/d/", "/a%2Fb/"} {
		Put(t, s, Key(t, path), pageMeta(path), page("a.tar.gz", "sub/"))
		wantListed(t, s, path, "a.tar.gz", "sub")
		wantListed(t, s, path, "a.tar.gz", "sub") // read from what was kept
		Put(t, s, Key(t, path), pageMeta(path), page("b.tar.gz"))
		wantListed(t, s, path, "b.tar.gz")
	}
	e, err := s.Open(Key(t, "/d/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m := *e.Meta
	m.Received = time.Now()
	if err := s.Freshen(e, &m); err != nil {
		t.Fatalf("Freshen: %v", err)
	}
	wantListed(t, s, "/d/", "b.tar.gz")
	if m, adopted, err := s.Peek(Key(t, "/d/")); err != nil || adopted || !m.Listing {
		t.Errorf("Peek = %+v, adopted %v, %v, want the Meta of a listing", m, adopted, err)
	}
	if n, err := s.Remove(Key(t, "/d/"), false); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v, want 1", n, err)
	}
	WantNone(t, s, Key(t, "/d/"), nil)
}

func pagesAndListings(t *testing.T, s cache.Store) {
	key := Key(t, "/d/")
	const document = "<html><head><title>Welcome</title></head><body><p>This is a project of ours.</p></body></html>"
	Put(t, s, key, pageMeta("/d/"), document)
	e, err := s.Open(key, nil)
	if err != nil || e.Meta.Listing {
		t.Fatalf("Open of a page that is no listing: %+v, %v, want an ordinary document", e, err)
	}
	if _, err := s.Listing(e); !errors.Is(err, listing.ErrNotListing) {
		t.Errorf("Listing of a document: %v, want ErrNotListing", err)
	}
	e.Close()
	old := pageMeta("/d/")
	old.Received = time.Now().Add(-25 * time.Hour)
	Put(t, s, key, old, page("a"))
	wantListed(t, s, "/d/", "a")
	Put(t, s, key, pageMeta("/d/"), document) // the listing was not confirmed for a day
	Want(t, s, key, nil, document)
	if n, err := s.Remove(key, false); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v, want 1: a directory is a listing or a document, not both", n, err)
	}
	WantNone(t, s, key, nil)
	m := pageMeta("/d/")
	m.Listing = false
	Put(t, s, key, m, page("a"))
	if e, err := s.Open(key, nil); err != nil || e.Meta.Listing {
		t.Errorf("what was not to be looked at became a listing: %v", err)
	} else {
		e.Close()
	}
}

func cutListing(t *testing.T, s cache.Store) {
	key := Key(t, "/d/")
	Put(t, s, key, pageMeta("/d/"), page("a", "b", "c"))
	whole := page("a", "b", "c", "d")
	m := pageMeta("/d/")
	d := create(t, s, key, m)
	write(t, d, whole[:strings.Index(whole, ">d<")])
	if e, err := d.Commit(m); !errors.Is(err, cache.ErrCutListing) {
		t.Errorf("Commit of a listing that is cut off = %+v, %v, want ErrCutListing", e, err)
	}
	wantListed(t, s, "/d/", "a", "b", "c")
	for what, body := range map[string]string{
		"a page that is no listing": "<html><body><h1>Down for maintenance</h1></body></html>",
		"lines that may go on":      "-rw-r--r-- 1 ftp ftp 12 Jan 01 2025 a\r\n-rw-r--r-- 1 ftp ftp 12 Jan 01 2025 b\r\n",
	} {
		m := pageMeta("/d/")
		m.Provisional = true
		if !strings.HasPrefix(body, "<") {
			m.Header.Set("Content-Type", "text/plain")
		}
		d := create(t, s, key, m)
		write(t, d, body)
		if e, err := d.Commit(m); !errors.Is(err, cache.ErrCutListing) && !errors.Is(err, cache.ErrNoListing) {
			t.Errorf("Commit of %s = %+v, %v, want it refused", what, e, err)
		}
		wantListed(t, s, "/d/", "a", "b", "c")
	}
}

func recognised(t *testing.T, s cache.Store) {
	for _, path := range []string{"/d/", "/a%2Fb/"} {
		m := pageMeta(path)
		m.Listing = false // as it was stored before anybody looked
		Put(t, s, Key(t, path), m, page("a"))
		e, err := s.Open(Key(t, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Recognise(e); !ok || err != nil {
			t.Errorf("Recognise %s = %v, %v, want a listing", path, ok, err)
		}
		e.Close()
		wantListed(t, s, path, "a")
	}
	m := pageMeta("/e/")
	m.Listing = false
	Put(t, s, Key(t, "/e/"), m, "<html><body><p>A page.</p></body></html>")
	for range 2 {
		e, err := s.Open(Key(t, "/e/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Recognise(e); ok || err != nil {
			t.Errorf("Recognise a page = %v, %v, want none", ok, err)
		}
		e.Close()
	}
	Want(t, s, Key(t, "/e/"), nil, "<html><body><p>A page.</p></body></html>")
}

func names(t *testing.T, s cache.Store) {
	for _, path := range []string{"/d/file", "/d/dir/below", "/d/both", "/d/both/below", "/d/file?query", "/d/.zcache", "/e"} {
		Put(t, s, Key(t, path), Meta(), path)
	}
	Put(t, s, Key(t, "/d/"), pageMeta("/d/"), page("a"))
	var got []string
	err := s.Names(Key(t, "/d/"), func(name string, dir bool) bool {
		if dir {
			name += "/"
		}
		got = append(got, name)
		return true
	})
	slices.Sort(got)
	if want := []string{"both/", "dir/", "file"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Names of /d/ = %q, %v, want %q", got, err, want)
	}
	if err := s.Names(Key(t, "/none/"), func(string, bool) bool { t.Error("a name where nothing is held"); return true }); err != nil {
		t.Errorf("Names of what is not held: %v", err)
	}
}
