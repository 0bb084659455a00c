package mirror

import "strings"

// isIndex says that a name stands for what names other files: it is brought only when they are here, so that whoever reads it finds what it names.
func isIndex(name string, dir bool) bool {
	if dir {
		switch name {
		case "dists", "repodata", "by-hash":
			return true
		}
		return false
	}
	lower := strings.ToLower(name)
	for _, prefix := range []string{"release", "inrelease", "packages", "sources", "contents-", "apkindex", "repomd.xml", "ls-lr", "checksum"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	for _, sum := range []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "b2"} {
		if strings.HasPrefix(lower, sum+"sum") {
			return true
		}
	}
	for _, suffix := range []string{".db", ".db.tar.gz", ".files.tar.gz"} {
		if strings.HasSuffix(lower, suffix) {
			return true
		}
	}
	return lower == "index.json" || lower == "packages.json"
}
