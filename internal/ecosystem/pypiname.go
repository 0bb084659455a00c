package ecosystem

import "strings"

// SimplePaths are the paths, below a hub that has an index at its top or at /simple/, of the pages that may have named a distribution file: by its
// name a wheel tells its project, an sdist of old may be of several, for both parts of its name may hold a dash.
func SimplePaths(file string) []string {
	for _, beside := range []string{".metadata", ".asc", ".sig"} {
		file = strings.TrimSuffix(file, beside)
	}
	var paths []string
	for i := len(file) - 1; i > 0 && len(paths) < mostPaths; i-- {
		if file[i] != '-' {
			continue
		}
		if name, ok := project(file[:i]); ok {
			for _, above := range []string{"/simple/", "/"} {
				paths = append(paths, above+name+"/", above+name)
			}
		}
	}
	return paths
}

// mostPaths bounds the pages that are looked for on behalf of one file.
const mostPaths = 32

// project is the normalised name of a project (PEP 503): lower case, each run of dots, dashes and underscores one dash.
func project(name string) (string, bool) {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c | 0x20)
		case c == '.' || c == '-' || c == '_':
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
				b.WriteByte('-')
			}
		default:
			return "", false
		}
	}
	s := strings.TrimSuffix(b.String(), "-")
	return s, s != ""
}
