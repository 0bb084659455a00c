package web

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"zcache/internal/listing"
)

// appendHead appends the page's head and opens its body.
func appendHead(b []byte, title string) []byte {
	b = append(b, `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="generator" content="zcache">
<title>`...)
	b = appendEscaped(b, title)
	b = append(b, "</title>\n<link rel=\"icon\" href=\""...)
	b = append(b, favicon...)
	b = append(b, "\">\n<style>"...)
	b = append(b, style...)
	b = append(b, "</style>\n<script>"...)
	b = append(b, script...)
	return append(b, "</script>\n</head>\n<body>\n"...)
}

const pageEnd = "</body></html>\n"

// markForm leads to the list of hubs. It is no link: a crawler that is told to stay below a hub may be told badly.
const markForm = `<form action="/"><button class="mark" title="All hubs">zcache</button></form>`

// crumb is one part of a path: its text as it is and where it leads, escaped as URLs are.
type crumb struct{ text, to string }

// crumbs are the parts of the escaped path, the first of them the hub at its mount.
func crumbs(hub, mount, path string) []crumb {
	out := []crumb{{hub, mount}}
	rest := strings.TrimPrefix(path, mount)
	for at := len(path) - len(rest); at < len(path); {
		part, _, slash := strings.Cut(path[at:], "/")
		at += len(part)
		if slash {
			at++
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			text = part
		}
		out = append(out, crumb{text, path[:at]})
	}
	return out
}

// appendCrumbs appends the header of a page about the last of the parts.
func appendCrumbs(b []byte, parts []crumb, foreign bool) []byte {
	b = append(b, "<header>"...)
	if !foreign {
		b = append(b, markForm...)
	}
	b = append(b, `<nav aria-label="Path"><h1>`...)
	for i, c := range parts {
		if i > 0 {
			b = append(b, "<i>/</i><wbr>"...)
		}
		if i == len(parts)-1 {
			b = append(b, `<b aria-current="page">`...)
			b = appendName(b, c.text)
			b = append(b, "</b>"...)
			continue
		}
		b = append(b, `<a href="`...)
		b = appendEscaped(b, c.to)
		b = append(b, `">`...)
		b = appendName(b, c.text)
		b = append(b, "</a>"...)
	}
	return append(b, "</h1></nav></header>\n"...)
}

func (o *sheet) appendTop(b []byte) []byte {
	p := o.page
	b = appendHead(b, "Index of "+p.Path)
	b = appendCrumbs(b, crumbs(p.Hub, p.Mount, p.Path), p.Foreign)
	b = append(b, `<div class="bar"><p><span id="count" aria-live="polite">`...)
	b = appendCounted(b, p.Total, "entry", "entries")
	b = append(b, "</span>"...)
	switch {
	case p.Local:
		b = append(b, " · this instance owns it"...)
	case !o.noted() && !p.AsOf.IsZero(): // else the note below says it
		b = append(b, " · listed "...)
		b = appendAsOf(b, p.AsOf, p.Now)
	}
	if !p.Mirrored.IsZero() {
		b = append(b, " · mirrored, as of "...)
		b = appendWhen(b, p.Mirrored.UTC())
	}
	b = append(b, "</p>"...)
	if o.expected() > 0 {
		b = append(b, `<input id="find" type="search" placeholder="Filter" aria-label="Filter by name" aria-keyshortcuts="/" autocomplete="off" autocapitalize="off" spellcheck="false">`...)
	}
	b = append(b, "</div>\n"...)
	b = o.appendNote(b)
	b = o.appendSortForms(b)
	b = append(b, "<main>"...)
	if o.long {
		b = append(b, detailForm...)
	}
	return o.appendTableHead(b)
}

func (o *sheet) noted() bool { return !o.page.Local && (o.page.Made || o.page.Stale || o.page.Offline) }

// appendNote appends what a reader must know before the rows are believed.
func (o *sheet) appendNote(b []byte) []byte {
	p := o.page
	if !o.noted() {
		return b
	}
	b = append(b, `<p class="note" role="status">`...)
	switch {
	case p.Made && p.Offline:
		b = append(b, "<b>The upstream is out of reach</b>, and no listing of it is kept. These are the files that are held here; others may be missing."...)
	case p.Made:
		b = append(b, "<b>The upstream gives no listing.</b> These are the files that are held here; others may be missing."...)
	case p.Offline:
		b = append(b, "<b>The upstream is out of reach.</b> This is its listing of "...)
		b = appendAsOf(b, p.AsOf, p.Now)
		b = append(b, "; what is held can be fetched."...)
	default:
		b = append(b, "<b>Not confirmed by the upstream.</b> This listing is of "...)
		b = appendAsOf(b, p.AsOf, p.Now)
		b = append(b, '.')
	}
	return append(b, "</p>\n"...)
}

