package cache

import (
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Selecting returns what Meta.Vary should hold for a response: the fields that its Vary names, with the values that the request
// had, normalised. Accept-Encoding is left out: the origin is always asked for the identity coding, whatever a client takes.
func Selecting(response, request http.Header) http.Header {
	var out http.Header
	for _, line := range response["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name == "" || name == "*" || name == "Accept-Encoding" {
				continue
			}
			if out == nil {
				out = http.Header{}
			}
			out[name] = normalise(name, request[name])
		}
	}
	return out
}

// Selects says whether a request with these fields is one that the stored response answers (RFC 9111 section 4.1).
func (m *Meta) Selects(request http.Header) bool {
	for name, want := range m.Vary {
		if got := normalise(name, request[name]); !slices.Equal(got, want) && !m.speaks(name, got) {
			return false
		}
	}
	return true
}

// speaks says that the stored response is in the one language that the request likes best: the origin could choose no better.
func (m *Meta) speaks(name string, got []string) bool {
	language := strings.ToLower(strings.TrimSpace(m.Header.Get("Content-Language")))
	if name != "Accept-Language" || language == "" || len(got) == 0 {
		return false
	}
	first, rest, _ := strings.Cut(got[0], ",")
	best, q := weight(first)
	second, _, _ := strings.Cut(rest, ",")
	_, next := weight(second)
	return best == language && q > next
}

// normalise makes values that mean the same compare equal: lines are joined, white space around commas goes, and languages
// are in lower case, the best liked first.
func normalise(name string, values []string) []string {
	if len(values) == 0 {
		return nil
	}
	var parts []string
	for _, v := range values {
		if strings.Contains(v, `"`) {
			parts = append(parts, strings.TrimSpace(v)) // a quoted comma is no separator
			continue
		}
		for p := range strings.SplitSeq(v, ",") {
			parts = append(parts, strings.TrimSpace(p))
		}
	}
	if name == "Accept-Language" {
		for i, p := range parts {
			parts[i] = strings.ToLower(strings.ReplaceAll(p, " ", ""))
		}
		sort.SliceStable(parts, func(i, j int) bool {
			a, qa := weight(parts[i])
			b, qb := weight(parts[j])
			if qa != qb {
				return qa > qb
			}
			return a < b
		})
	}
	return []string{strings.Join(parts, ",")}
}

// weight splits "de;q=0.5" into its range and quality (RFC 9110 section 12.4.2); none given is 1, an empty range is 0.
func weight(s string) (string, float64) {
	name, params, _ := strings.Cut(s, ";")
	name = strings.TrimSpace(name)
	if name == "" {
		return "", 0
	}
	if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
		if q, err := strconv.ParseFloat(v, 64); err == nil && q >= 0 && q <= 1 {
			return name, q
		}
	}
	return name, 1
}
