package mirror

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

const (
	companionWorkers = 2   // each with one request at a time
	mostLooks        = 256 // that wait; more are left to the next touch
	lookAgain        = 10 * time.Minute
	listAgain        = time.Minute // a directory whose listing does not name what was touched is asked again
)

// companions brings what belongs to an archive that a client uses: its signatures, its digests and the checksum files beside it, so that whoever verifies it
// later can, off line too. Only what the directory's listing names is asked for.
type companions struct {
	cfg   *Config
	looks chan look
	seen  *recent
	// asked keeps two archives of one directory from having its listing fetched twice.
	asked *recent
}

// A look is an archive whose companions are to be seen to.
type look struct {
	seat *seat
	key  cache.Key
}

func newCompanions(cfg *Config) *companions {
	return &companions{cfg: cfg, looks: make(chan look, mostLooks), seen: newRecent(lookAgain), asked: newRecent(listAgain)}
}

// start runs the workers until ctx ends.
func (c *companions) start(ctx context.Context, helpers *sync.WaitGroup) {
	for range companionWorkers {
		helpers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case l := <-c.looks:
					c.see(ctx, l)
				}
			}
		})
	}
}

// touch queues a look at the companions of key, if it is an archive and nobody looked lately. It never waits and allocates nothing.
func (c *companions) touch(seat *seat, key cache.Key) {
	if !archive(key.Path()) {
		return
	}
	if _, has := key.Query(); has || !c.seen.mark(key, c.cfg.Now()) {
		return
	}
	select {
	case c.looks <- look{seat, key}:
	default:
		c.seen.clear(key)
	}
}

// archive says by its suffix whether a path is that of something which is published with signatures or digests.
func archive(path string) bool {
	i := strings.LastIndexByte(path, '.')
	if i < 0 || len(path)-i > len(".AppImage") {
		return false
	}
	switch path[i+1:] {
	case "tar", "gz", "xz", "bz2", "zst", "lz", "lzma", "Z", "tgz", "txz", "tbz", "tbz2", "tzst", "zip", "7z", "cpio",
		"iso", "img", "qcow2", "vmdk", "ova", "raw", "wic",
		"deb", "udeb", "dsc", "rpm", "drpm", "apk", "jar", "war", "aar", "whl", "gem", "crate", "nupkg", "msi", "exe", "dmg", "pkg", "AppImage":
		return true
	}
	return false
}

// see brings the companions of one archive. What cannot be had is left to the next walk.
func (c *companions) see(ctx context.Context, l look) {
	dir, name := l.key.Parent(), l.key.Name()
	list, err := c.list(ctx, dir, name)
	if err != nil {
		c.cfg.Logger.Debug("companions", "action", "list", "key", dir.String(), "error", err)
		return
	}
	for _, e := range beside(list, name) {
		if ctx.Err() != nil {
			return
		}
		key, err := dir.Child(e.Name, false)
		if err != nil || !c.wanted(l.seat, list, e, key) {
			continue
		}
		answer, err := c.cfg.Refresher.Refresh(ctx, Ask{Key: key, Row: e.Row()})
		c.cfg.Logger.Debug("companions", "action", "fetch", "key", key.String(), "of", name, "outcome", answer.Outcome.String(), "error", err)
	}
}

// wanted says that a companion is neither held nor left out by the rules of the subtree.
func (c *companions) wanted(seat *seat, list *listing.Listing, e listing.Entry, key cache.Key) bool {
	sub := &seat.sub
	if sub.Skip != nil && sub.Skip(below(sub.Dir, key)) {
		return false
	}
	if sub.MaxFile > 0 {
		if list.Complete != nil {
			list.Complete(&e)
		}
		if e.Size > sub.MaxFile {
			return false
		}
	}
	_, _, err := c.cfg.Store.Peek(key)
	return errors.Is(err, cache.ErrNotStored)
}

// list returns the listing of dir: the one that is held, if it names what was touched. A release that is newer than the listing is what people ask for
// most, and it is then that the signatures are missing; so the directory is asked once.
func (c *companions) list(ctx context.Context, dir cache.Key, name string) (*listing.Listing, error) {
	list, err := c.held(dir)
	if err == nil {
		if _, ok := lookup(list, name); ok {
			return list, nil
		}
	}
	if !c.asked.mark(dir, c.cfg.Now()) {
		return list, err
	}
	if _, err := c.cfg.Refresher.Refresh(ctx, Ask{Key: dir}); err != nil {
		return nil, err
	}
	return c.held(dir)
}

