package listing

import (
	"strconv"
	"strings"
)

// longestNumber bounds limit and offset, in digits.
const longestNumber = 10

// ParseQuery reads raw, a URL's query without its question mark; true says that it is ours: one parameter or more, each known, each
// given once and with a value that is defined here. Any other query belongs to the upstream, so nothing is guessed: a parameter that
// is escaped, empty or unknown makes the whole query the upstream's. A limit of 0 is no limit, as it is to Caddy.
func ParseQuery(raw string) (Query, bool) {
	var q Query
	seen := make(map[string]bool, 6)
	for part := range strings.SplitSeq(raw, "&") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || seen[name] || !q.set(name, value) {
			return Query{}, false
		}
		seen[name] = true
	}
	return q, true
}

// set takes one parameter, and says whether it is one of ours.
func (q *Query) set(name, value string) bool {
	switch name {
	case "format":
		q.Format = value
		return value == FormJSON || value == FormHTML || value == FormText || value == FormNginx
	case "sort":
		q.Sort = value
		return value == SortName || value == SortSize || value == SortTime
	case "order":
		q.Order = value
		return value == OrderUp || value == OrderDown
	case "limit":
		return parseCount(value, &q.Limit)
	case "offset":
		return parseCount(value, &q.Offset)
	case "raw":
		q.Raw = true
		return value == "1"
	}
	return false
}

// parseCount reads a decimal number without a sign.
func parseCount(s string, n *int) bool {
	if s == "" || len(s) > longestNumber || s[0] == '+' || s[0] == '-' {
		return false
	}
	v, err := strconv.Atoi(s)
	*n = v
	return err == nil
}

// Encode writes q as a query that ParseQuery reads as q again, the same for all that ask for the same; "" for the zero Query.
func (q Query) Encode() string {
	var b []byte
	put := func(name, value string) {
		if value == "" {
			return
		}
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, name...), '='), value...)
	}
	put("format", q.Format)
	put("sort", q.Sort)
	put("order", q.Order)
	if q.Limit > 0 {
		put("limit", strconv.Itoa(q.Limit))
	}
	if q.Offset > 0 {
		put("offset", strconv.Itoa(q.Offset))
	}
	if q.Raw {
		put("raw", "1")
	}
	return string(b)
}
