package config

import "fmt"

// A tableKey is one key of a table, of which a T is built.
type tableKey[T any] struct {
	name string
	list bool
	also []string // other names for it
	set  func(b *T, v value) error
}

// namesOf resolves every spelling of the keys.
func namesOf[T any](keys []tableKey[T]) map[string]knownKey {
	names := map[string]knownKey{}
	for _, k := range keys {
		for _, spelling := range append([]string{k.name}, k.also...) {
			names[fold(spelling)] = knownKey{k.name, k.list}
		}
	}
	return names
}

// fillTable puts the keys of a table into b and says whether all of it was right.
func fillTable[T any](l *loader, t *table, keys []tableKey[T], b *T, label string) bool {
	before := len(l.problems)
	for _, k := range keys {
		e, ok := t.entries[k.name]
		if !ok || len(e.texts) == 0 {
			continue
		}
		if err := k.set(b, value{texts: e.texts, place: e.place, dir: l.dir()}); err != nil {
			l.problems.add(label+"."+k.name, e.place, "%v", err)
		}
	}
	return len(l.problems) == before && !t.wrong
}

// A section is a kind of tables that a file may hold.
type section struct {
	word  string              // [[word]]
	names map[string]knownKey // of its keys
	into  func(*file) *[]table
}

var sections = []section{
	{"hub", hubNames, func(f *file) *[]table { return &f.hubs }},
	{"rule", namesOf(ruleKeys), func(f *file) *[]table { return &f.rules }},
	{"client", namesOf(clientKeys), func(f *file) *[]table { return &f.clients }},
}

// sectionOf is the section that a header means, in one number or the other.
func sectionOf(header string) (section, bool) {
	for _, s := range sections {
		if f := fold(header); f == s.word || f == s.word+"s" {
			return s, true
		}
	}
	return section{}, false
}

// tables reads the tables written under one spelling of a section's word.
func (p *fileParser) tables(sec section, header string, v any) {
	var tables []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		tables = v
	case []any:
		for _, t := range v {
			m, ok := t.(map[string]any)
			if !ok {
				p.out.problems.add(sec.word, p.path, "it holds more than tables; write each %s as [[%s]] and its keys below", sec.word, sec.word)
				return
			}
			tables = append(tables, m)
		}
	default:
		line := p.find(scope{}, header)
		if line == 0 {
			line = p.find(scope{header: header}, "")
		}
		p.out.problems.add(sec.word, p.place(line), "it is not a list of tables; write [[%s]] with two brackets", sec.word)
		return
	}
	out := sec.into(&p.out)
	for n, t := range tables {
		s := scope{header: header, n: n, name: fmt.Sprintf("%s[%s]", sec.word, labelOf(t, len(*out)+1))}
		line := p.find(s, "")
		one := table{entries: map[string]entry{}, place: p.place(line), line: line}
		before := len(p.out.problems)
		for _, e := range p.entries(s, t, sec.names) {
			one.entries[e.name] = e
		}
		one.wrong = len(p.out.problems) > before
		*out = append(*out, one)
	}
}