// appendAsOf appends how long ago t was, and when.
func appendAsOf(b []byte, t, now time.Time) []byte {
	if t.IsZero() {
		return append(b, "an unknown time"...)
	}
	t = t.UTC()
	b = append(b, `<time class="ago" datetime="`...)
	b = t.AppendFormat(b, time.RFC3339)
	b = append(b, `">`...)
	b = append(b, ago(now.Sub(t))...)
	b = append(b, `</time>, <span class="w">`...)
	b = t.AppendFormat(b, "2006-01-02 15:04 UTC")
	return append(b, "</span>"...)
}

// appendWhen appends a time in UTC, to the minute.
func appendWhen(b []byte, t time.Time) []byte {
	b = append(b, `<time class="w" datetime="`...)
	b = t.AppendFormat(b, time.RFC3339)
	b = append(b, `">`...)
	b = t.AppendFormat(b, "2006-01-02 15:04 UTC")
	return append(b, "</time>"...)
}

// ago words an age; the script has the same words.
func ago(d time.Duration) string {
	for _, unit := range []struct {
		long      time.Duration
		one, many string
	}{{24 * time.Hour, "day", "days"}, {time.Hour, "h", "h"}, {time.Minute, "min", "min"}} {
		switch n := int(d / unit.long); {
		case n == 1:
			return "1 " + unit.one + " ago"
		case n > 1:
			return strconv.Itoa(n) + " " + unit.many + " ago"
		}
	}
	return "just now"
}

// columns are the table's sorted columns, with the order that a first click asks for.
var columns = [...]struct{ by, text, first string }{
	{listing.SortName, "Name", listing.OrderUp},
	{listing.SortSize, "Size", listing.OrderDown},
	{listing.SortTime, `Modified<span class="utc"></span>`, listing.OrderDown}, // the zone is style: not every time's is certain
}

// sorted is the column that rows are in order of, and whether from the end.
func (o *sheet) sorted() (by string, down bool) {
	q := o.page.Query
	if q.Sort == "" {
		return listing.SortName, q.Order == listing.OrderDown
	}
	return q.Sort, q.Order == listing.OrderDown
}

// appendSortForms appends a form for each column's button, which stands in the head of the table.
func (o *sheet) appendSortForms(b []byte) []byte {
	if o.page.NoQuery {
		return b
	}
	q := o.page.Query
	by, down := o.sorted()
	for _, c := range columns {
		order := c.first
		if c.by == by {
			if order = listing.OrderDown; down {
				order = listing.OrderUp
			}
		}
		b = append(b, `<form class="sort" id="by-`+c.by+`">`...)
		b = appendHidden(b, "format", q.Format)
		b = appendHidden(b, "sort", c.by)
		b = appendHidden(b, "order", order)
		if q.Limit > 0 {
			b = appendHidden(b, "limit", strconv.Itoa(q.Limit))
		}
		b = append(b, "</form>\n"...)
	}
	return b
}

func (o *sheet) appendTableHead(b []byte) []byte {
	n := o.expected()
	b = append(b, `<table class="list`...)
	if o.byName {
		b = append(b, " byname"...)
	}
	if o.page.Offline {
		b = append(b, " off"...)
	}
	if n > 2*group {
		b = append(b, " long"...)
	}
	b = append(b, `" aria-label="Entries"`...)
	if n == o.page.Total && !o.long { // the script may then sort by itself
		b = append(b, ` data-whole="1"`...)
	}
	if n != o.page.Total {
		b = append(b, ` data-part="1"`...)
	}
	b = append(b, "><thead><tr>"...)
	by, down := o.sorted()
	for _, c := range columns {
		b = append(b, "<th scope=\"col\""...)
		switch {
		case c.by == by && down:
			b = append(b, ` aria-sort="descending"`...)
		case c.by == by:
			b = append(b, ` aria-sort="ascending"`...)
		}
		if o.page.NoQuery {
			b = append(b, `><button type="button">`+c.text+"</button></th>"...) // the script sorts in place
			continue
		}
		b = append(b, `><button form="by-`+c.by+`">`+c.text+"</button></th>"...)
	}
	return append(b, `<th scope="col"><span>State</span></th></tr></thead>`+"\n"...)
}

func appendHidden(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `<input type="hidden" name="`+name+`" value="`...)
	b = appendEscaped(b, value)
	return append(b, `">`...)
}

// appendCounted appends n with its thousands apart, and what is counted.
func appendCounted(b []byte, n int, one, many string) []byte {
	b = appendNumber(b, n)
	if n == 1 {
		return append(append(b, ' '), one...)
	}
	return append(append(b, ' '), many...)
}

func appendNumber(b []byte, n int) []byte {
	s := strconv.Itoa(n)
	for i := range len(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b = append(b, ',')
		}
		b = append(b, s[i])
	}
	return b
}
