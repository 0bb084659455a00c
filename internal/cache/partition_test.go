package cache

import (
	"net/http"
	"strings"
	"testing"
)

func TestPartitionsAreApartAndLeadBackToTheirHub(t *testing.T) {
	plain, err := ParseKey("kernel", "/pub/a%2Fb", "x=1", true)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Key]string{plain: "nobody"}
	for _, subject := range []string{"token:abc", "token:abd", "user:abc", "jwt:abc"} {
		k := Partition(plain, subject)
		if other, ok := seen[k]; ok {
			t.Errorf("Partition(%s, %q) = %s, which is that of %s", plain, subject, k, other)
		}
		seen[k] = subject
		q, has := k.Query()
		if BaseHub(k.Hub()) != "kernel" || k.Path() != plain.Path() || q != "x=1" || !has || k.Under(plain) || plain.Under(k) {
			t.Errorf("Partition(%s, %q) = %s of hub %s, want all but the hub as it was", plain, subject, k, BaseHub(k.Hub()))
		}
		if again, err := ParseKey(k.Hub(), k.Path(), q, has); err != nil || again != k {
			t.Errorf("ParseKey of %s = %v, %v, want it back", k, again, err)
		}
		if k.URL().Host != "kernel" {
			t.Errorf("URL of %s is asked of hub %q, want kernel, for no other has upstreams", k, k.URL().Host)
		}
		if Partition(k, subject) != k || Partition(k, "") != plain {
			t.Errorf("partitions of %s are nested: %s, %s", k, Partition(k, subject), Partition(k, ""))
		}
	}
	if (Partition(Key{}, "token:abc") != Key{}) {
		t.Error("the zero Key has a partition")
	}
}

func TestBaseHub(t *testing.T) {
	for _, row := range []struct{ claim, name, want string }{
		{"a hub", "kernel", "kernel"},
		{"a partition", "kernel.as-0123456789abcdef", "kernel"},
		{"a hub with a like name", "a.as-x", "a.as-x"},
		{"too few digits", "a.as-0123456789abcde", "a.as-0123456789abcde"},
		{"too many", "a.as-0123456789abcdef0", "a.as-0123456789abcdef0"},
		{"capitals are no digits of ours", "a.as-0123456789ABCDEF", "a.as-0123456789ABCDEF"},
		{"no hub before the mark", ".as-0123456789abcdef", ".as-0123456789abcdef"},
		{"nothing", "", ""},
	} {
		if got := BaseHub(row.name); got != row.want {
			t.Errorf("%s: BaseHub(%q) = %q, want %q", row.claim, row.name, got, row.want)
		}
	}
}

func TestWhatIsHeldOfAPartitionIsHeldThereAlone(t *testing.T) {
	tree, err := OpenTree(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	plain, err := ParseKey("kernel", "/a", "", false)
	if err != nil {
		t.Fatal(err)
	}
	mine := Partition(plain, "token:me")
	d, err := tree.Create(mine, &Meta{Status: 200, Header: http.Header{}, Size: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	e, err := d.Commit(d.Meta())
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	for _, k := range []Key{plain, Partition(plain, "token:other")} {
		if e, err := tree.Open(k, http.Header{}); err == nil {
			e.Close()
			t.Errorf("Open(%s) found what is held of %s", k, mine)
		}
	}
	if e, err = tree.Open(mine, http.Header{}); err != nil {
		t.Fatalf("Open(%s) = %v, want what was stored", mine, err)
	}
	e.Close()
	tree.Partitions("gnu")
	if got := tree.Partitions("kernel"); len(got) != 1 || got[0] != mine.Hub() || !strings.HasPrefix(got[0], "kernel"+partitionMark) {
		t.Errorf("Partitions = %q, want %q alone", got, mine.Hub())
	}
	if plain.InHub(mine.Hub()) != mine || plain.InHub("gnu") != plain || mine.InHub("kernel") != plain {
		t.Error("InHub leads out of the hub, or not to its partition")
	}
}
