package cache

import (
	"fmt"
	"sync"
	"testing"
)

func TestAnOriginalThatIsListedWhileItComesStaysOne(t *testing.T) {
	tree, err := OpenTree(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	dir := hubKey(t, "/d/")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					tree.WithOriginals(dir, nil)
				}
			}
		})
	}
	const files = 40
	for i := range files {
		putOriginal(t, tree, fmt.Sprintf("/d/%d", i), "mine")
	}
	close(stop)
	readers.Wait()
	for i := range files {
		if key := hubKey(t, fmt.Sprintf("/d/%d", i)); !tree.IsOriginal(key) {
			t.Errorf("IsOriginal(%s) = false after it was put while its directory was listed, want true", key)
		}
	}
	if n, err := tree.Remove(hubKey(t, "/"), true); err != nil || n != 0 {
		t.Errorf("Remove(/, true) = %d, %v, want 0: a purge spares originals", n, err)
	}
}
