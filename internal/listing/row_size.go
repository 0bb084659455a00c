package listing

import (
	"math"
	"strconv"
	"strings"
)

// A figure is a size as a row shows it.
type figure struct {
	// bytes is what is shown times its unit, where K, kB and KiB are all 1024: servers that mean 1000 by kB are few, and a rounded size
	// is compared with nothing. The true size is within one of the last digit shown, on either side: some servers round down, some to
	// the nearest, some up.
	bytes int64
	exact bool // every byte was counted
	unit  bool // a unit was shown
}

// units are those after a figure, in lower case, as powers of 1024.
var units = map[string]int{
	"b": 0, "byte": 0, "bytes": 0, "o": 0, "octet": 0, "octets": 0,
	"k": 1, "kb": 1, "kib": 1, "ko": 1, "kio": 1, "kbyte": 1, "kbytes": 1, "kilobytes": 1,
	"m": 2, "mb": 2, "mib": 2, "mo": 2, "mio": 2, "mbyte": 2, "mbytes": 2, "megabytes": 2,
	"g": 3, "gb": 3, "gib": 3, "go": 3, "gio": 3, "gbyte": 3, "gbytes": 3, "gigabytes": 3,
	"t": 4, "tb": 4, "tib": 4, "to": 4, "tio": 4,
	"p": 5, "pb": 5, "pib": 5, "po": 5, "pio": 5,
	"e": 6, "eb": 6, "eib": 6,
}

// readSize takes the whole of s for a size: "1234", "1,234 bytes", "1.2K", "1,2 Mio". It is false for "-", "" and all else.
func readSize(s string) (figure, bool) {
	s = strings.TrimSpace(s)
	f, rest, ok := scanSize(s)
	if ok && strings.TrimSpace(rest) == "" {
		return f, true
	}
	if joined, ok := ungroup(s); ok {
		f, rest, ok = scanSize(joined)
		return f, ok && strings.TrimSpace(rest) == ""
	}
	return figure{}, false
}

// ungroup closes the spaces between groups of three digits, as French and Russian pages write them: "1 234 567 o".
func ungroup(s string) (string, bool) {
	parts := strings.Fields(s)
	n := 0
	for n < len(parts) && isDigits(parts[n]) && (n == 0 && len(parts[n]) <= 3 || n > 0 && len(parts[n]) == 3) {
		n++
	}
	if n < 2 || len(parts) > n+1 {
		return "", false
	}
	return strings.Join(parts[:n], "") + " " + strings.Join(parts[n:], ""), true
}

// scanSize reads a size at the start of s and gives what follows it. A word behind a number that is no unit is left in rest.
func scanSize(s string) (f figure, rest string, ok bool) {
	end := 0
	for end < len(s) && (isDigit(s[end]) || end > 0 && (s[end] == '.' || s[end] == ',' || s[end] == '\'')) {
		end++
	}
	number := strings.TrimRight(s[:end], ".,'")
	rest = s[len(number):]
	if number == "" {
		return f, s, false
	}
	word := strings.TrimLeft(rest, " ")
	letters := 0
	for letters < len(word) && isLetter(word[letters]) {
		letters++
	}
	power, known := units[strings.ToLower(word[:letters])]
	switch {
	case known:
		f.unit, rest = true, word[letters:]
	case rest != "" && rest[0] != ' ' && rest[0] != ')' && rest[0] != ']' && rest[0] != '<':
		return f, s, false // 12abc, 12:30, 2026-11
	}
	if rest != "" && (isDigit(rest[0]) || rest[0] >= 0x80 || rest[0] == '-' || rest[0] == '_') {
		return f, s, false // k8s, 1.5M-beta
	}
	whole, fraction, ok := splitNumber(number, power)
	if !ok || fraction != "" && !f.unit {
		return f, s, false // a fraction of what?
	}
	f.bytes, ok = scale(whole, fraction, power)
	f.exact = power == 0
	return f, rest, ok
}

// splitNumber takes the groups of thousands out of a number and parts it at its decimal mark. A single mark before exactly three
// digits is a thousands mark if it is a comma, or if bytes are counted, which have no fractions.
func splitNumber(s string, power int) (whole, fraction string, ok bool) {
	s = strings.ReplaceAll(s, "'", "")
	last := strings.LastIndexAny(s, ".,")
	if last < 0 {
		return s, "", true
	}
	mark := s[last : last+1]
	other := "."
	if mark == "." {
		other = ","
	}
	behind := len(s) - last - 1
	grouped := strings.Count(s, mark) > 1 ||
		behind == 3 && last <= 3 && s[0] != '0' && !strings.Contains(s, other) && (mark == "," || power == 0)
	if !grouped {
		whole, fraction = strings.ReplaceAll(s[:last], other, ""), s[last+1:]
		return whole, fraction, isDigits(whole) && isDigits(fraction) && power > 0
	}
	for i, group := range strings.Split(s, mark) {
		if !isDigits(group) || i > 0 && len(group) != 3 {
			return "", "", false
		}
	}
	return strings.ReplaceAll(s, mark, ""), "", true
}

func scale(whole, fraction string, power int) (int64, bool) {
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64>>(10*power) {
		return 0, false
	}
	n <<= 10 * power
	if fraction == "" {
		return n, true
	}
	part, err := strconv.ParseFloat("0."+fraction, 64)
	if err != nil {
		return 0, false
	}
	n += int64(math.Round(part * float64(int64(1)<<(10*power))))
	return n, n >= 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}
