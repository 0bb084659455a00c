package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/listing"
)

func listOf(names ...string) *listing.Listing {
	l := &listing.Listing{}
	for _, name := range names {
		e := listing.Entry{Name: name, Kind: listing.File, Size: 100}
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			e = listing.Entry{Name: dir, Kind: listing.Dir, Size: -1}
		}
		l.Entries = append(l.Entries, e)
	}
	slices.SortFunc(l.Entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	return l
}

func TestAnArchiveBringsWhatBelongsToItAndIsListed(t *testing.T) {
	tests := []struct {
		name   string
		touch  string
		listed []string
		held   []string
		want   string
	}{
		{"a signature of the archive", "a.tar.xz", []string{"a.tar.xz", "a.tar.xz.asc", "b.tar.xz.asc"}, nil, "a.tar.xz.asc"},
		{"one of what it was before it was compressed", "linux-6.1.tar.xz", []string{"linux-6.1.tar.sign", "linux-6.1.tar.xz"}, nil, "linux-6.1.tar.sign"},
		{"digests and checksum files", "a.iso",
			[]string{"SHA256SUMS", "SHA256SUMS.gpg", "a.iso", "a.iso.sha512", "sha256sums.asc", "sha512sums.txt", "MD5SUMS", "X-CHECKSUM"}, nil,
			"MD5SUMS SHA256SUMS SHA256SUMS.gpg X-CHECKSUM a.iso.sha512 sha256sums.asc sha512sums.txt"},
		{"not what is held", "a.zip", []string{"SHA256SUMS", "a.zip", "a.zip.sig"}, []string{"SHA256SUMS"}, "a.zip.sig"},
		{"not what nobody lists", "a.zip", []string{"a.zip"}, nil, ""},
		{"not a directory of such a name", "a.zip", []string{"SHA256SUMS/", "a.zip", "a.zip.sig/"}, nil, ""},
		{"not what the subtree skips", "a.zip", []string{"a.zip", "a.zip.md5", "a.zip.sig"}, nil, "a.zip.sig"},
		{"a name with a space", "a%20b.zip", []string{"a b.zip", "a b.zip.sig"}, nil, "a%20b.zip.sig"},
		{"nothing for a page", "index.html", []string{"SHA256SUMS", "index.html", "index.html.asc"}, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, root *durable.Root) {
				dir := keyOf(t, "/hub/a/d/")
				store := &shelfStore{lists: map[cache.Key]*listing.Listing{dir: listOf(test.listed...)}, files: map[cache.Key]bool{}}
				for _, name := range test.held {
					store.files[keyOf(t, "/hub/a/d/"+name)] = true
				}
				ask := &asker{}
				sub := subtree(t, "/hub/a")
				sub.Skip = func(path string) bool { return path == "d/a.zip.md5" }
				r := play(t, root, Config{Store: store, Refresher: ask, Subtrees: []Subtree{sub}}, succeed)
				r.touch("/hub/a/d/" + test.touch)
				slices.Sort(ask.asked)
				got := strings.ReplaceAll(strings.Join(ask.asked, " "), "/hub/a/d/", "")
				if got != test.want {
					t.Errorf("Touch(%s) asks for %q, want %q", test.touch, got, test.want)
				}
			})
		})
	}
}

func TestCompanionsLargerThanTheSubtreeTakesAreLeft(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		list := listOf("a.zip", "a.zip.asc", "a.zip.sig")
		list.Complete = func(e *listing.Entry) {
			if e.Name == "a.zip.sig" {
				e.Size = 5000
			}
		}
		store := &shelfStore{lists: map[cache.Key]*listing.Listing{keyOf(t, "/hub/a/"): list}}
		ask := &asker{}
		sub := subtree(t, "/hub/a")
		sub.MaxFile = 1000
		r := play(t, root, Config{Store: store, Refresher: ask, Subtrees: []Subtree{sub}}, succeed)
		r.touch("/hub/a/a.zip")
		if got := strings.Join(ask.asked, " "); got != "/hub/a/a.zip.asc" {
			t.Errorf("asked for %q, want the small one alone", got)
		}
	})
}

