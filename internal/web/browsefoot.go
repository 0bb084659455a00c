package web

import (
	"strconv"

	"zcache/internal/listing"
)

// appendBottom ends the table and the page.
func (o *sheet) appendBottom(b []byte) []byte {
	if o.rows > 0 {
		b = append(b, "</tbody>"...)
	}
	b = append(b, "</table>\n"...)
	if o.long {
		b = append(b, "</form>\n"...)
	}
	switch {
	case o.rows == 0 && o.page.Total > 0:
		b = append(b, `<p class="none">Nothing here: the directory ends before this page.</p>`...)
	case o.rows == 0:
		b = append(b, `<p class="none">This directory is empty.</p>`...)
	default:
		b = append(b, `<p class="none" id="none" hidden>No name here matches.</p>`...)
	}
	b = append(b, "</main>\n"...)
	b = o.appendPaging(b)
	b = append(b, "<footer><p>"...)
	if o.files > 0 {
		b = appendNumber(b, o.held)
		b = append(b, " of "...)
		b = appendCounted(b, o.files, "file", "files")
		b = append(b, " held, "...)
		b = appendSize(b, o.bytes)
	}
	b = append(b, "</p>"...)
	if !o.page.NoQuery {
		b = append(b, formOf("format", listing.FormJSON, "JSON")...)
	}
	if o.page.HasRaw && !o.page.NoQuery {
		b = append(b, formOf("raw", "1", "Upstream’s page")...)
	}
	return append(b, keysButton+"</footer>\n"+keysHelp+pageEnd...)
}

func formOf(name, value, text string) string {
	return `<form><button class="tool" name="` + name + `" value="` + value + `">` + text + `</button></form>`
}

// appendPaging appends the way to the rows before and after, where the page has a part of them.
func (o *sheet) appendPaging(b []byte) []byte {
	p := o.page
	if p.Query.Limit <= 0 && p.Query.Offset <= 0 {
		return b
	}
	b = append(b, `<form class="pages">`...)
	b = appendHidden(b, "format", p.Query.Format)
	b = appendHidden(b, "sort", p.Query.Sort)
	b = appendHidden(b, "order", p.Query.Order)
	if p.Query.Limit > 0 {
		b = appendHidden(b, "limit", strconv.Itoa(p.Query.Limit))
	}
	b = appendStep(b, "Previous", max(0, p.Query.Offset-p.Query.Limit), p.Query.Limit > 0 && p.Query.Offset > 0)
	b = append(b, "<span>"...)
	if o.rows > 0 {
		b = appendNumber(b, p.Query.Offset+1)
		b = append(b, "–"...)
		b = appendNumber(b, p.Query.Offset+o.rows)
		b = append(b, " of "...)
	}
	b = appendNumber(b, p.Total)
	b = append(b, "</span>"...)
	next := p.Query.Offset + p.Query.Limit
	b = appendStep(b, "Next", next, p.Query.Limit > 0 && next < p.Total)
	return append(b, "</form>\n"...)
}

func appendStep(b []byte, text string, offset int, there bool) []byte {
	b = append(b, `<button class="tool" name="offset" value="`...)
	b = strconv.AppendInt(b, int64(offset), 10)
	b = append(b, '"')
	if !there {
		b = append(b, " disabled"...)
	}
	return append(b, ">"+text+"</button>"...)
}

const keysButton = `<button class="tool needs-js" data-opens="#keys">Keys</button>`

const keysHelp = `<dialog id="keys" aria-labelledby="keysof"><h2 id="keysof">Keys</h2><dl>` +
	`<dt><kbd>/</kbd></dt><dd>filter by name; <kbd>Esc</kbd> clears</dd>` +
	`<dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next and previous entry; the arrows too, once in the list</dd>` +
	`<dt><kbd>Enter</kbd></dt><dd>open it</dd>` +
	`<dt><kbd>i</kbd></dt><dd>its details</dd>` +
	`<dt><kbd>u</kbd></dt><dd>the directory above; <kbd>Backspace</kbd> too</dd>` +
	`<dt><kbd>?</kbd></dt><dd>this</dd></dl><button class="tool" data-closes>Close</button></dialog>` + "\n"
