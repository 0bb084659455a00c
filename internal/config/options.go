package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"
)

type kind int

const (
	scalar kind = iota
	list        // repeatable, comma-separated in one flag or variable
	urls        // likewise, of URLs that may hold commas
	boolean
)

// An option is one setting of the process: a flag, a variable and a key of the file by the same name.
type option struct {
	name  string
	kind  kind
	def   string // in the notation of the flag
	arg   string // what the help calls the value
	usage string
	also  string // a name it had in files that people bring along
	set   func(c *Config, v value) error
}

// A value is what one setting was given, and by whom.
type value struct {
	texts []string // one or, for lists, more
	place string   // for messages; empty for flags and defaults
	dir   string   // where relative file names start; empty means the working directory
}

// text is the value of a scalar: the last one given counts.
func (v value) text() string { return v.texts[len(v.texts)-1] }

// file is the value as a file name. A name written in a config file is relative to that file.
func (v value) file() string {
	name := v.text()
	if v.dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(v.dir, name)
}

// assign makes a setter of a parser and a destination.
func assign[T any](parse func(string) (T, error), dst func(*Config) *T) func(*Config, value) error {
	return func(c *Config, v value) error {
		t, err := parse(v.text())
		if err == nil {
			*dst(c) = t
		}
		return err
	}
}

func assignAll[T any](parse func(string) (T, error), dst func(*Config) *[]T) func(*Config, value) error {
	return func(c *Config, v value) error {
		t, err := each(v.texts, parse)
		if err == nil {
			*dst(c) = t
		}
		return err
	}
}

func word(words ...string) func(string) (string, error) {
	return func(s string) (string, error) { return parseWord(s, words...) }
}

