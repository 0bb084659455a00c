package listing

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// eplfRow reads a row of Bernstein's easily parsed list format: "+i8388621.29609,m824255902,/,\tdev". Times are seconds of the epoch.
func eplfRow(_ frame, line string) (Entry, bool) {
	if line == "" || line[0] != '+' {
		return Entry{}, false
	}
	facts, n, ok := strings.Cut(line[1:], "\t")
	if !ok || n == "" {
		return Entry{}, false
	}
	e := Entry{Name: strings.Clone(n), Size: -1}
	for fact := range strings.SplitSeq(facts, ",") {
		switch {
		case fact == "":
		case fact == "/":
			e.Kind, e.Mode = Dir, e.Mode|fs.ModeDir
		case fact == "r":
			e.Kind = max(e.Kind, File)
		case fact[0] == 's':
			size, err := strconv.ParseInt(fact[1:], 10, 64)
			if err != nil || size < 0 {
				return Entry{}, false
			}
			e.Size, e.SizeExact = size, true
		case fact[0] == 'm':
			seconds, err := strconv.ParseInt(fact[1:], 10, 64)
			if err != nil {
				return Entry{}, false
			}
			instant{time: time.Unix(seconds, 0).UTC(), step: time.Second, known: true}.on(&e)
		case strings.HasPrefix(fact, "up"):
			mode, err := strconv.ParseUint(fact[2:], 8, 32)
			if err != nil {
				return Entry{}, false
			}
			e.Mode |= fs.FileMode(mode) & fs.ModePerm
		}
	}
	if e.Kind == Dir {
		e.Size, e.SizeExact = -1, false
	}
	return e, true
}

// dosRow reads a row of IIS: "01-15-26  08:09AM                 1234 a-file.txt", "2026-01-15  08:09       <DIR>          pub".
func dosRow(f frame, line string) (Entry, bool) {
	if len(line) < 20 || line[0] == ' ' {
		return Entry{}, false
	}
	date, rest := token(line)
	clock, rest := token(rest)
	st, ok := f.dosTime(date, clock)
	if !ok {
		return Entry{}, false
	}
	e := Entry{Size: -1}
	st.on(&e)
	word, rest := token(rest)
	switch word {
	case "<DIR>":
		e.Kind, e.Mode = Dir, fs.ModeDir
	case "<JUNCTION>", "<SYMLINKD>":
		e.Kind, e.Link, e.Mode = Dir, true, fs.ModeSymlink
	case "<SYMLINK>":
		e.Link, e.Mode = true, fs.ModeSymlink
	default:
		size, err := strconv.ParseInt(strings.ReplaceAll(word, ",", ""), 10, 64)
		if err != nil || size < 0 {
			return Entry{}, false
		}
		e.Kind, e.Size, e.SizeExact = File, size, true
		e.Name = strings.Clone(name(rest))
		return e, e.Name != ""
	}
	// IIS sets names off by the width of the size's column, which <DIR> stands at the start of.
	n := strings.TrimLeft(rest, " ")
	if wide := "          "; strings.HasPrefix(rest, wide) {
		n = rest[len(wide):]
	}
	if e.Link {
		instant{}.on(&e) // the link's own
		if at := strings.LastIndex(n, " ["); at > 0 && strings.HasSuffix(n, "]") {
			n, e.Target = n[:at], strings.Clone(n[at+2:len(n)-1])
		}
	}
	e.Name = strings.Clone(n)
	return e, n != ""
}

// dosTime reads a date in figures and a clock. The month comes first, except where the year does; where there is no such month or
// day, the time is unknown.
func (f frame) dosTime(date, clock string) (instant, bool) {
	parts := strings.FieldsFunc(date, func(c rune) bool { return c == '-' || c == '/' || c == '.' })
	if len(parts) != 3 || len(date) != 8 && len(date) != 10 {
		return instant{}, false
	}
	if len(parts[0]) == 4 {
		parts[0], parts[1], parts[2] = parts[1], parts[2], parts[0]
	}
	month, monthOK := number(parts[0], 2)
	day, dayOK := number(parts[1], 2)
	year, yearOK := number(parts[2], 4)
	t, timeOK := dosDayTime(clock)
	switch {
	case year < 70:
		year += 2000
	case year < 100:
		year += 1900
	}
	st, _ := f.at(year, time.Month(month), day, t)
	return st, monthOK && dayOK && yearOK && timeOK
}

// dosDayTime reads 08:09AM, 08:09PM and 20:09.
func dosDayTime(s string) (dayTime, bool) {
	half := ""
	if len(s) > 2 {
		switch end := strings.ToUpper(s[len(s)-2:]); end {
		case "AM", "PM":
			half, s = end, s[:len(s)-2]
		}
	}
	c, ok := dayTimeOf(s)
	if half != "" {
		if c.hour < 1 || c.hour > 12 {
			return dayTime{}, false
		}
		c.hour %= 12
		if half == "PM" {
			c.hour += 12
		}
	}
	return c, ok
}

// netwareRow reads "- [RWCEAFMS] supervisor   512   Jan 16 18:53    login", whose names are set off by any number of blanks.
func netwareRow(f frame, line string) (Entry, bool) {
	if len(line) < 13 || line[0] != '-' && line[0] != 'd' {
		return Entry{}, false
	}
	rights := strings.TrimLeft(line[1:], " ")
	if len(rights) < 10 || rights[0] != '[' || rights[9] != ']' || strings.Trim(rights[1:9], "-RWCEAFMS") != "" {
		return Entry{}, false
	}
	e := Entry{Kind: File, Size: -1}
	_, n, ok := e.columns(f, rights[10:])
	if line[0] == 'd' {
		e.Kind, e.Mode = Dir, fs.ModeDir
		e.Size, e.SizeExact = -1, false
	}
	n = strings.TrimLeft(n, " ")
	e.Name = strings.Clone(n)
	return e, ok && n != ""
}
