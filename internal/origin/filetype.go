package origin

import (
	"path"
	"strings"
)

// typeOf is the media type of a file by its name, "application/octet-stream" for one that tells nothing. The table is our own: the system's,
// which package mime reads, differs from one machine to the next, and two instances of one tree should answer alike. It also knows
// things such as man pages by the "1" of linux-6.1. What is compressed is of its own type and never has a Content-Encoding, which
// clients would undo.
func typeOf(name string) string {
	base := path.Base(name)
	if kind := suffixTypes[strings.ToLower(path.Ext(base))]; kind != "" {
		return kind
	}
	upper := strings.ToUpper(base)
	if plainNames[upper] || strings.HasPrefix(upper, "README") || strings.HasPrefix(upper, "CHANGELOG") {
		return textType
	}
	return "application/octet-stream"
}

const textType = "text/plain; charset=utf-8"

// plainNames are what people read and what has no suffix, in capitals.
var plainNames = words("AUTHORS CHANGES COPYING COPYRIGHT INSTALL LICENSE LICENCE MAINTAINERS MAKEFILE NEWS NOTICE RELEASE " +
	"INRELEASE PACKAGES SOURCES MD5SUM MD5SUMS SHA1SUM SHA1SUMS SHA256SUM SHA256SUMS SHA512SUM SHA512SUMS B2SUMS B3SUMS CHECKSUMS LS-LR")

func words(s string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		set[word] = true
	}
	return set
}

var suffixTypes = map[string]string{
	".htm":  "text/html; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".csv":  "text/csv; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".md":   "text/markdown; charset=utf-8",
	".xml":  "text/xml; charset=utf-8",
	".rss":  "application/rss+xml",
	".atom": "application/atom+xml",

	".txt": textType, ".text": textType, ".log": textType, ".diff": textType, ".patch": textType, ".conf": textType, ".cfg": textType,
	".ini": textType, ".c": textType, ".h": textType, ".go": textType, ".py": textType, ".sh": textType, ".toml": textType,
	".sum": textType, ".md5": textType, ".sha1": textType, ".sha256": textType, ".sha512": textType, ".b2": textType, ".dsc": textType,
	".changes": textType, ".info": textType, ".mod": textType, ".spec": textType, ".rst": textType,

	".json": "application/json",
	".yaml": "application/yaml",
	".yml":  "application/yaml",
	".pdf":  "application/pdf",
	".ps":   "application/postscript",
	".wasm": "application/wasm",

	".avif": "image/avif",
	".gif":  "image/gif",
	".ico":  "image/vnd.microsoft.icon",
	".jpg":  "image/jpeg",
	".jpeg": "image/jpeg",
	".png":  "image/png",
	".svg":  "image/svg+xml",
	".webp": "image/webp",
	".mp3":  "audio/mpeg",
	".ogg":  "audio/ogg",
	".flac": "audio/flac",
	".mp4":  "video/mp4",
	".webm": "video/webm",
	".ttf":  "font/ttf",
	".otf":  "font/otf",
	".woff": "font/woff", ".woff2": "font/woff2",

	".gz":   "application/gzip",
	".tgz":  "application/gzip",
	".bz2":  "application/x-bzip2",
	".tbz":  "application/x-bzip2",
	".tbz2": "application/x-bzip2",
	".xz":   "application/x-xz",
	".txz":  "application/x-xz",
	".lzma": "application/x-lzma",
	".lz":   "application/x-lzip",
	".lz4":  "application/x-lz4",
	".zst":  "application/zstd",
	".z":    "application/x-compress",
	".tar":  "application/x-tar",
	".zip":  "application/zip",
	".whl":  "application/zip",
	".jar":  "application/java-archive",
	".7z":   "application/x-7z-compressed",
	".cpio": "application/x-cpio",

	".deb":        "application/vnd.debian.binary-package",
	".udeb":       "application/vnd.debian.binary-package",
	".rpm":        "application/x-rpm",
	".apk":        "application/vnd.android.package-archive",
	".crate":      "application/gzip",
	".iso":        "application/vnd.efi.iso",
	".torrent":    "application/x-bittorrent",
	".metalink":   "application/metalink+xml",
	".meta4":      "application/metalink4+xml",
	".asc":        "application/pgp-signature",
	".sig":        "application/pgp-signature",
	".sign":       "application/pgp-signature",
	".gpg":        "application/octet-stream", // a signature, a key or a message
	".pem":        "application/x-pem-file",
	".crt":        "application/x-x509-ca-cert",
	".pom":        "text/xml; charset=utf-8",
	".zsync":      "application/x-zsync",
	".der":        "application/x-x509-ca-cert",
	".properties": textType,
}
