package fill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// What people are told of, by the names that they have there.
const (
	NoticeFailed    = "upstream-failed"   // a client asked for something that is not held, and no upstream gave it
	NoticeChanged   = "content-changed"   // there are other bytes where they should have stayed
	NoticeIntegrity = "integrity-failure" // a body has not the digest that somebody vouched for
)

// tell passes something on to people.
func (f *Filler) tell(kind string, key cache.Key, text string) {
	if f.cfg.Tell != nil {
		f.cfg.Tell(kind, key, text)
	}
}

// tellFailure tells of a flight that brought its clients nothing: an error that is final, or an answer of the origin's that is one. Walks report on
// themselves. What somebody named by its URL, in the built-in hub, is that client's affair: any typing error would be told.
func (f *Filler) tellFailure(fl *flight, held bool) {
	f.mu.Lock()
	wanted := fl.wanted
	f.mu.Unlock()
	if held || !wanted || f.cfg.Tell == nil || cache.BaseHub(fl.key.Hub()) == cache.FilesHub {
		return
	}
	err := fl.wrong
	switch {
	case fl.outcome == passed && fl.status >= 500:
		f.tell(NoticeFailed, fl.key, fmt.Sprintf("the upstream answers %d %s", fl.status, http.StatusText(fl.status)))
	case fl.ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrStopping) || errors.Is(err, ErrPurged) || err != nil && (refused(err) || crowded(err)):
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrWrongContent), errors.Is(err, errChanged):
		f.tell(NoticeFailed, fl.key, err.Error())
	}
}

// tellChange tells of a body that took another one's place, where that should not happen.
func (f *Filler) tellChange(fl *flight, old *cache.Meta) {
	if f.cfg.Tell == nil || old == nil || fl.stored == nil {
		return
	}
	if why := changed(fileName(fl.key), old, fl.stored, fl.policy.Class == freshness.ClassImmutable); why != "" {
		f.tell(NoticeChanged, fl.key, fmt.Sprintf("%s: sha-256 was %x and is %x, %d bytes were %d", why, old.SHA256, fl.stored.SHA256, fl.stored.Size, old.Size))
	}
}

// changed says why a file of this name should not have other bytes than it had, or returns "" when it has the same or nothing speaks against it.
func changed(name string, old, new *cache.Meta, immutable bool) string {
	if old.Status != http.StatusOK || new.Status != http.StatusOK || old.Listing || new.Listing || old.Original || new.Original ||
		old.SHA256 == [32]byte{} || old.SHA256 == new.SHA256 || len(old.Vary) > 0 || len(new.Vary) > 0 {
		return ""
	}
	switch {
	case immutable:
		return "its path is of class immutable"
	case versioned(name):
		return "its name is that of a release"
	case old.Size == new.Size && old.LastModified() != "" && old.LastModified() == new.LastModified():
		return "its size and Last-Modified are the same"
	}
	return ""
}

// archives are the suffixes of what is released once and for all, when a version is in its name.
var archives = []string{
	".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lz", ".tar.lzma", ".tar.z", ".tgz", ".txz", ".tbz", ".tbz2", ".tzst", ".zip", ".7z", ".whl", ".egg",
	".gem", ".crate", ".jar", ".war", ".aar", ".nupkg", ".deb", ".udeb", ".dsc", ".rpm", ".apk", ".pkg.tar.zst", ".pkg.tar.xz", ".exe", ".msi", ".dmg", ".iso",
	".patch.gz", ".patch.xz", ".diff.gz",
}

// moving are words behind a name that say of its bytes that they come and go, whatever version stands beside them. Those that packages have in their names
// too, as "dev" and "git", are not among them.
var moving = []string{"latest", "snapshot", "nightly", "daily", "weekly", "current", "master", "trunk"}

// versioned says whether a name is that of a released archive with its version in it, as in foo-1.2.3.tar.xz or foo_1.2-1_amd64.deb.
func versioned(name string) bool {
	name = strings.ToLower(name)
	stem := ""
	for _, suffix := range archives {
		if rest, ok := strings.CutSuffix(name, suffix); ok && (stem == "" || len(rest) < len(stem)) {
			stem = rest
		}
	}
	if stem == "" {
		return false
	}
	found := false
	words := strings.FieldsFunc(stem, func(r rune) bool { return r == '-' || r == '_' || r == '+' || r == '~' })
	for _, word := range words[min(1, len(words)):] {
		for part := range strings.SplitSeq(word, ".") {
			if slices.Contains(moving, part) {
				return false
			}
		}
		found = found || version(word)
	}
	return found
}

// version says whether a word begins as versions do: digits, a dot, a digit, perhaps behind a "v".
func version(word string) bool {
	word = strings.TrimPrefix(word, "v")
	i := 0
	for i < len(word) && digit(word[i]) {
		i++
	}
	return i > 0 && i+1 < len(word) && word[i] == '.' && digit(word[i+1])
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
