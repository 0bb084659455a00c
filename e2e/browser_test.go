package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A desk is what the tests of the pages look at: a browser, and a zcache before a tree like those of real mirrors.
type desk struct {
	c     *chromium
	n     *nginx
	z     *zcache
	shots string
}

const (
	wide, high = 1100, 800
	hostile    = `<script>alert(1)<!--'" onmouseover=alert(2) x=".txt`
)

// sizes are the files of v6.x. They are sparse: only what is fetched is read.
var sizes = map[string]int64{
	"ChangeLog-6.12.58": 261_343, "ChangeLog-6.12.58.sign": 989, "ChangeLog-6.17.8": 301_343,
	"linux-6.1.158.tar.gz": 211 * mib, "linux-6.1.158.tar.sign": 989, "linux-6.1.158.tar.xz": 129 * mib,
	"linux-6.12.58.tar.gz": 231 * mib, "linux-6.12.58.tar.sign": 989, "linux-6.12.58.tar.xz": 141*mib + 77,
	"linux-6.17.8.tar.gz": 240 * mib, "linux-6.17.8.tar.sign": 989, "linux-6.17.8.tar.xz": 147 * mib,
	"patch-6.12.58.xz": 1_548_796, "patch-6.17.8.xz": 1_203_004, "README": 1_212, "sha256sums.asc": 91_123,
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{c: startChromium(t), n: startNginx(t, "autoindex on; autoindex_exact_size on;"), shots: os.Getenv("ZCACHE_SCREENSHOTS")}
	if d.shots == "" {
		d.shots = t.TempDir()
	}
	v6 := filepath.Join(d.n.tree, "pub/linux/kernel/v6.x")
	for _, dir := range []string{"incr", "stable-review"} {
		if err := os.MkdirAll(filepath.Join(v6, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Date(2026, 11, 13, 9, 24, 0, 0, time.UTC)
	for i, name := range sortedNames(sizes) {
		file := filepath.Join(v6, name)
		if err := os.WriteFile(file, magic(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, sizes[name]); err != nil {
			t.Fatal(err)
		}
		when := at.Add(-time.Duration(i*i) * 7 * time.Hour)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	d.n.put("pub/odd/"+hostile, []byte("harmless"))
	d.n.put("pub/odd/exe.\u202efdp.sh", nil)
	d.n.put("pub/odd/a-name-that-has-no-place-to-break-"+strings.Repeat("x", 120), nil)
	for i := range 6000 {
		name := filepath.Join(d.n.tree, fmt.Sprintf("pub/many/package-%04d.deb", i))
		if i == 0 {
			_ = os.MkdirAll(filepath.Dir(name), 0o755)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.z = start(t, "--upstream", "kernel="+d.n.url+"/pub", "--upstream", "gnu="+d.n.url+"/gnu")
	for _, name := range []string{"ChangeLog-6.12.58", "ChangeLog-6.12.58.sign", "linux-6.12.58.tar.sign", "patch-6.17.8.xz", "README", "sha256sums.asc"} {
		get(t, d.v6()+name)
		d.z.published("kernel", "linux/kernel/v6.x/"+name, sizes[name])
	}
	return d
}

func (d *desk) v6() string { return d.z.url + "/kernel/linux/kernel/v6.x/" }

func sortedNames(m map[string]int64) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// magic is how a file of that name begins: an HTML page in the place of an archive would be refused.
func magic(name string) []byte {
	switch filepath.Ext(name) {
	case ".xz":
		return []byte("\xfd7zXZ\x00")
	case ".gz":
		return []byte{0x1f, 0x8b, 8}
	}
	return []byte(name + "\n")
}

func TestPagesInABrowser(t *testing.T) {
	d := newDesk(t)
	// The upstream goes away in the last of them.
	for _, run := range []struct {
		claim string
		test  func(t *testing.T, d *desk)
	}{
		{"a directory is one request, with nothing from elsewhere", browseLoads},
		{"rows are sorted in place, as the server sorts them", browseSorts},
		{"names are filtered while one types", browseFilters},
		{"all goes by keyboard", browseKeys},
		{"names are harmless", browseHostile},
		{"a long directory is quick", browseLong},
		{"a telephone shows all of it", browsePhone},
		{"in the dark it is dark", browseDark},
		{"it works without scripts", browseNoScript},
		{"it prints", browsePrint},
		{"assistive technology sees a table", browseAssistive},
		{"off line it says so", browseOffline},
	} {
		t.Run(run.claim, func(t *testing.T) { run.test(t, d) })
	}
}

// shown is JavaScript for the names that are shown, in order.
const shown = `[...document.querySelectorAll('tbody tr')].filter(r => !r.hidden && !r.parentElement.hidden).map(r => r.querySelector('a').textContent).join(' ')`

func browseLoads(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	b.is("title", "document.title", "Index of /kernel/linux/kernel/v6.x/")
	b.is("rows", "document.querySelectorAll('tbody tr').length", fmt.Sprint(len(sizes)+2))
	b.is("an exact size", `document.querySelector('[href="./linux-6.12.58.tar.xz"]').closest('tr').querySelector('data').value`, fmt.Sprint(sizes["linux-6.12.58.tar.xz"]))
	b.is("a held file", `document.querySelector('[href="./README"]').closest('tr').lastElementChild.textContent`, "held")
	b.is("an absent file", `document.querySelector('[href="./linux-6.17.8.tar.xz"]').closest('tr').lastElementChild.textContent`, "not held")
	b.is("a signature below its file", `document.querySelector('[href="./linux-6.12.58.tar.sign"]').closest('tr').classList.contains('of')`, "true")
	if got := b.asked(); !slices.Equal(got, []string{d.v6()}) {
		t.Errorf("the page asked for %q, want itself alone", got)
	}
	b.shot(d.shots, "browse")
	b.loads("a click on a part of the path", func() { b.click("h1 a:nth-of-type(2)") })
	b.is("where it leads", "location.pathname", "/kernel/linux/")
	b.loads("a click on a directory", func() { b.click("tbody tr.dir a") })
	b.is("where it leads", "location.pathname", "/kernel/linux/kernel/")
	b.loads("a click on the mark", func() { b.click("button.mark") })
	b.is("hubs", "[...document.querySelectorAll('tbody tr td:first-child')].map(c => c.textContent).join(' ')", "kernel gnu")
	b.shot(d.shots, "root")
	b.quiet(d.z.addr)
}

func browseSorts(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	b.eval("window.same = 'page'", nil)
	for _, c := range []struct{ column, query string }{
		{"2", "?sort=size&order=desc"}, {"2", "?sort=size&order=asc"}, {"3", "?sort=time&order=desc"}, {"3", "?sort=time&order=asc"},
		{"1", "?sort=name&order=asc"}, {"1", "?sort=name&order=desc"},
	} {
		b.click("th:nth-child(" + c.column + ") button")
		b.is("the query after a click on column "+c.column, "location.search", c.query)
		b.is("still the same page", "window.same", "page")
		other := d.c.tab(t, view{width: wide, height: high})
		other.open(d.v6() + c.query)
		b.is("rows of "+c.query+" as the server sorts them", shown, other.text(shown))
		sorted := `document.querySelector('[aria-sort]').textContent + document.querySelector('[aria-sort]').getAttribute('aria-sort')`
		b.is("the sorted column", sorted, other.text(sorted))
	}
	b.quiet(d.z.addr)
}

func browseFilters(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	b.press("/")
	b.is("focus after /", "document.activeElement.id", "find")
	b.press("t", "a", "R", " ", "6", ".", "1", "2")
	b.is("names with all words", shown, "linux-6.12.58.tar.gz linux-6.12.58.tar.sign linux-6.12.58.tar.xz")
	b.is("count", "document.querySelector('#count').textContent", fmt.Sprintf("3 of %d entries", len(sizes)+2))
	b.press("x", "x")
	b.is("no name matches", "document.querySelector('#none').hidden", "false")
	b.press("Escape")
	b.is("all are back", "[...document.querySelectorAll('tbody tr')].filter(r => !r.hidden).length", fmt.Sprint(len(sizes)+2))
	b.press("p", "a", "t", "c", "h", "-", "6", ".", "1", "2", "ArrowDown")
	b.is("focus after the arrow", "document.activeElement.textContent", "patch-6.12.58.xz")
	b.quiet(d.z.addr)
}

func browseKeys(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	b.press("j")
	b.is("the first entry", "document.activeElement.textContent", "incr/")
	b.press("j", "j", "k", "ArrowDown", "ArrowUp")
	b.is("the second", "document.activeElement.textContent", "stable-review/")
	b.press("?")
	b.is("the keys", "document.querySelector('#keys').open", "true")
	b.press("Escape")
	b.is("no keys", "document.querySelector('#keys').open", "false")
	b.loads("Enter", func() { b.press("Enter") })
	b.is("where it leads", "location.pathname", "/kernel/linux/kernel/v6.x/stable-review/")
	b.is("an empty directory", "document.querySelector('.none').textContent", "This directory is empty.")
	b.loads("u", func() { b.press("u") })
	b.is("where it leads", "location.pathname", "/kernel/linux/kernel/v6.x/")
	b.press("j", "j", "j")
	b.loads("i", func() { b.press("i") })
	b.is("details", "location.pathname + document.querySelector('h1 b').textContent", "/-/entryChangeLog-6.12.58")
	b.is("size", "document.querySelector('td').textContent", "255 KiB (261,343 bytes)")
	b.shot(d.shots, "entry")
	b.loads("Backspace", func() { b.press("Backspace") })
	b.is("where it leads", "location.pathname", "/kernel/linux/kernel/v6.x/")
	b.quiet(d.z.addr)
}

func browseHostile(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.z.url + "/kernel/odd/")
	b.is("the name", "[...document.querySelectorAll('td a')].map(a => a.textContent).filter(n => n.includes('script'))[0]", hostile)
	b.is("a turned name", "[...document.querySelectorAll('td a')].map(a => a.textContent).filter(n => n.startsWith('exe'))[0]", `exe.\u202efdp.sh`)
	b.click(`a[href*="script"]`) // it downloads
	b.loads("a click on its state", func() { b.click(`tr:has(a[href*="script"]) button`) })
	b.is("its details", "document.querySelector('h1 b').textContent", hostile)
	if fetch := b.text("document.querySelector('pre').textContent"); !strings.Contains(fetch, url.PathEscape("<script>")) {
		t.Errorf("the line to fetch it is %s", fetch)
	}
	b.quiet(d.z.addr)
}

func browseLong(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.z.url + "/kernel/many/")
	b.is("rows", "document.querySelectorAll('tbody tr').length", "6000")
	b.press("/", "5", "9", "9", "9")
	b.is("the last entry", shown, "package-5999.deb")
	b.is("it is in sight", "document.querySelector('tbody:not([hidden]) tr:not([hidden])').getBoundingClientRect().bottom < innerHeight", "true")
	b.press("Escape")
	b.is("all are back", "document.querySelector('#count').textContent", "6,000 entries")
	b.loads("sorting so many", func() { b.click("th:nth-child(1) button") })
	b.is("the last is first", "document.querySelector('tbody a').textContent", "package-5999.deb")
	b.eval("new Promise(r => { scrollTo(0, 1e6); requestAnimationFrame(() => setTimeout(r)); })", nil)
	b.quiet(d.z.addr)
}