// options are all settings but config and upstream, which Load reads itself.
var options = []option{
	{name: "listen", kind: list, def: ":3142", arg: "ADDR", also: "ListenPort",
		usage: "address to listen on, HOST:PORT or :PORT; repeatable",
		set:   assignAll(parseListen, func(c *Config) *[]string { return &c.Listen })},
	{name: "admin-listen", arg: "ADDR", usage: "extra address that serves only /-/ and pprof",
		set: assign(parseListen, func(c *Config) *string { return &c.AdminListen })},
	{name: "public-url", arg: "URL", usage: "how clients name this instance, behind a proxy or load balancer",
		set: assign(parsePublicURL, func(c *Config) **url.URL { return &c.PublicURL })},
	{name: "trusted-proxy", kind: list, arg: "CIDR", usage: "peers whose Forwarded and X-Forwarded-For are believed; repeatable",
		set: assignAll(parsePrefix, func(c *Config) *[]netip.Prefix { return &c.TrustedProxy })},
	{name: "root", def: "./zcache-data", arg: "DIR", also: "StoragePath", usage: "directory of the stored tree",
		set: func(c *Config, v value) error { c.Root = v.file(); return nil }},
	{name: "no-init", kind: boolean, def: "false", usage: "refuse a root that was never initialised (an unmounted disk)",
		set: assign(parseBool, func(c *Config) *bool { return &c.NoInit })},
	{name: "durability", def: DurabilityDefault, arg: "WORD", usage: "default, or full to fsync before every rename",
		set: assign(word(DurabilityDefault, DurabilityFull), func(c *Config) *string { return &c.Durability })},
	{name: "mode", def: ModeCache, arg: "MODE", usage: "cache, mirror to also keep subtrees current, or proxy to store nothing",
		set: assign(parseMode, func(c *Config) *string { return &c.Mode })},
	{name: "offline", kind: boolean, def: "false", usage: "never ask an upstream; answer from what is held",
		set: assign(parseBool, func(c *Config) *bool { return &c.Offline })},
	{name: "on-miss", def: OnMissStream, arg: "WORD", usage: "stream, redirect or wait, for hubs that do not say",
		set: assign(parseOnMiss, func(c *Config) *string { return &c.onMiss })},
	{name: "listing-ttl", def: "1m", arg: "DURATION", usage: "how long a directory's listing is reused before its upstream is asked again",
		set: assign(parseDuration, func(c *Config) *time.Duration { return &c.listingTTL })},
	{name: "heuristic-max", def: "24h", arg: "DURATION", usage: "longest lifetime judged by age, where the origin gives none",
		set: assign(parseDuration, func(c *Config) *time.Duration { return &c.heuristicMax })},
	{name: "mirror-subtree", kind: list, arg: "PATH", usage: "directory to keep current in mirror mode, such as /kernel/linux or //host/path; else all hubs that are configured; repeatable",
		set: assignAll(parseSubtree, func(c *Config) *[]place { return &c.mirror })},
	{name: "mirror-min-interval", def: "1h", arg: "DURATION", usage: "after a walk that succeeded, until a touch starts another",
		set: assign(orDefault(parseDuration, time.Hour), func(c *Config) *time.Duration { return &c.Mirror.MinInterval })},
	{name: "mirror-parallel", def: "4", arg: "N", usage: "requests of one walk at a time",
		set: assign(orDefault(parseParallel, 4), func(c *Config) *int { return &c.Mirror.Parallel })},
	{name: "mirror-walks", def: "4", arg: "N", usage: "walks at a time",
		set: assign(orDefault(parseParallel, 4), func(c *Config) *int { return &c.Mirror.Walks })},
	{name: "mirror-max-purge", def: "20%", arg: "PERCENT", usage: "share of the held files that a walk may remove without being confirmed; ten it always may",
		set: assign(parseShare, func(c *Config) *float64 { return &c.Mirror.MaxPurge })},
	{name: "mirror-max-bytes", def: "0", arg: "SIZE", usage: "stop a walk whose listings promise more; 0 = what is held and a tenth of the free space",
		set: assign(parseSize, func(c *Config) *int64 { return &c.Mirror.MaxBytes })},
	{name: "mirror-verify", def: MirrorListing, arg: "WORD", usage: "listing, or conditional to ask about every file",
		set: assign(word(MirrorListing, MirrorConditional), func(c *Config) *string { return &c.Mirror.Verify })},
	{name: "trash-ttl", def: "24h", arg: "DURATION", usage: "how long what a walk removed can be restored; 0 = not at all",
		set: assign(parseDuration, func(c *Config) *time.Duration { return &c.TrashTTL })},
	{name: "cache-max-size", def: "0", arg: "SIZE", usage: "trim the oldest used above this size, such as 500GB; 0 = no limit",
		set: assign(parseSize, func(c *Config) *int64 { return &c.CacheMaxSize })},
	{name: "disk-high", def: "80%", arg: "PERCENT", usage: "trim when the file system is fuller than this",
		set: assign(parsePercent, func(c *Config) *float64 { return &c.DiskHigh })},
	{name: "disk-low", def: "75%", arg: "PERCENT", usage: "and until it is down to this",
		set: assign(parsePercent, func(c *Config) *float64 { return &c.DiskLow })},
	{name: "proxy", def: "on", arg: "on|off", usage: "be a forward proxy, with CONNECT, and take whole URLs under /files/ and /download/",
		set: assign(parseSwitch, func(c *Config) *bool { return &c.Proxy })},
	{name: "proxy-allow-client", kind: list, arg: "CIDR", usage: "who may use that beyond loopback and private networks; repeatable",
		set: assignAll(parsePrefix, func(c *Config) *[]netip.Prefix { return &c.ProxyAllowClient })},
	{name: "proxy-allow-host", kind: list, arg: "HOST", usage: "HOST, GLOB or CIDR[:PORT] that clients and redirects may reach although not public; HOST:PORT also opens the port to tunnels; repeatable",
		set: assignAll(parseAllowHost, func(c *Config) *[]string { return &c.ProxyAllowHost })},
	{name: "intercept-ca", arg: "FILE", usage: "certificate authority (zcache ca create) by which https to the hosts it is limited to is cached",
		set: setInterceptCA},
	{name: "auth-file", arg: "FILE", usage: "who may ask for what (zcache token create); without one everybody may read, and operate from this machine",
		set: func(c *Config, v value) error { c.AuthFile = v.file(); return nil }},
	{name: "anonymous", def: AnonymousRead, arg: "WORD", usage: "what clients without credentials may do: read, or none",
		set: assign(word(AnonymousRead, AnonymousNone), func(c *Config) *string { return &c.Anonymous })},
	{name: "rate", arg: "N[/s|/m][:BURST]", usage: "requests of each client (token, else address); beyond, 429",
		set: assign(parseRate, func(c *Config) *Rate { return &c.Client.Rate })},
	{name: "max-downloads-per-client", def: "0", arg: "N", usage: "requests of each client at a time; 0 = no limit",
		set: assign(parseAnyCount, func(c *Config) *int { return &c.Client.Requests })},
	{name: "client-bandwidth", def: "0", arg: "SIZE", usage: "bytes a second to each client, such as 20MB/s; 0 = no limit",
		set: assign(parseBytesPerSecond, func(c *Config) *int64 { return &c.Client.Bandwidth })},
	{name: "client-daily", def: "0", arg: "SIZE", usage: "bytes a day (UTC) to each client; 0 = no limit",
		set: assign(parseSize, func(c *Config) *int64 { return &c.Client.Daily })},
	{name: "max-misses", def: "0", arg: "N", usage: "answers 404 and 410 a minute to each client, before it is refused for a while; 0 = no limit",
		set: assign(parsePerMinute, func(c *Config) *int { return &c.Client.Misses })},
	{name: "rate-exempt", kind: list, arg: "CIDR", usage: "addresses whose clients these limits do not count; repeatable",
		set: assignAll(parsePrefix, func(c *Config) *[]netip.Prefix { return &c.RateExempt })},
	{name: "egress", def: "0", arg: "SIZE", usage: "bytes a second to all clients together, shared fairly, such as 1GB/s; 0 = no limit",
		set: assign(parseBytesPerSecond, func(c *Config) *int64 { return &c.Egress })},
	{name: "max-conns-per-client", def: "0", arg: "N", usage: "open connections of each address; 0 = no limit",
		set: assign(parseAnyCount, func(c *Config) *int { return &c.MaxConnsPerClient })},
	{name: "max-conns", def: "0", arg: "N", usage: "open connections of all clients; 0 = no limit",
		set: assign(parseAnyCount, func(c *Config) *int { return &c.MaxConns })},
	{name: "media", def: ActionDeny, arg: "WORD", usage: "music and video through the forward proxy: deny, or allow",
		set: assign(word(ActionDeny, ActionAllow), func(c *Config) *string { return &c.Media })},
	{name: "notify", kind: urls, arg: "URL", usage: "who is told what needs a person: https://, smtp:// or exec:/// URL; repeatable",
		set: assignAll(parseSecret, func(c *Config) *[]Secret { return &c.Notify })},
	{name: "ready-hook", kind: urls, arg: "URL", usage: "what takes this instance out of the rotation when readyz is red, and puts it back: exec:/// or https:// URL; repeatable",
		set: assignAll(parseSecret, func(c *Config) *[]Secret { return &c.ReadyHooks })},
	{name: "log-format", def: LogJSON, arg: "WORD", usage: "json or text",
		set: assign(parseLogFormat, func(c *Config) *string { return &c.LogFormat })},
	{name: "log-level", def: "info", arg: "WORD", usage: "debug, info, warn or error",
		set: assign(word("debug", "info", "warn", "error"), func(c *Config) *string { return &c.LogLevel })},
	{name: "upstream", kind: list, arg: "[NAME=]URL", usage: "tree to cache, mounted at /NAME/ or, without NAME, at /; repeatable",
		set: func(*Config, value) error { return nil }},
}

