package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSubtreesAreReadInOneSpelling(t *testing.T) {
	for _, row := range []struct{ claim, text, want string }{
		{"as it should be", "/kernel/v6.x", "/kernel/v6.x"},
		{"without the slash it begins with", "kernel", "/kernel"},
		{"with a slash at its end", "/kernel/", "/kernel"},
		{"space around it", "  /kernel/ ", "/kernel"},
		{"nothing is everything", "", "/"},
		{"a slash is everything", "/", "/"},
		{"two slashes are no host", "//", "/"},
		{"at a host, in any case and with a port", "//Deb.Lab.:8080/pool/", "//deb.lab/pool"},
		{"a host alone", "//deb.lab", "//deb.lab"},
		{"an address for a host", "//[::1]:80/pool", "//[::1]/pool"},
		{"a space is escaped as clients do", "/pub/My Files", "/pub/My%20Files"},
		{"so are letters beyond ASCII", "/pub/ü", "/pub/%C3%BC"},
		{"an escape stays as it was written", "/pub/a%2fb%2B", "/pub/a%2fb%2B"},
		{"unless it need not be one", "/pub/%7Eme/a%2db", "/pub/~me/a-b"},
		{"plus and equals are themselves", "/pub/g++=", "/pub/g++="},
	} {
		got, err := parseSubtree(row.text)
		if err != nil || got.String() != row.want {
			t.Errorf("%s: parseSubtree(%q) = %s, %v, want %s", row.claim, row.text, got, err, row.want)
		}
	}
}

func TestSubtreesThatAreNoDirectoriesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"/a/../b":              `has ".." between two slashes`,
		"/a/%2e%2E/b":          `has ".." between two slashes`,
		"/a//b":                `has "" between two slashes`,
		"/a?x":                 "has a query or fragment",
		"/a/50%":               "write it as %25",
		"/a/%zz":               "write it as %25",
		"/a\x00":               "holds a control character",
		"/files/https/a.b/x":   "/files belongs to zcache itself",
		"/-/status":            "/- belongs to zcache itself",
		"/@2025-01-01/kernel":  "/@2025-01-01 belongs to zcache itself",
		"//no host/x":          `"no host" is no host name`,
		"//user@host.example/": "is no host name",
	} {
		if p, err := parseSubtree(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseSubtree(%q) = %s, %v, want an error that says %s", text, p, err, want)
		}
	}
}

// lab are hubs of every kind: at a mount, at two, at hosts alone, at both, and a tree of this machine.
func lab(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/tree", 0o755); err != nil {
		t.Fatal(err)
	}
	return `mode = "mirror"
[[hub]]
name = "kernel"
upstream = "https://kernel.example/pub"
[[hub]]
name = "v6"
path = "/kernel/v6.x"
upstream = "https://six.example/"
[[hub]]
name = "deb"
path = "/os/debian"
hosts = ["deb.lab", "debian.lab"]
upstream = "https://deb.example/debian"
[[hub]]
name = "apt"
hosts = ["apt.lab", "apt2.lab"]
upstream = "https://apt.example/"
[[hub]]
name = "here"
path = "/os/here"
upstream = "file://` + dir + `/tree"
`
}

const rootHub = "[[hub]]\nname = \"all\"\npath = \"/\"\nupstream = \"https://all.example/\"\n"

