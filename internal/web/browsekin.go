package web

import (
	"iter"
	"strings"

	"zcache/internal/listing"
)

// companions are the suffixes of files that say something about the file that they are named after.
var companions = map[string]string{
	"sig": "signature", "asc": "signature", "sign": "signature", "minisig": "signature", "gpg": "signature", "p7s": "signature", "sigstore": "signature",
	"sha1": "checksum", "sha224": "checksum", "sha256": "checksum", "sha384": "checksum", "sha512": "checksum", "md5": "checksum",
	"b2": "checksum", "b3": "checksum", "blake2b": "checksum", "blake3": "checksum",
	"sha1sum": "checksum", "sha256sum": "checksum", "sha512sum": "checksum", "md5sum": "checksum", "digests": "checksum",
	"torrent": "torrent", "magnet": "torrent", "zsync": "delta index", "meta4": "metalink", "metalink": "metalink",
	"bmap": "block map", "provenance": "provenance", "attestation": "provenance", "sbom": "bill of materials", "spdx": "bill of materials",
}

// directorySums are the names, in lower case, of files with the digests of a whole directory.
var directorySums = map[string]bool{
	"sha1sums": true, "sha224sums": true, "sha256sums": true, "sha384sums": true, "sha512sums": true, "md5sums": true, "b2sums": true,
	"sha1sum": true, "sha256sum": true, "sha512sum": true, "md5sum": true, "checksum": true, "checksums": true, "digests": true,
}

// kin finds the files that belong to another one while rows go by in order of name: x.sig follows x there. Other names may come in between
// (x-2 sorts before x.sig), so the last few files are remembered.
type kin struct {
	last [6]string
	next int
}

// A bond is what a file is to another one: its label, and that file's name, or the part of it that counts; "" for the directory's own.
type bond struct {
	label, of string
	follows   bool // of is a row that was just passed
}

// see takes the next file's name and tells what it belongs to.
func (k *kin) see(name string) bond {
	stem, label := kinship(name)
	if label == "" {
		k.last[k.next] = name
		k.next = (k.next + 1) % len(k.last)
		return bond{label: about(name)}
	}
	owner := stem
	for {
		up, more := kinship(owner)
		if more == "" {
			break
		}
		owner = up // x.sha256.asc is listed below x too
	}
	for _, other := range k.last {
		// linux-6.1.tar.sign signs what linux-6.1.tar.gz and linux-6.1.tar.xz unpack to.
		if rest, ok := strings.CutPrefix(other, owner); ok && other != "" && (rest == "" || rest[0] == '.') {
			return bond{label: label, of: stem, follows: true}
		}
	}
	if about(stem) == sumsLabel {
		return bond{label: "signed checksums"} // sha256sums.asc without a sha256sums has them inside
	}
	k.last[k.next] = name
	k.next = (k.next + 1) % len(k.last)
	return bond{}
}

// behindTheirs has a signature follow the one file that it sorts right before: linux-6.1.tar.sign signs linux-6.1.tar.xz.
func behindTheirs(rows iter.Seq[listing.Row]) iter.Seq[listing.Row] {
	return func(yield func(listing.Row) bool) {
		var early listing.Row // a signature that waits for the next row
		var waits bool
		var stem, last string
		for row := range rows {
			s, label := kinship(row.Name)
			if waits {
				waits = false
				if label == "" && row.Kind != listing.Dir && strings.HasPrefix(row.Name, stem+".") {
					if !yield(row) || !yield(early) {
						return
					}
					last = row.Name
					continue
				}
				if !yield(early) {
					return
				}
			}
			if label == "signature" && row.Kind != listing.Dir && last != s && !strings.HasPrefix(last, s+".") {
				stem, early, waits = s, row, true
				continue
			}
			if last = row.Name; !yield(row) {
				return
			}
		}
		if waits {
			yield(early)
		}
	}
}

// kinship splits name at a companion's suffix; label is "" when it has none.
func kinship(name string) (stem, label string) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return name, ""
	}
	label = companions[strings.ToLower(name[dot+1:])]
	if label == "" {
		return name, ""
	}
	return name[:dot], label
}

const sumsLabel = "checksums"

// about labels a file that speaks of the directory or of a release in it by its name alone.
func about(name string) string {
	low := strings.ToLower(name)
	switch {
	case directorySums[low], directorySums[strings.TrimSuffix(low, ".txt")], strings.HasSuffix(low, "-checksum"):
		return sumsLabel
	case low == "readme", strings.HasPrefix(low, "readme."), strings.HasSuffix(low, ".readme"):
		return "read me"
	}
	return ""
}

// icons are the classes of icons by suffix, in lower case.
var icons = map[string]string{}

func init() {
	for class, suffixes := range map[string]string{
		"arc": "gz bz2 xz zst lz lzma z zip 7z rar tar tgz tbz txz tzst cpio deb udeb rpm apk whl jar war gem crate nupkg snap flatpak drpm xpi egg aar conda",
		"img": "iso img qcow2 vmdk vdi raw squashfs wic efi ova",
		"txt": "txt md html htm rst log json xml yaml yml toml csv pdf dsc changes changelog",
	} {
		for s := range strings.FieldsSeq(suffixes) {
			icons[s] = class
		}
	}
}

// iconOf is the class of a file's icon: what a file is for is told by its name.
func iconOf(name string) string {
	_, label := kinship(name)
	switch label {
	case "":
	case "signature", "provenance":
		return "sig"
	case "checksum":
		return "sum"
	default:
		return "txt"
	}
	switch about(name) {
	case sumsLabel:
		return "sum"
	case "read me":
		return "txt"
	}
	class := icons[strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])]
	if class == "" {
		return "file"
	}
	return class
}
