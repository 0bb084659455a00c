package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

// Flags holds what the command line gave, as text. It may be loaded again and again, for a reload reads the variables and
// the file anew and leaves the command line in force.
type Flags struct {
	given []given
	bare  bool // without variables and file
}

type given struct{ name, text string }

// Register defines the flags of every setting in fs and returns what will hold their values once fs has parsed a command
// line.
func Register(fs *flag.FlagSet) *Flags {
	f := &Flags{}
	for _, o := range options {
		usage := o.usage
		if o.arg != "" {
			usage = "`" + o.arg + "` " + usage
		}
		fs.Var(&recorder{f, o}, o.name, usage)
	}
	config := option{name: "config"}
	fs.Var(&recorder{f, config}, "config", "`FILE` config file (TOML); else ZCACHE_CONFIG, else ./zcache.toml if present")
	fs.Var(&recorder{f, config}, "c", "`FILE` short for --config")
	return f
}

// A recorder is the flag.Value that notes what was given. It refuses nothing: Load judges all values together, wherever they
// come from.
type recorder struct {
	flags  *Flags
	option option
}

func (r *recorder) String() string {
	if r == nil || r.option.kind == boolean {
		return "" // the help shows no default for a switch
	}
	return r.option.def
}

func (r *recorder) Set(text string) error {
	r.flags.given = append(r.flags.given, given{r.option.name, text})
	return nil
}

func (r *recorder) IsBoolFlag() bool { return r.option.kind == boolean }

// Parse loads a configuration from flags alone, without variables and file.
func Parse(args ...string) (Config, error) {
	fs := flag.NewFlagSet("zcache", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := Register(fs)
	f.bare = true
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	return f.Load()
}

// Load reads the variables and the file, lets the command line win over both, and returns the whole configuration. An error is of
// type Problems.
func (f *Flags) Load() (Config, error) {
	l := &loader{inputs: map[string]*input{}}
	if err := l.collect(f); err != nil {
		return Config{}, err
	}
	c := Config{File: l.path}
	if l.path != "" {
		c.files = []string{l.path}
	}
	for _, o := range options {
		v := l.inputs[o.name].value
		if len(v.texts) == 0 {
			if o.def == "" {
				continue
			}
			v.texts = []string{o.def}
		}
		if err := o.set(&c, v); err != nil {
			l.problems.add(o.name, v.place, "%v", err)
		}
	}
	l.hubs(&c)
	l.rules(&c)
	l.clients(&c)
	l.subtrees(&c)
	l.check(&c)
	if len(l.problems) > 0 {
		return Config{}, l.problems
	}
	return c, nil
}

// A loader is one run of Load.
type loader struct {
	path                     string // of the config file; empty = none
	inputs                   map[string]*input
	tables                   []table // [[hub]], as written
	ruleTables, clientTables []table
	places                   []string // of the hubs, in step with Config.Hubs
	problems                 Problems
}

// An input is the flag.Value by which ff hands over what a setting was given, best source first.
type input struct {
	option option
	value  value
}

func (in *input) String() string { return "" }

// Set is called for the command line and the variables, where one text may hold a list.
func (in *input) Set(text string) error {
	texts := []string{text}
	switch in.option.kind {
	case list:
		texts = splitList(text)
	case urls:
		texts = splitURLs(text)
	}
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			in.value.texts = append(in.value.texts, t)
		}
	}
	return nil
}

func (in *input) IsBoolFlag() bool { return in.option.kind == boolean }

func splitList(text string) []string { return strings.Split(text, ",") }

// splitURLs parts URLs, which may hold commas, at those behind which the next one begins.
func splitURLs(text string) []string {
	var out []string
	begin := 0
	for _, at := range nextURL.FindAllStringIndex(text, -1) {
		out = append(out, text[begin:at[0]])
		begin = at[0] + 1
	}
	return append(out, text[begin:])
}

var nextURL = regexp.MustCompile(`,\s*[a-z][a-z0-9+.-]*://`)

// collect gathers what every setting was given.
func (l *loader) collect(f *Flags) error {
	flags := flag.NewFlagSet("zcache", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, o := range append(slices.Clip(options), option{name: "config"}) {
		l.inputs[o.name] = &input{option: o}
		flags.Var(l.inputs[o.name], o.name, o.usage)
	}
	for _, g := range f.given {
		if err := flags.Set(g.name, g.text); err != nil {
			return err
		}
	}
	byFlag := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { byFlag[f.Name] = true })
	if f.bare {
		return nil
	}
	if err := l.findFile(); err != nil {
		return err
	}
	// ff asks the variables before it opens the file, so what is set when our parser starts and was not given by flag
	// came from a variable.
	parse := func(r io.Reader, set func(name, value string) error) error {
		l.nameVariables(byFlag)
		return l.readFile(r, set)
	}
	opts := []ff.Option{ff.WithEnvVarPrefix("ZCACHE")}
	if l.path != "" {
		opts = append(opts, ff.WithConfigFile(l.path), ff.WithConfigFileParser(parse))
	}
	if err := ff.Parse(flags, nil, opts...); err != nil {
		return l.cannotRead(err)
	}
	if l.path == "" {
		l.nameVariables(byFlag)
	}
	return nil
}

// dir is where relative file names of the config file start.
func (l *loader) dir() string { return filepath.Dir(l.path) }

func (l *loader) nameVariables(byFlag map[string]bool) {
	for name, in := range l.inputs {
		if len(in.value.texts) > 0 && !byFlag[name] {
			in.value.place = "ZCACHE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		}
	}
}

// findFile finds the config file: named by flag, by variable, or lying in the working directory.
func (l *loader) findFile() error {
	place := ""
	if in := l.inputs["config"]; len(in.value.texts) > 0 {
		l.path = in.value.text()
	} else if env := os.Getenv("ZCACHE_CONFIG"); env != "" {
		l.path, place = env, "ZCACHE_CONFIG"
	}
	if l.path == "" {
		if _, err := os.Stat("zcache.toml"); err == nil {
			l.path = "zcache.toml"
		}
		return nil
	}
	_, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Problems{{"config", fmt.Sprintf("%s does not exist; create it or name another file with --config", l.path), place}}
	}
	return nil
}

func (l *loader) cannotRead(err error) error {
	var problems Problems
	if errors.As(err, &problems) {
		return problems
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return Problems{{"config", fmt.Sprintf("%s cannot be read: %v", l.path, err), ""}}
}

// readFile hands the top level of the file to ff by set, and keeps the hubs for later.
func (l *loader) readFile(r io.Reader, set func(name, value string) error) error {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("larger than %d bytes", maxFile)
	}
	file, err := parseFile(l.path, bytes.TrimPrefix(data, []byte("\ufeff")))
	if err != nil {
		return err
	}
	l.tables, l.ruleTables, l.clientTables = file.hubs, file.rules, file.clients
	l.problems = append(l.problems, file.problems...)
	for _, e := range file.top {
		// ff decides by the name whether a better source has spoken; what it passes on replaces nothing then, so the
		// texts are noted here, unsplit when they came as an array.
		in := l.inputs[e.name]
		had := len(in.value.texts)
		for _, text := range e.texts {
			if err := set(e.name, text); err != nil {
				return err
			}
		}
		if len(in.value.texts) == had {
			continue // a flag or variable wins, or the text was empty
		}
		if e.array {
			in.value.texts = e.texts
		}
		in.value.place, in.value.dir = e.place, l.dir()
	}
	return nil
}