func TestSubtreesLieUnderHubs(t *testing.T) {
	lab := lab(t)
	for _, row := range []struct {
		claim, text string
		args        []string
		want        []Subtree
	}{
		{"a whole hub", lab, []string{"/os/debian"}, []Subtree{{"/os/debian", "deb", "/"}}},
		{"a directory of it", lab, []string{"/os/debian/pool/main/"}, []Subtree{{"/os/debian/pool/main", "deb", "/pool/main/"}}},
		{"the longest mount wins", lab, []string{"/kernel/v6.x/stable"}, []Subtree{{"/kernel/v6.x/stable", "v6", "/stable/"}}},
		{"on whole segments", lab, []string{"/kernel/v6.xy"}, []Subtree{{"/kernel/v6.xy", "kernel", "/v6.xy/"}}},
		{"at a host", lab, []string{"//APT.lab/pool"}, []Subtree{{"//apt.lab/pool", "apt", "/pool/"}}},
		{"at another host of the hub it is called by the first", lab, []string{"//apt2.lab/"}, []Subtree{{"//apt.lab", "apt", "/"}}},
		{"a hub with a mount is called by that", lab, []string{"//debian.lab/pool"}, []Subtree{{"/os/debian/pool", "deb", "/pool/"}}},
		{"above mounts it means the hubs there, not a tree of this machine", lab, []string{"/os"}, []Subtree{{"/os/debian", "deb", "/"}}},
		{"none means every hub", lab, nil, []Subtree{{"/kernel", "kernel", "/"}, {"/kernel/v6.x", "v6", "/"}, {"/os/debian", "deb", "/"}, {"//apt.lab", "apt", "/"}}},
		{"the root hub stands for all", lab + rootHub, nil, []Subtree{{"/", "all", "/"}}},
		{"a directory of the root hub", lab + rootHub, []string{"/os"}, []Subtree{{"/os", "all", "/os/"}}},
		{"twice is once", lab, []string{"/os/debian", "//deb.lab/", "/os"}, []Subtree{{"/os/debian", "deb", "/"}}},
		{"a hub's own are relative to it", lab + "[[hub]]\nname = \"gnu\"\nupstream = \"https://gnu.example\"\nmirror = [\"/\", \"gcc/gcc-15 rc\"]\n", nil,
			[]Subtree{{"/gnu", "gnu", "/"}, {"/gnu/gcc/gcc-15%20rc", "gnu", "/gcc/gcc-15%20rc/"}}},
		{"a hub's own at a host", lab + "[[hub]]\nname = \"gnu\"\nhosts = \"gnu.lab\"\nupstream = \"https://gnu.example\"\nmirror = \"gcc\"\n", []string{"/kernel"},
			[]Subtree{{"/kernel", "kernel", "/"}, {"//gnu.lab/gcc", "gnu", "/gcc/"}}},
		{"the built-in hubs are not mirrored unless named", "mode = \"mirror\"\n", nil, nil},
		{"and are when they are", "mode = \"mirror\"\n", []string{"/gnu/gcc"}, []Subtree{{"/gnu/gcc", "gnu", "/gcc/"}}},
		{"in no other mode", strings.Replace(lab, "mirror", "cache", 1), []string{"/os", "/nowhere"}, nil},
	} {
		t.Run(row.claim, func(t *testing.T) {
			var args []string
			if len(row.args) > 0 {
				args = []string{"--mirror-subtree", strings.Join(row.args, ",")}
			}
			c := mustLoad(t, row.text, args...)
			if diff := cmp.Diff(row.want, c.Mirror.Subtrees); diff != "" {
				t.Errorf("--mirror-subtree=%s (-want +got):\n%s", row.args, diff)
			}
		})
	}
}

func TestSubtreesThatCannotBeMirroredAreProblems(t *testing.T) {
	lab := lab(t)
	for _, row := range []struct{ claim, text, arg, want string }{
		{"under no hub", lab, "/nowhere", `mirror-subtree: /nowhere lies under no hub; name a directory of one (zcache check-config lists them)`},
		{"at a host of none", lab, "//other.lab/x", `mirror-subtree: //other.lab/x lies under no hub; name a directory of one (zcache check-config lists them)`},
		{"a tree of this machine", lab, "/os/here/x", `mirror-subtree: /os/here/x cannot be mirrored: its tree lies on this machine, and is served from there`},
		{"a hub's own that is one", strings.Replace(lab, "upstream = \"file", "mirror = \"/\"\nupstream = \"file", 1), "/kernel",
			`hub[here].mirror: / cannot be mirrored: its tree lies on this machine, and is served from there (zcache.toml:18)`},
		{"no share", lab + rootHub, "/ --mirror-max-purge=no", `mirror-max-purge: "no" is no percentage: write 0%, or one from 1% to 100%`},
		{"no count", lab, "/ --mirror-parallel=many", `mirror-parallel: "many" is no number from 0 to 256`},
		{"no duration, even a negative one", lab, "/ --mirror-min-interval=-soon", `mirror-min-interval: "-soon" is no duration; write one such as 30s, 10m, 24h, 7d or seconds`},
		{"no way to verify", lab, "/ --mirror-verify=never", `mirror-verify: "never" is not known; write listing or conditional`},
	} {
		t.Run(row.claim, func(t *testing.T) {
			_, err := load(t, row.text, strings.Fields("--mirror-subtree="+row.arg)...)
			if err == nil || err.Error() != row.want {
				t.Errorf("--mirror-subtree=%s\n got %v\nwant %s", row.arg, err, row.want)
			}
		})
	}
}