func (c *companions) held(dir cache.Key) (*listing.Listing, error) {
	entry, err := c.cfg.Store.Open(dir, c.cfg.Refresher.Listing())
	if err != nil {
		return nil, err
	}
	defer entry.Close()
	return c.cfg.Store.Listing(entry)
}

func lookup(list *listing.Listing, name string) (listing.Entry, bool) {
	i, ok := slices.BinarySearchFunc(list.Entries, name, func(e listing.Entry, name string) int { return cmp.Compare(e.Name, name) })
	if !ok || list.Entries[i].Kind == listing.Dir || list.Entries[i].Kind == listing.Other {
		return listing.Entry{}, false
	}
	return list.Entries[i], true
}

// attached are the suffixes by which a file belongs to the one whose name it bears.
var attached = []string{
	".sig", ".asc", ".sign", ".gpg", ".minisig", ".sigstore", ".pem",
	".sha256", ".sha256sum", ".sha512", ".sha512sum", ".sha1", ".sha1sum", ".md5", ".md5sum", ".b2", ".b2sum", ".CHECKSUM", ".DIGESTS",
}

// beside returns what belongs to the file name and is listed with it. A signature may be of the archive before it was compressed: linux-6.1.tar.sign
// stands for linux-6.1.tar.xz.
func beside(list *listing.Listing, name string) []listing.Entry {
	var found []listing.Entry
	stems := []string{name}
	switch ext := path.Ext(name); ext {
	case ".gz", ".xz", ".bz2", ".zst", ".lz", ".lzma", ".Z":
		stems = append(stems, strings.TrimSuffix(name, ext))
	}
	for _, stem := range stems {
		for _, suffix := range attached {
			if e, ok := lookup(list, stem+suffix); ok {
				found = append(found, e)
			}
		}
	}
	for _, e := range list.Entries {
		if e.Kind != listing.Dir && e.Kind != listing.Other && checksums(e.Name) && e.Name != name {
			found = append(found, e)
		}
	}
	return found
}

// longestSums bounds the name of a checksum file: Fedora-Server-41-1.4-x86_64-CHECKSUM is a long one.
const longestSums = 80

// checksums says that a name is that of a file of digests for a whole directory, or of the signature of one.
func checksums(name string) bool {
	if len(name) > longestSums {
		return false
	}
	lower := strings.ToLower(name)
	for {
		ext := path.Ext(lower)
		switch ext {
		case ".txt", ".asc", ".sig", ".sign", ".gpg":
			lower = strings.TrimSuffix(lower, ext)
			continue
		}
		break
	}
	if strings.HasSuffix(lower, "-checksum") {
		return true
	}
	switch lower {
	case "sha256sums", "sha512sums", "sha384sums", "sha224sums", "sha1sums", "md5sums", "b2sums", "sha256sum", "sha512sum", "sha1sum", "md5sum",
		"checksum", "checksums", "sha256", "sha512":
		return true
	}
	return false
}

// recent remembers for a while which Keys were marked. It holds as many as it has cells; two that share one push each other out, which costs a look too many.
type recent struct {
	seed  maphash.Seed
	span  uint32              // in seconds
	cells [4096]atomic.Uint64 // a part of the Key's hash, and the Unix second of the mark
}

func newRecent(span time.Duration) *recent {
	return &recent{seed: maphash.MakeSeed(), span: uint32(span / time.Second)}
}

func (r *recent) cell(key cache.Key) (cell *atomic.Uint64, tag uint64) {
	h := maphash.String(r.seed, key.Path()) ^ maphash.String(r.seed, key.Hub())*31
	return &r.cells[h%uint64(len(r.cells))], h >> 32 << 32
}

// mark marks key, and says whether it was not marked in the span before.
func (r *recent) mark(key cache.Key, now time.Time) bool {
	cell, tag := r.cell(key)
	was, second := cell.Load(), uint32(now.Unix())
	if was>>32<<32 == tag && was != 0 && second-uint32(was) < r.span {
		return false
	}
	return cell.CompareAndSwap(was, tag|uint64(second))
}

// clear takes the mark of key away.
func (r *recent) clear(key cache.Key) {
	cell, tag := r.cell(key)
	if was := cell.Load(); was>>32<<32 == tag {
		cell.CompareAndSwap(was, 0)
	}
}
