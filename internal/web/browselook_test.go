package web

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// palette reads the colours of a block of custom properties.
func palette(t *testing.T, css string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, m := range regexp.MustCompile(`--([a-z]+):#([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		v, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		out[m[1]] = luminance(v)
	}
	return out
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(rgb uint64) float64 {
	part := func(shift uint) float64 {
		c := float64(rgb>>shift&255) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
}

func TestColoursAreReadable(t *testing.T) {
	light, rest, ok := strings.Cut(pagesCSS, "@media (prefers-color-scheme:dark){")
	if !ok {
		t.Fatal("no dark colours")
	}
	dark, _, _ := strings.Cut(rest, "\n}\n}")
	for theme, css := range map[string]string{"light": light, "dark": dark} {
		colours := palette(t, css)
		for _, row := range []struct {
			front, backs string
			least        float64
		}{
			{"text", "page card hover", 7},
			{"dim", "page card hover", 4.5},
			{"link", "page card", 4.5},
			{"notetext", "note", 4.5},
			{"icon", "card hover page", 3},
			{"folder", "card hover", 3},
			{"fresh", "card hover page", 3},
			{"stale", "card hover page", 3},
			{"absent", "card hover page", 3},
		} {
			for back := range strings.FieldsSeq(row.backs) {
				a, b := colours[row.front], colours[back]
				if a == 0 && b == 0 {
					t.Fatalf("%s: no colours for %s on %s", theme, row.front, back)
				}
				if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < row.least {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", theme, row.front, back, got, row.least)
				}
			}
		}
	}
}

// A policy that does not fit what is in the page takes the look and the keys from it, and no other test would see that.
func TestPolicyIsOfWhatThePageHas(t *testing.T) {
	page := string(appendHead(nil, "x"))
	for _, tag := range []string{"style", "script"} {
		_, rest, ok := strings.Cut(page, "<"+tag+">")
		text, _, ended := strings.Cut(rest, "</"+tag+">")
		if !ok || !ended || strings.Contains(text, "</") {
			t.Fatalf("<%s> is not one whole element of the page", tag)
		}
		sum := sha256.Sum256([]byte(text))
		want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if !strings.Contains(BrowsePolicy(), want) {
			t.Errorf("BrowsePolicy = %s, want %s in it", BrowsePolicy(), want)
		}
	}
	for _, want := range []string{"default-src 'none'", "img-src data:", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(BrowsePolicy(), want) {
			t.Errorf("BrowsePolicy = %s, want %s in it", BrowsePolicy(), want)
		}
	}
}

func TestAssetsAskForNothingElse(t *testing.T) {
	if m := regexp.MustCompile(`(?i)@import|url\(\s*["']?[^"'d)]|fetch\(|XMLHttpRequest|sendBeacon|innerHTML|eval\(|https?://[^w]`).FindString(style + script); m != "" {
		t.Errorf("the assets have %q in them", m)
	}
	const budget = 8 << 10
	if len(script) > budget {
		t.Errorf("the script has %d bytes, want at most %d", len(script), budget)
	}
}
