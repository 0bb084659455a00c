package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// A file is the config file, keys resolved to the names of settings, values still text.
type file struct {
	top      []entry
	hubs     []table
	rules    []table
	clients  []table
	problems Problems
}

// An entry is one key of the file and what it was set to.
type entry struct {
	name  string // of the setting
	texts []string
	array bool
	place string // zcache.toml:12
	line  int
}

// A knownKey is what a spelling resolves to.
type knownKey struct {
	name string
	list bool
}

// A table is one [[hub]], [[rule]] or [[client]].
type table struct {
	entries map[string]entry
	place   string
	line    int
	wrong   bool // a key of it was refused; what is missing may be what that one was meant to be
}

// parseFile reads TOML. Keys that are not known are problems, for a setting that is misspelt would otherwise be silently absent.
func parseFile(path string, data []byte) (*file, error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, syntaxProblem(path, string(data), err)
	}
	p := &fileParser{path: path, lines: strings.Split(string(data), "\n")}
	known := map[string]knownKey{}
	for _, o := range options {
		known[fold(o.name)] = knownKey{o.name, o.kind == list || o.kind == urls}
		if o.also != "" {
			known[fold(o.also)] = known[fold(o.name)]
		}
	}
	top := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		v := tree[key]
		if sec, ok := sectionOf(key); ok {
			p.tables(sec, key, v)
		} else {
			top[key] = v
		}
	}
	p.out.top = p.entries(scope{}, top, known)
	sort.Slice(p.out.top, func(i, j int) bool { return p.out.top[i].line < p.out.top[j].line })
	for _, sec := range sections {
		tables := *sec.into(&p.out)
		sort.SliceStable(tables, func(i, j int) bool { return tables[i].line < tables[j].line })
	}
	return &p.out, nil
}

// syntaxProblem words a TOML error. A parser's message may quote the text it stumbled over; where that could be a secret it is left
// out.
func syntaxProblem(path, text string, err error) error {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return Problems{{"config", "cannot be read as TOML: " + err.Error(), path}}
	}
	place := filepath.Base(path) + ":" + strconv.Itoa(parse.Position.Line)
	reason := parse.Message
	if reason == "" {
		reason = strings.TrimPrefix(parse.Error(), "toml: ")
	}
	lines := strings.Split(text, "\n")
	if n := parse.Position.Line; n >= 1 && n <= len(lines) && mayBeSecret(lines[n-1]) || mayBeSecret(parse.LastKey) {
		reason = "the line is not TOML (its text is not shown, since it may hold a secret); put text values in double quotes"
	}
	return Problems{{"config", reason, place}}
}

func mayBeSecret(s string) bool {
	s = fold(s)
	for _, w := range []string{"pass", "basic", "bearer", "token", "secret", "proxy", "notify", "hook", "@"} {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

type fileParser struct {
	path  string
	lines []string
	out   file
}

// A scope is where in the file a key stands: the top level, or the nth table under a header.
type scope struct {
	header string // as spelt; empty = top level
	n      int
	name   string // how problems call it
}

func (s scope) setting(key string) string {
	if s.name == "" {
		return key
	}
	return s.name + "." + key
}

// labelOf names a table in messages before its name is known to be right.
func labelOf(t map[string]any, n int) string {
	for key, v := range t {
		if name, ok := v.(string); ok && fold(key) == "name" && name != "" {
			return name
		}
	}
	return "#" + strconv.Itoa(n)
}

// entries turns the keys of one table into settings.
func (p *fileParser) entries(s scope, t map[string]any, known map[string]knownKey) []entry {
	var out []entry
	seen := map[string]entry{}
	for _, key := range slices.Sorted(maps.Keys(t)) { // in one order, so that problems come in one order
		v, line := t[key], p.find(s, key)
		k, ok := known[fold(key)]
		if !ok {
			p.unknown(s, key, line, known)
			continue
		}
		name := k.name
		if other, ok := seen[name]; ok {
			p.out.problems.add(s.setting(name), p.place(max(line, other.line)), "it is set twice; the other is at line %d",
				min(line, other.line))
			continue
		}
		texts, array, err := texts(v)
		if err == nil && array && !k.list {
			err = errors.New("it takes one value; remove the brackets")
		}
		if err != nil {
			p.out.problems.add(s.setting(name), p.place(line), "%v", err)
			continue
		}
		e := entry{name: name, texts: texts, array: array, place: p.place(line), line: line}
		seen[name] = e
		out = append(out, e)
	}
	return out
}

func (p *fileParser) unknown(s scope, key string, line int, known map[string]knownKey) {
	if s.name == "" && Later(key) {
		p.out.problems.add(s.setting(key), p.place(line), "it comes with a later version; remove it")
		return
	}
	names := make([]string, 0, len(known))
	for _, k := range known {
		names = append(names, k.name)
	}
	sort.Strings(names)
	if near := Nearest(key, names); near != "" {
		p.out.problems.add(s.setting(key), p.place(line), "unknown key; did you mean %s?", near)
		return
	}
	for _, sec := range sections {
		if _, ok := sec.names[fold(key)]; ok && s.name == "" {
			p.out.problems.add(key, p.place(line), "unknown key at the top level; write it below a [[%s]]", sec.word)
			return
		}
	}
	p.out.problems.add(s.setting(key), p.place(line), "unknown key; remove it (zcache help lists the settings)")
}

func (p *fileParser) place(line int) string {
	if line == 0 {
		return filepath.Base(p.path)
	}
	return filepath.Base(p.path) + ":" + strconv.Itoa(line)
}

// find is the line on which key stands in the scope, or its header for an empty key; 0 when it is not found so plainly (an inline table).
// The TOML decoder does not tell; a look for the key itself is exact enough for a message.
func (p *fileParser) find(s scope, key string) int {
	header, n := "", 0
	seen := map[string]int{}
	for i, line := range p.lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && !strings.Contains(line, ",") {
			name, _, _ := strings.Cut(strings.TrimLeft(line, "[ \t"), "]")
			header = strings.Trim(name, " \t\"'")
			n = seen[header]
			seen[header]++
			if key == "" && header == s.header && n == s.n {
				return i + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if ok && key != "" && header == s.header && n == s.n && strings.Trim(name, " \t\"'") == key {
			return i + 1
		}
	}
	return 0
}

// texts turns a TOML value into the notation of flags, so that a setting is parsed by one function wherever it was written.
func texts(v any) (out []string, array bool, err error) {
	switch v := v.(type) {
	case string:
		return []string{v}, false, nil
	case bool:
		return []string{strconv.FormatBool(v)}, false, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, false, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, false, nil
	case time.Time:
		if v.Location().String() == "date-local" { // so the decoder calls the place of a date without time
			return []string{v.Format(time.DateOnly)}, false, nil
		}
		return []string{v.Format(time.RFC3339)}, false, nil
	case []any:
		for _, item := range v {
			one, nested, err := texts(item)
			if err != nil || nested {
				return nil, false, errors.New("a list may hold only text and numbers")
			}
			out = append(out, one...)
		}
		return out, true, nil
	case map[string]any, []map[string]any:
		return nil, false, errors.New("a table stands where a value is expected; write key = value")
	}
	return nil, false, fmt.Errorf("a value of this kind (%T) is not understood; write it in double quotes", v)
}
