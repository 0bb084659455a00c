package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A room is a package of the house: its floor, and which of ours it may import.
type room struct {
	floor int
	may   []string
}

// house is the map of ARCHITECTURE.md. A package that is not in it has no room; give it one here and there.
var house = map[string]room{
	"internal/durable":   {0, nil},
	"internal/listing":   {1, nil},
	"internal/auth":      {1, []string{"durable"}},
	"internal/limit":     {1, nil},
	"internal/notify":    {1, nil},
	"internal/config":    {1, nil},
	"internal/cache":     {2, []string{"durable", "listing"}},
	"internal/origin":    {2, []string{"limit", "listing"}},
	"internal/freshness": {3, []string{"cache"}},
	"internal/tier":      {3, []string{"cache"}},
	"internal/cluster":   {3, []string{"cache"}},
	"internal/ecosystem": {4, []string{"cache", "freshness", "listing"}},
	"internal/fill":      {4, []string{"cache", "freshness"}},
	"internal/mirror":    {5, []string{"cache", "durable", "listing"}},
	"internal/proxy":     {5, []string{"auth", "cache", "ecosystem", "fill", "limit", "listing"}},
	"internal/web":       {6, []string{"auth", "cache", "fill", "listing", "mirror"}},
	"cmd/zcache":         {7, []string{"*"}},
	"e2e":                {8, nil}, // tests of the binary alone
	"bench/flood":        {8, nil},
	"bench/mirror":       {8, nil},
	"bench/stampede":     {8, nil},
}

// outside says where packages of others may be imported. What is not named here is free.
var outside = map[string]func(dir, file string) bool{
	"github.com/gorilla/mux":                                  in("cmd/zcache", "internal/web"),
	"github.com/peterbourgon/ff/v3":                           in("cmd/zcache", "internal/web", "internal/config"),
	"github.com/fsnotify/fsnotify":                            in("internal/config"),
	"github.com/jlaffaye/ftp":                                 in("internal/origin"),
	"github.com/prometheus/client_golang/prometheus/promhttp": in("cmd/zcache", "internal/web"),
	"github.com/prometheus/client_golang": func(_, file string) bool {
		return file == "metrics.go" || strings.HasSuffix(file, "_test.go")
	},
}

func in(dirs ...string) func(dir, file string) bool {
	return func(dir, _ string) bool { return slices.Contains(dirs, dir) }
}

func TestImportsKeepToTheFloors(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") && len(base) > 2) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		rel, err := filepath.Rel("../..", name)
		if err != nil {
			return err
		}
		seen++
		imports, err := importsOf(name)
		if err != nil {
			return err
		}
		for _, complaint := range complaints(filepath.ToSlash(rel), imports) {
			t.Errorf("%s %s", filepath.ToSlash(rel), complaint)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("%d Go files looked at, want the whole project", seen)
	}
}

func importsOf(file string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	imports := make([]string, len(parsed.Imports))
	for i, spec := range parsed.Imports {
		if imports[i], err = strconv.Unquote(spec.Path.Value); err != nil {
			return nil, err
		}
	}
	return imports, nil
}

// complaints says what is wrong with the imports of one file, named by its path in the project.
func complaints(file string, imports []string) []string {
	dir, base := path.Split(file)
	dir = strings.TrimSuffix(dir, "/")
	own, helper, ok := roomOf(dir)
	if !ok {
		return []string{fmt.Sprintf("lies in %q, which is no package of the house", dir)}
	}
	test := strings.HasSuffix(base, "_test.go")
	var out []string
	if dir == "e2e" && !test && len(imports) > 0 {
		out = append(out, "is code beside the tests; e2e holds tests of the binary alone")
	}
	for _, imported := range imports {
		if ours, is := strings.CutPrefix(imported, "zcache/"); is {
			if why := refused(own, dir, ours, test || helper); why != "" {
				out = append(out, fmt.Sprintf("imports %s: %s", imported, why))
			}
			continue
		}
		if allowed := rule(imported); allowed != nil && !allowed(dir, base) {
			out = append(out, fmt.Sprintf("imports %s, which has its place elsewhere", imported))
		}
	}
	return out
}

