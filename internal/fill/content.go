package fill

import (
	"bytes"
	"mime"
	"net/http"
	"strings"

	"zcache/internal/cache"
)

// fileName is the name that tells what a body is; a directory's tells nothing, whatever suffix it has.
func fileName(k cache.Key) string {
	if k.IsDir() {
		return ""
	}
	return k.Name()
}

// mayList says that a response may be a listing of the directory that its Key names: its type is one that listings come in.
func mayList(k cache.Key, m *cache.Meta) bool {
	if _, has := k.Query(); has || !k.IsDir() || m.Status != http.StatusOK || m.Size > cache.MaxListing {
		return false
	}
	kind, _, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil && kind == "" {
		return len(m.Header["Content-Type"]) == 0
	}
	switch kind {
	case "text/html", "text/plain", "text/xml", "application/xml", "application/json":
		return true
	}
	return strings.HasSuffix(kind, "+xml") || strings.HasSuffix(kind, "+json") || strings.HasPrefix(kind, "text/x-") || strings.HasPrefix(kind, "text/ftp")
}

// known says that a Content-Encoding names a coding in use, so that the bytes are not those of the file itself.
func known(coding string) bool {
	for c := range strings.SplitSeq(coding, ",") {
		switch strings.ToLower(strings.TrimSpace(c)) {
		case "gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "bzip2", "x-bzip2", "xz", "x-xz":
			return true
		}
	}
	return false
}

// labels are the codings that servers put on files of these suffixes by their name alone.
var labels = map[string][]string{
	".gz": {"gzip", "x-gzip"}, ".tgz": {"gzip", "x-gzip"}, ".z": {"compress", "x-compress"},
	".bz2": {"bzip2", "x-bzip2"}, ".tbz": {"bzip2", "x-bzip2"}, ".tbz2": {"bzip2", "x-bzip2"},
	".xz": {"xz", "x-xz"}, ".txz": {"xz", "x-xz"}, ".zst": {"zstd"}, ".br": {"br"}, ".svgz": {"gzip", "x-gzip"},
}

// bogus says that the coding only repeats what the file's suffix says: the bytes are the file's own, and a client that decoded them would hold another
// file. A server that had coded the file on the way would vary by Accept-Encoding and not know the length.
func bogus(name, coding string, resp *http.Response) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || resp.ContentLength < 0 {
		return false
	}
	for _, line := range resp.Header["Vary"] {
		if strings.Contains(strings.ToLower(line), "accept-encoding") {
			return false
		}
	}
	for _, label := range labels[strings.ToLower(name[dot:])] {
		if strings.EqualFold(strings.TrimSpace(coding), label) {
			return true
		}
	}
	return false
}

// magics are the first bytes that files of these suffixes begin with.
var magics = []struct {
	suffixes []string
	magic    string
}{
	{[]string{".gz", ".tgz", ".svgz", ".crate", ".apk"}, "\x1f\x8b"},
	{[]string{".xz", ".txz"}, "\xfd7zXZ\x00"},
	{[]string{".bz2", ".tbz", ".tbz2"}, "BZh"},
	{[]string{".zst"}, "\x28\xb5\x2f\xfd"},
	{[]string{".zip", ".jar", ".whl", ".egg", ".nupkg"}, "PK"},
	{[]string{".7z"}, "7z\xbc\xaf\x27\x1c"},
	{[]string{".deb", ".udeb"}, "!<arch>"},
	{[]string{".rpm"}, "\xed\xab\xee\xdb"},
	{[]string{".lz"}, "LZIP"},
	{[]string{".tar", ".iso", ".img", ".bin", ".exe", ".lzma", ".sig"}, "\x00no such magic"},
}

// promised returns the bytes that a file of this name begins with, if its suffix says.
func promised(name string) ([]byte, bool) {
	name = strings.ToLower(name)
	for _, m := range magics {
		for _, s := range m.suffixes {
			if strings.HasSuffix(name, s) {
				return []byte(m.magic), true
			}
		}
	}
	return nil, false
}

// webPage says that a body begins as HTML does.
func webPage(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.ToLower(bytes.TrimLeft(head, " \t\r\n"))
	for {
		rest, ok := bytes.CutPrefix(head, []byte("<!--"))
		if !ok {
			break
		}
		_, rest, ok = bytes.Cut(rest, []byte("-->"))
		if !ok {
			return true
		}
		head = bytes.TrimLeft(rest, " \t\r\n")
	}
	for _, s := range []string{"<!doctype html", "<html", "<head", "<body", "<?xml version"} {
		if bytes.HasPrefix(head, []byte(s)) {
			return true
		}
	}
	return false
}