func TestSettingsThatDoNothingInAModeAreTold(t *testing.T) {
	text := "mirror-subtree = \"/k\"\nmirror-walks = 2\n[[hub]]\nname = \"k\"\nupstream = \"http://a.example\"\nmirror = \"/x\"\n"
	for mode, want := range map[string][]string{
		ModeMirror: nil,
		ModeCache:  {"mirror-subtree", "mirror-min-interval", "hub[k].mirror"},
		ModeProxy:  {"mirror-subtree", "mirror-min-interval", "mirror-walks", "hub[k].mirror"},
	} {
		c := mustLoad(t, text, "--mode", mode, "--mirror-min-interval=2h")
		if diff := cmp.Diff(want, c.Mirror.Idle); diff != "" {
			t.Errorf("idle in mode %s (-want +got):\n%s", mode, diff)
		}
	}
}

func TestMirrorSettingsHaveDefaults(t *testing.T) {
	def := Mirror{MinInterval: time.Hour, Parallel: 4, Walks: 4, MaxPurge: 0.2, Verify: MirrorListing}
	for _, row := range []struct {
		claim string
		args  []string
		want  Mirror
	}{
		{"when nothing is said", nil, def},
		{"when zero is", []string{"--mirror-min-interval=0", "--mirror-parallel=0", "--mirror-walks=0"}, def},
		{"when less than nothing is", []string{"--mirror-min-interval=-5m", "--mirror-parallel=-1", "--mirror-walks=-3"}, def},
		{"and take what is said", []string{"--mirror-min-interval=10m", "--mirror-parallel=8", "--mirror-walks=1", "--mirror-max-purge=0%", "--mirror-max-bytes=1GiB",
			"--mirror-verify=Conditional"}, Mirror{MinInterval: 10 * time.Minute, Parallel: 8, Walks: 1, MaxBytes: 1 << 30, Verify: MirrorConditional}},
	} {
		c := mustLoad(t, "", row.args...)
		c.Mirror.Idle = nil
		if diff := cmp.Diff(row.want, c.Mirror); diff != "" || c.TrashTTL != 24*time.Hour {
			t.Errorf("%s: trash for %s, mirror (-want +got):\n%s", row.claim, c.TrashTTL, diff)
		}
	}
	t.Setenv("ZCACHE_MODE", "mirror")
	t.Setenv("ZCACHE_MIRROR_SUBTREE", "/kernel/linux, gnu/")
	t.Setenv("ZCACHE_MIRROR_MIN_INTERVAL", "2h")
	t.Setenv("ZCACHE_TRASH_TTL", "0")
	c := mustLoad(t, "")
	want := []Subtree{{"/kernel/linux", "kernel", "/linux/"}, {"/gnu", "gnu", "/"}}
	if diff := cmp.Diff(want, c.Mirror.Subtrees); diff != "" || c.Mirror.MinInterval != 2*time.Hour || c.TrashTTL != 0 {
		t.Errorf("by variables: every %s, trash for %s, subtrees (-want +got):\n%s", c.Mirror.MinInterval, c.TrashTTL, diff)
	}
}

func TestMirrorKeysOfAHub(t *testing.T) {
	c := mustLoad(t, "[[hub]]\nname = \"k\"\nupstream = \"http://a.example\"\nmirror = [\"linux/\"]\nmirror-include = \"*.xz\"\nMirrorExclude = [\"old/\"]\n"+
		"mirror_max_file = \"4GiB\"\nmirror-max-requests = 5000\n")
	h := c.Hubs[0]
	if diff := cmp.Diff([]string{"/linux"}, h.Mirror); diff != "" || h.MirrorMaxFile != 4<<30 || h.MirrorMaxRequests != 5000 {
		t.Errorf("files up to %d, %d requests, mirror (-want +got):\n%s", h.MirrorMaxFile, h.MirrorMaxRequests, diff)
	}
	p := h.Policy()
	if p.Include[0] != "*.xz" || p.Exclude[0] != "old/" || p.MaxFile != 4<<30 || p.MaxRequests != 5000 {
		t.Errorf("policy %+v", p)
	}
}
