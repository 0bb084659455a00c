package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// The values of settings that are words.
const (
	ModeProxy  = "proxy" // store nothing
	ModeCache  = "cache"
	ModeMirror = "mirror" // cache, and keep subtrees current

	OnMissStream   = "stream"   // to the client while it fills
	OnMissRedirect = "redirect" // 302 to the upstream, fill behind
	OnMissWait     = "wait"     // answer once the entry is whole

	DurabilityDefault = "default" // the newest entries may be lost at power loss, none is torn
	DurabilityFull    = "full"    // fsync before every rename

	ValidationETag         = "etag"
	ValidationLastModified = "last-modified"
	ValidationNever        = "never"

	RedirectsFollow = "follow"
	RedirectsPass   = "pass"

	VerifyBefore = "before"
	VerifyTail   = "tail"
	VerifyAfter  = "after"

	MirrorListing     = "listing"     // ask about what its listing leaves open
	MirrorConditional = "conditional" // ask about every file

	ModuleLegacy = "legacy"

	RolloutLegacyOnly = "legacy-only"
	RolloutDual       = "dual"
	RolloutModular    = "modular"

	LogJSON = "json"
	LogText = "text"
)

// A Config is everything that one zcache process was told, validated and complete.
type Config struct {
	File string // the config file that was read; empty when there was none

	Listen       []string // HOST:PORT, HOST may be empty
	AdminListen  string   // HOST:PORT of the listener for operations alone; empty = none
	PublicURL    *url.URL // how clients name this instance; nil when not given
	TrustedProxy []netip.Prefix

	Root       string
	NoInit     bool
	Durability string
	Mode       string
	Offline    bool

	CacheMaxSize int64   // bytes; 0 = no limit
	DiskHigh     float64 // share of the file system in use, 0 to 1, above which trimming starts
	DiskLow      float64 // and at which it ends; always below DiskHigh

	Proxy            bool           // forward proxy, tunnels and URL forms
	ProxyAllowClient []netip.Prefix // who may use them beyond loopback and private networks
	ProxyAllowHost   []string       // what absolute URLs may lead to although it is not public
	// InterceptCA signs for hosts whose TLS ends here; nil = no TLS does. Whether it is fit for that is judged where it is used.
	InterceptCA *tls.Certificate

	AuthFile  string // who may ask for what; empty = there is none. It is judged where it is used, and watched apart from Files
	Anonymous string // AnonymousRead or AnonymousNone

	Client            Limits         // each client, over all hubs
	Clients           []ClientLimits // instead of Client
	RateExempt        []netip.Prefix // clients without credentials that are not counted
	Egress            int64          // bytes a second to all clients; 0 = no limit
	MaxConns          int            // open connections; 0 = no limit
	MaxConnsPerClient int            // of each address; 0 = no limit
	Media             string         // ActionAllow or ActionDeny: of music and video through the forward proxy
	Rules             []Rule         // the first that is met decides; before those of Media

	Notify     []Secret // URLs of who is told what needs a person; they may hold passwords
	ReadyHooks []Secret // URLs of what is told that the instance is ready no more, or again

	Mirror   Mirror
	TrashTTL time.Duration // how long what a walk removed can be restored; 0 = not at all

	LogFormat string
	LogLevel  string // debug, info, warn or error

	Hubs     []Hub // in the order they were written
	FilesHub Hub   // the built-in one, of URLs that are under no other's upstream: no Mount, no Upstreams

	onMiss       string // what hubs take unless they say otherwise
	heuristicMax time.Duration
	listingTTL   time.Duration
	mirror       []place // that --mirror-subtree names
	files        []string
}

// Files are the files whose change asks for a reload: the config file, and the credentials and certificates that were read while
// loading.
func (c Config) Files() []string { return c.files }

