package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

//go:embed assets/icons.css
var iconsCSS string

//go:embed assets/zcache.css
var pagesCSS string

//go:embed assets/zcache.js
var pagesJS string

// style and script are what every page carries inside itself. A page is then one request, looks the same when saved, and has no link in it
// that a crawler could take for an entry.
var (
	style  = lean(iconsCSS + pagesCSS)
	script = lean(pagesJS)
)

// favicon is the mark, in colours that stand out in light and dark tabs. A browser that is given none asks for /favicon.ico, which a hub
// at the root would pass on to its upstream.
const favicon = `data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E` +
	`%3Crect width='16' height='16' rx='4' fill='%233a7bd5'/%3E%3Cpath d='M4.5 4.7h6.7l-6.2 6.6h6.7' fill='none' stroke='%23fff' stroke-width='1.7'/%3E%3C/svg%3E`

// lean drops indentation, empty lines and lines that are nothing but a comment. Our own files have no text that could be hurt by it.
func lean(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "/*") && strings.HasSuffix(line, "*/") {
			continue
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

var browsePolicy = "default-src 'none'; style-src " + hashSource(style) + "; script-src " + hashSource(script) +
	"; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// BrowsePolicy is the Content-Security-Policy of the pages that Browse writes: their own style and script by hash, and nothing else. Whatever
// a name in a listing holds, it cannot run.
func BrowsePolicy() string { return browsePolicy }