// roomOf finds the room of a directory. Beside the packages of the map there are, below each, helpers for tests (origin/origintest), and the
// modules below ecosystem.
func roomOf(dir string) (r room, helper, ok bool) {
	switch path.Base(dir) {
	case "util", "utils", "common", "helpers", "misc":
		return room{}, false, false
	}
	if r, ok = house[dir]; ok {
		return r, false, true
	}
	parent := path.Dir(dir)
	r, ok = house[parent]
	helper = strings.HasSuffix(dir, "test")
	return r, helper, ok && (helper || parent == "internal/ecosystem")
}

// refused says why a package of the room may not import another of ours, or "". Tests may import whatever lies below them, and the helpers
// that are made for them.
func refused(own room, dir, ours string, test bool) string {
	other, helper, ok := roomOf(ours)
	switch {
	case !ok:
		return "it is no package of the house"
	case helper && !test:
		return "it is a helper for tests"
	case test && (helper || ours == dir || ours == path.Dir(dir) || other.floor < own.floor):
		return ""
	case slices.Contains(own.may, "*"), slices.Contains(own.may, strings.TrimPrefix(ours, "internal/")):
		return ""
	case path.Dir(ours) == dir || path.Dir(dir) == ours:
		return "" // an ecosystem and its modules
	}
	return "the map does not allow it"
}

// rule is the longest entry of outside that imported lies under.
func rule(imported string) func(dir, file string) bool {
	for p := imported; p != "."; p = path.Dir(p) {
		if allowed, ok := outside[p]; ok {
			return allowed
		}
	}
	return nil
}

func TestTheMapIsAHouse(t *testing.T) {
	for dir, r := range house {
		for _, may := range r.may {
			if below, ok := house["internal/"+may]; may != "*" && (!ok || below.floor >= r.floor) {
				t.Errorf("%s may import %s, which is not below it", dir, may)
			}
		}
	}
}

func TestComplaintsAreMade(t *testing.T) {
	for _, row := range []struct {
		claim, file, imported string
		refused               bool
	}{
		{"fill may use cache", "internal/fill/a.go", "zcache/internal/cache", false},
		{"fill may not use origin", "internal/fill/a.go", "zcache/internal/origin", true},
		{"a test of fill may", "internal/fill/a_test.go", "zcache/internal/origin", false},
		{"and the helper below origin", "internal/fill/a_test.go", "zcache/internal/origin/origintest", false},
		{"the product may not use helpers", "internal/fill/a.go", "zcache/internal/origin/origintest", true},
		{"a test may not look up", "internal/cache/a_test.go", "zcache/internal/fill", true},
		{"nobody but main reads config", "internal/web/a.go", "zcache/internal/config", true},
		{"main may use all", "cmd/zcache/a.go", "zcache/internal/config", false},
		{"a module uses its ecosystem", "internal/ecosystem/apt/a.go", "zcache/internal/ecosystem", false},
		{"no room called utils", "internal/utils/a.go", "fmt", true},
		{"nor below a package", "internal/ecosystem/utils/a.go", "fmt", true},
		{"no package beside the map", "internal/outbox/a.go", "fmt", true},
		{"e2e holds tests", "e2e/a.go", "fmt", true},
		{"mux in web", "internal/web/a.go", "github.com/gorilla/mux", false},
		{"no mux in proxy", "internal/proxy/a.go", "github.com/gorilla/mux", true},
		{"ffcli in main", "cmd/zcache/a.go", "github.com/peterbourgon/ff/v3/ffcli", false},
		{"no fsnotify in cache", "internal/cache/a.go", "github.com/fsnotify/fsnotify", true},
		{"metrics in metrics.go", "internal/fill/metrics.go", "github.com/prometheus/client_golang/prometheus", false},
		{"and nowhere else", "internal/fill/a.go", "github.com/prometheus/client_golang/prometheus", true},
		{"promhttp in web", "internal/web/a.go", "github.com/prometheus/client_golang/prometheus/promhttp", false},
		{"promhttp in metrics.go of others", "internal/fill/metrics.go", "github.com/prometheus/client_golang/prometheus/promhttp", true},
	} {
		if got := complaints(row.file, []string{row.imported}); (len(got) > 0) != row.refused {
			t.Errorf("%s: complaints(%s imports %s) = %q, want refused %v", row.claim, row.file, row.imported, got, row.refused)
		}
	}
}