func TestADirectoryWhoseListingDoesNotNameTheArchiveIsAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		dir := keyOf(t, "/hub/a/")
		store := &shelfStore{lists: map[cache.Key]*listing.Listing{dir: listOf("old.zip")}}
		ask := &asker{}
		ask.refresh = func(_ context.Context, a Ask) (Answer, error) {
			if a.Key == dir {
				store.mu.Lock()
				defer store.mu.Unlock()
				store.lists[dir] = listOf("new.zip", "new.zip.sig", "old.zip")
			}
			return Answer{Outcome: Stored}, nil
		}
		r := play(t, root, Config{Store: store, Refresher: ask}, succeed, "/hub/a")
		r.touch("/hub/a/new.zip")
		if got := strings.Join(ask.asked, " "); got != "/hub/a/ /hub/a/new.zip.sig" {
			t.Errorf("asked for %q, want the directory and then the signature that it lists now", got)
		}
		r.touch("/hub/a/unlisted.zip")
		r.touch("/hub/a/unlisted-2.zip")
		if n := len(ask.asked); n != 2 {
			t.Errorf("asked %d times after touches of what is not listed, want 2: %q", n, ask.asked)
		}
	})
}

func TestCompanionsAreLookedForAtMostEveryTenMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		store := &shelfStore{lists: map[cache.Key]*listing.Listing{keyOf(t, "/hub/a/"): listOf("a.zip", "a.zip.sig")}}
		ask := &asker{}
		r := play(t, root, Config{Store: store, Refresher: ask}, succeed, "/hub/a")
		r.keepTouching("/hub/a/a.zip", time.Second, 9*time.Minute)
		if n := len(ask.asked); n != 1 {
			t.Errorf("asked %d times in nine minutes, want once", n)
		}
		r.keepTouching("/hub/a/a.zip", time.Second, 2*time.Minute)
		if n := len(ask.asked); n != 2 {
			t.Errorf("asked %d times in eleven minutes, want twice", n)
		}
	})
}

func TestUnderLoadCompanionsAreDroppedAndLookedForAtTheNextTouch(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		var names []string
		for i := range 2 * mostLooks {
			names = append(names, fmt.Sprintf("%d.zip", i), fmt.Sprintf("%d.zip.sig", i))
		}
		store := &shelfStore{lists: map[cache.Key]*listing.Listing{keyOf(t, "/hub/a/"): listOf(names...)}}
		let := make(chan struct{})
		ask := &asker{refresh: func(context.Context, Ask) (Answer, error) {
			<-let
			return Answer{Outcome: Stored}, nil
		}}
		r := play(t, root, Config{Store: store, Refresher: ask}, succeed, "/hub/a")
		touchAll := func() {
			var all sync.WaitGroup
			for i := range 2 * mostLooks {
				all.Go(func() { r.Touch(keyOf(t, fmt.Sprintf("/hub/a/%d.zip", i))) })
			}
			all.Wait() // Touch waits for nothing, or this would not end
			synctest.Wait()
		}
		touchAll()
		close(let)
		synctest.Wait()
		if n := len(ask.asked); n < mostLooks || n > mostLooks+companionWorkers {
			t.Errorf("%d signatures asked for, want those of %d archives that could wait", n, mostLooks)
		}
		if ask.most > companionWorkers {
			t.Errorf("%d questions at a time, want at most %d", ask.most, companionWorkers)
		}
		touchAll()
		touchAll()
		seen := map[string]bool{}
		for _, path := range ask.asked {
			seen[path] = true
		}
		if len(seen) < 2*mostLooks*9/10 {
			t.Errorf("%d of %d signatures asked for in the end, want those that were dropped too", len(seen), 2*mostLooks)
		}
	})
}