// later are settings that the contract names and this version does not have: they are refused with the reason, since a setting that is
// taken and does nothing is worse than one that is refused.
var later = []string{
	"keep-versions", "tls-cert", "tls-key", "s3-endpoint", "s3-bucket", "s3-hit", "valkey",
}

// Later says whether the setting is known, but of a later version.
func Later(name string) bool {
	for _, l := range later {
		if fold(l) == fold(name) {
			return true
		}
	}
	return false
}

// parseSwitch is parseBool for what is written as on and off.
func parseSwitch(s string) (bool, error) {
	on, err := parseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q is not known; write on or off", s)
	}
	return on, nil
}

func parseMode(s string) (string, error) {
	return parseWord(s, ModeProxy, ModeCache, ModeMirror)
}

func parseOnMiss(s string) (string, error) {
	return parseWord(s, OnMissStream, OnMissRedirect, OnMissWait)
}

func parseLogFormat(s string) (string, error) {
	if s == "combined" {
		return "", errors.New("combined comes with a later version; write json or text")
	}
	return parseWord(s, LogJSON, LogText)
}

// parseSecret accepts what is judged where it is used, since only there it is known what it means.
func parseSecret(s string) (Secret, error) { return Secret(s), nil }

func parsePublicURL(s string) (*url.URL, error) {
	u, err := parseURL(s, "http", "https")
	if err != nil {
		return nil, err
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return nil, errors.New("it is more than scheme, host and port; write one such as https://cache.example")
	}
	u.Path = ""
	return u, nil
}
