package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// pages are one of each kind.
func (d *desk) pages() map[string]string {
	return map[string]string{
		"browse": d.v6(), "root": d.z.url + "/", "entry": d.z.url + "/-/entry?url=/kernel/linux/kernel/v6.x/README", "odd": d.z.url + "/kernel/odd/",
		"status": d.z.url + "/-/status",
	}
}

func browsePhone(t *testing.T, d *desk) {
	const phone = 360
	b := d.c.tab(t, view{width: phone, height: 740, scale: 2})
	for name, url := range d.pages() {
		b.open(url)
		// Not innerWidth: a telephone shows a page that is too wide smaller, and innerWidth grows with it.
		var across float64
		if b.eval("document.documentElement.scrollWidth", &across); across > phone {
			t.Errorf("%s is %.0f px wide on a telephone of %d", name, across, phone)
		}
		if name != "status" {
			b.shot(d.shots, name+"-phone")
		}
	}
	b.quiet(d.z.addr)
}

func browseDark(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high, dark: true})
	for name, url := range d.pages() {
		b.open(url)
		var back, front float64
		b.eval("Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3))", &back)
		b.eval("Math.min(...getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3))", &front)
		if back > 40 || front < 200 {
			t.Errorf("%s has a background of at most %.0f and a text of at least %.0f of 255, want it dark", name, back, front)
		}
		if name != "status" && name != "odd" {
			b.shot(d.shots, name+"-dark")
		}
	}
	b.quiet(d.z.addr)
}

func browseNoScript(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high, noJS: true})
	b.open(d.v6())
	b.is("the filter", "getComputedStyle(document.querySelector('#find')).visibility", "hidden")
	b.loads("a click on a column", func() { b.click("th:nth-child(2) button") })
	b.is("the query", "location.search", "?sort=size&order=desc")
	b.is("the largest", "document.querySelector('tbody a').textContent", "linux-6.17.8.tar.gz")
	b.loads("a second click", func() { b.click("th:nth-child(2) button") })
	b.is("the query", "location.search", "?sort=size&order=asc")
	b.loads("a click on a state", func() { b.click("td button") })
	b.is("details", "location.pathname", "/-/entry")
	for _, url := range b.asked() {
		if a := get(t, url, "Accept: text/html"); a.Status != http.StatusOK {
			t.Errorf("GET %s = %d", url, a.Status)
		}
	}
	if got := len(b.asked()); got != 4 {
		t.Errorf("four pages asked for %d things", got)
	}
}

func browsePrint(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high, media: "print", dark: true})
	b.open(d.z.url + "/kernel/many/")
	b.is("the filter", "getComputedStyle(document.querySelector('#find')).display", "none")
	b.is("the text", "getComputedStyle(document.body).color", "rgb(0, 0, 0)")
	b.is("a group that is out of sight", "getComputedStyle(document.querySelectorAll('tbody')[9]).contentVisibility", "visible")
	var pdf struct{ Data string }
	b.open(d.v6())
	b.quiet(d.z.addr) // before the page is laid out anew on paper
	if b.do("protocol", map[string]any{"method": "Page.printToPDF"}, &pdf); len(pdf.Data) < 10_000 {
		t.Errorf("the print has %d bytes", len(pdf.Data))
	}
}

// A row that is laid out as a grid must stay a row for those who hear it.
func browseAssistive(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	var tree struct {
		Nodes []struct {
			Ignored bool
			Role    struct{ Value string }
			Name    struct{ Value json.RawMessage }
		}
	}
	b.do("protocol", map[string]any{"method": "Accessibility.getFullAXTree"}, &tree)
	roles := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		roles[n.Role.Value]++
		if name := string(n.Name.Value); (n.Role.Value == "button" || n.Role.Value == "link" || n.Role.Value == "searchbox") && (name == "" || name == `""`) {
			t.Errorf("a %s has no name", n.Role.Value)
		}
	}
	for role, want := range map[string]int{"table": 1, "row": len(sizes) + 3, "columnheader": 4, "cell": 4 * (len(sizes) + 2), "heading": 1, "main": 1, "navigation": 1} {
		if roles[role] != want {
			t.Errorf("the page has %d of role %s, want %d (%s)", roles[role], role, want, fmt.Sprint(roles))
		}
	}
}

func browseOffline(t *testing.T, d *desk) {
	b := d.c.tab(t, view{width: wide, height: high})
	b.open(d.v6())
	b.is("no banner", "document.querySelectorAll('[role=status]').length", "0")
	d.n.stop()
	b.do("reload", nil, nil)
	b.is("the banner", "document.querySelector('[role=status] b').textContent", "The upstream is out of reach.")
	d.z.stop()
	d.z.again("--offline", "--listing-ttl=1ms")
	b.do("reload", nil, nil)
	b.is("the banner", "document.querySelector('[role=status] b').textContent", "The upstream is out of reach.")
	b.is("rows", "document.querySelectorAll('tbody tr').length", fmt.Sprint(len(sizes)+2))
	b.shot(d.shots, "offline")
	b.loads("a click on a held file's state", func() { b.click(`tr:has(a[href="./README"]) button`) })
	b.is("details", "document.querySelector('h1 b').textContent", "README")
	b.quiet(d.z.addr)
}
