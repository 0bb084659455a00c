package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// A partition of a hub holds what its upstreams gave to one client in that client's own name, which is for nobody else. It is a hub to the store, by
// the hub's name, this mark and as many hex digits of the SHA-256 of who asks.
const (
	partitionMark   = ".as-"
	partitionDigits = 16
)

// Partition is key in the partition of its hub that belongs to subject; of nobody, "", it is the plain hub's.
func Partition(key Key, subject string) Key {
	key.hub = BaseHub(key.hub)
	if subject == "" || key.IsZero() {
		return key
	}
	sum := sha256.Sum256([]byte(subject))
	key.hub += partitionMark + hex.EncodeToString(sum[:partitionDigits/2])
	return key
}

// InHub is the key with the same path and query of another partition of its hub, or of the plain hub.
func (k Key) InHub(name string) Key {
	if !k.IsZero() && BaseHub(name) == BaseHub(k.hub) {
		k.hub = name
	}
	return k
}

// Partitions are the partitions of a hub of which something is held.
func (t *Tree) Partitions(hub string) (names []string) {
	err := t.root.ReadDir(".", func(name string, _ byte) bool {
		if name != hub && BaseHub(name) == hub {
			names = append(names, name)
		}
		return true
	})
	if err != nil {
		t.Logger.Warn("cannot tell the partitions of a hub", "hub", hub, "err", because(err))
	}
	return names
}

// BaseHub is the hub that a name, of a partition or not, belongs to: the one that has settings.
func BaseHub(name string) string {
	i := len(name) - partitionDigits - len(partitionMark)
	if i < 1 || name[i:i+len(partitionMark)] != partitionMark || strings.Trim(name[i+len(partitionMark):], "0123456789abcdef") != "" {
		return name
	}
	return name[:i]
}