// A Hub is a named binding of a place that clients ask for to upstream URLs that carry the same tree, with the effective value
// of every policy.
type Hub struct {
	Name      string
	Mount     string     // "/kernel", "/" or, when only Hosts lead here, ""
	Hosts     []string   // lower case, without port and trailing dot
	Upstreams []*url.URL // http, https, ftp, ftps (FTP with explicit TLS), or file with an absolute, clean Path
	Builtin   bool       // configured because nothing else was

	Module  string // the key of the module, aliases resolved
	Rollout string

	TTL          *time.Duration // lifetime where the origin gives none; nil = judge by age
	NegativeTTL  time.Duration  // of 404 and 410 without a lifetime of their own; 0 keeps none
	HeuristicMax time.Duration
	ListingTTL   time.Duration // how long a directory's listing is reused; 0 = never without asking
	Validation   string        // ValidationETag, ValidationLastModified, ValidationNever; empty = both validators
	Immutable    []string
	Index        []string
	Bypass       []string
	StaleAlways  bool
	Redirects    string
	OnMiss       string
	Active       bool // active types keep their scripts
	Verify       string
	Retries      int

	Identity string // as whom it asks: IdentityOwn, IdentityPass or IdentityNone
	Writable bool   // clients may put files into it
	Limits   Limits // all of its clients together
	Each     Limits // each client, for what it asks of this hub
	Trips    Trips

	Mirror            []string // directories to keep current, escaped, relative to the hub
	MirrorInclude     []string
	MirrorExclude     []string
	MirrorMaxFile     int64 // bytes; a larger file is left to clients; 0 = any size
	MirrorMaxRequests int64 // upstream requests of one walk; 0 = no bound

	Username   string // empty when there is no Basic credential
	Password   Secret
	Bearer     Secret // or BearerFile; Token reads either
	BearerFile string
	// Realms are hosts that may be given Username and Password for a token, beyond those of the upstream's own site.
	Realms []string

	Proxy        *url.URL // the proxy on the way out; nil = none
	RootCAs      *x509.CertPool
	Certificates []tls.Certificate
}

// Local says whether every upstream of the hub is a directory of this machine.
func (h *Hub) Local() bool {
	return len(h.Upstreams) > 0 && !slices.ContainsFunc(h.Upstreams, func(u *url.URL) bool { return u.Scheme != "file" })
}

// Generic says whether the hub is handled as any tree of files, by no ecosystem's module.
func (h *Hub) Generic() bool { return h.Module == ModuleLegacy || h.Rollout == RolloutLegacyOnly }

// HasToken says whether Token will give a bearer token.
func (h *Hub) HasToken() bool { return h.Bearer != "" || h.BearerFile != "" }

// Token is the bearer token toward the upstream. A token file is read at every call, so that a rotated token is in force at
// once.
func (h *Hub) Token() (string, error) {
	if h.BearerFile == "" {
		return string(h.Bearer), nil
	}
	return readToken(h.BearerFile)
}

func readToken(path string) (string, error) {
	data, err := readSmall(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("read token: %s is empty", path)
	}
	if !printable(token) || strings.Contains(token, " ") {
		return "", fmt.Errorf("read token: %s holds more than one token on one line", path)
	}
	return token, nil
}

// printable guards what becomes part of a header field: a line break in a password would add fields of its own.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}

// readSmall reads a file of credentials, certificates or settings; one that is larger was named by mistake.
func readSmall(path string) ([]byte, error) { return readUpTo(path, maxFile) }

func readUpTo(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return os.ReadFile(path)
}

const maxFile = 4 << 20

// A Secret is a password or token. However it is printed, logged or encoded, it shows only that there is one; a conversion to string
// is the one way to its text.
type Secret string

const shown = "(secret)"

func (s Secret) text() string {
	if s == "" {
		return ""
	}
	return shown
}

// String hides the secret.
func (s Secret) String() string { return s.text() }

// Format hides the secret under every verb, wrong ones included.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.text()) }

// MarshalText hides the secret in JSON and in logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.text()), nil }
