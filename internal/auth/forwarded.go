package auth

import (
	"net/http"
	"net/netip"
	"strings"
)

// reported is the address that the forwarding fields of a trusted peer tell: the peer's own when they tell of nobody, the invalid address
// when they leave it unclear.
//
// A proxy adds to one of the two kinds of field and most often passes the other on as its own client wrote it. Nobody can tell which is
// which, so where both are there and disagree, neither is believed: the client could have chosen its address.
func (g *Guard) reported(h http.Header, peer netip.Addr) netip.Addr {
	var standard, common []string
	for _, line := range h["Forwarded"] {
		standard = append(standard, forwardedFor(line)...)
	}
	for _, line := range h["X-Forwarded-For"] {
		for hop := range strings.SplitSeq(line, ",") {
			if hop = strings.TrimSpace(hop); hop != "" {
				common = append(common, hop)
			}
		}
	}
	switch {
	case len(standard)+len(common) == 0:
		return peer
	case len(standard) == 0:
		return g.rightmost(common)
	case len(common) == 0:
		return g.rightmost(standard)
	}
	if a := g.rightmost(standard); a == g.rightmost(common) {
		return a
	}
	return netip.Addr{}
}

// rightmost is the last hop that no trusted proxy owns: each proxy appends whom it heard, and only what trusted ones appended can be
// believed. When all are trusted it is the first. A hop that is obscured or garbled is nobody, and so is all before it.
func (g *Guard) rightmost(hops []string) (a netip.Addr) {
	for i := len(hops) - 1; i >= 0; i-- {
		if a = address(unquote(strings.TrimSpace(hops[i]))); !g.trusts(a) {
			break
		}
	}
	return a
}

// forwardedFor returns the for parameter of each element of a Forwarded line (RFC 7239), "" where an element has not just one.
func forwardedFor(line string) (hops []string) {
	for _, element := range splitBackward(line, ',') {
		if strings.TrimSpace(element) == "" {
			continue // an empty member of a list means nothing (RFC 9110 section 5.6.1)
		}
		node, n := "", 0
		for _, pair := range splitBackward(element, ';') {
			if name, v, ok := strings.Cut(pair, "="); ok && strings.EqualFold(strings.TrimSpace(name), "for") {
				node, n = v, n+1
			}
		}
		if n != 1 {
			node = ""
		}
		hops = append(hops, node)
	}
	return hops
}

// splitBackward splits s at sep outside quoted strings, which it looks for from the end: the end is what the nearest proxy wrote, and a
// quote that a client left open at the beginning must not swallow it.
func splitBackward(s string, sep byte) []string {
	var parts []string
	quoted := false
	end := len(s)
	for i := len(s) - 1; i >= 0; i-- {
		switch c := s[i]; {
		case c == '"' && !(quoted && escaped(s, i)):
			quoted = !quoted
		case c == sep && !quoted:
			parts = append(parts, s[i+1:end])
			end = i
		}
	}
	parts = append(parts, s[:end])
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return parts
}

// escaped says that an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	n := 0
	for n < i && s[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
