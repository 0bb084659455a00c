package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/dustin/go-humanize"
)

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

// parseWord accepts one of words, in any case.
func parseWord(s string, words ...string) (string, error) {
	if w := strings.ToLower(s); slices.Contains(words, w) {
		return w, nil
	}
	return "", fmt.Errorf("%q is not known; write %s", s, orList(words))
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// parseDuration accepts 30s, 1h30m, 7d, plain seconds and hex seconds (0x1e).
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration; write one such as 30s, 10m, 24h, 7d or seconds", s)
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return seconds(n, bad)
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 63)
		if err != nil {
			return 0, bad
		}
		return seconds(n, bad)
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil {
			return 0, bad
		}
		return seconds(n*24*60*60, bad)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, bad
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative; write 0 or more", s)
	}
	return d, nil
}

func seconds(n uint64, tooLong error) (time.Duration, error) {
	if n > math.MaxInt64/uint64(time.Second) {
		return 0, tooLong
	}
	return time.Duration(n) * time.Second, nil
}

// parseSize accepts 10GiB, 500MB, 1.5T and plain bytes.
func parseSize(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size; write one such as 500MB, 10GiB or 0 for no limit", s)
	}
	return int64(n), nil
}

// parsePercent accepts 80% and 80, as a share between 0 and 1.
func parsePercent(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "%")), 64)
	if err != nil || math.IsNaN(n) || n < 1 || n > 100 {
		return 0, fmt.Errorf("%q is no percentage from 1%% to 100%%", s)
	}
	return n / 100, nil
}

// parseShare is parsePercent with 0% allowed.
func parseShare(s string) (float64, error) {
	if n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "%")), 64); err == nil && n == 0 {
		return 0, nil
	}
	share, err := parsePercent(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no percentage: write 0%%, or one from 1%% to 100%%", s)
	}
	return share, nil
}

// parseParallel accepts how many of something may be under way at a time.
func parseParallel(s string) (int, error) { return parseCount(s, 256) }

// orDefault is parse for settings of which nothing, or less, means that the default holds.
func orDefault[T int | time.Duration](parse func(string) (T, error), def T) func(string) (T, error) {
	return func(s string) (T, error) {
		below, negative := strings.CutPrefix(s, "-")
		t, err := parse(below)
		if err != nil && negative {
			_, err = parse(s) // whose words name what was written
		}
		if err != nil {
			return 0, err
		}
		if negative || t == 0 {
			return def, nil
		}
		return t, nil
	}
}

// parseCount accepts a whole number up to limit.
func parseCount(s string, limit int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > limit {
		return 0, fmt.Errorf("%q is no number from 0 to %d", s, limit)
	}
	return n, nil
}

// parseListen accepts HOST:PORT, :PORT and a bare PORT.
func parseListen(s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is no address; write one such as :3142, 127.0.0.1:3142 or [::1]:3142", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535", s)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	if host != "" && !isHost(host) {
		return "", fmt.Errorf("%q names no host; write one such as :3142 or 127.0.0.1:3142", s)
	}
	return net.JoinHostPort(host, port), nil
}

// parsePrefix accepts a CIDR or one address.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR; write one such as 10.0.0.0/8 or one address", s)
	}
	// A mapped prefix would never match: peers are compared in their IPv4 form.
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is wider than the mapped IPv4 addresses; write the IPv4 CIDR", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its mask; write %s", s, p.Masked())
	}
	return p, nil
}

// parseAllowHost accepts HOST, GLOB or CIDR, each with an optional :port.
func parseAllowHost(s string) (string, error) {
	if _, err := parsePrefix(s); err == nil {
		return s, nil
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil && !strings.Contains(s, "://") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("%q has no port from 1 to 65535", s)
		}
		host = h
	}
	if _, err := parsePrefix(host); err == nil {
		return s, nil
	}
	if strings.Contains(host, "/") {
		return "", fmt.Errorf("%q is no host, glob or CIDR; write one such as mirror.example, *.example or 10.1.0.0/16", s)
	}
	if !isHost(strings.NewReplacer("*", "x", "?", "x").Replace(host)) {
		return "", fmt.Errorf("%q is no host, glob or CIDR; write one such as mirror.example, *.example or 10.1.0.0/16", s)
	}
	return strings.ToLower(s), nil
}

// isHost says whether s is an IP address or a name that may stand in a Host field. Underscores are no letters of host names, but
// container networks use them.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+"-_") != "" {
			return false
		}
	}
	return true
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// parseHost accepts a host as hubs are bound to, and gives it the form in which it is compared.
func parseHost(s string) (string, error) {
	host := strings.ToLower(strings.TrimSuffix(strings.Trim(s, "[]"), "."))
	if !isHost(host) {
		return "", fmt.Errorf("%q is no host name; write it without scheme, port and path", s)
	}
	return host, nil
}

// parseUpstream accepts the URL of a tree. No message repeats the URL: it may hold a password.
func parseUpstream(s string) (*url.URL, error) {
	if isFileURL(s) {
		return parseTree(s)
	}
	u, err := parseURL(s, "file", "ftp", "ftps", "http", "https")
	if err != nil {
		return nil, err
	}
	if u.User != nil {
		return nil, errors.New("the URL holds a user name or password; write user and password keys in [[hub]] instead")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("%s has a query or fragment; name a directory, which ends at its path", u.Redacted())
	}
	for seg := range strings.SplitSeq(u.Path, "/") {
		if seg == "." || seg == ".." {
			return nil, fmt.Errorf("%s has %q in its path; write the path plainly", u, seg)
		}
	}
	return u, nil
}

// parseURL accepts an absolute URL of one of the schemes.
func parseURL(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("it cannot be read as a URL; write one such as %s://host.example/path", schemes[len(schemes)-1])
	}
	scheme := strings.ToLower(u.Scheme)
	switch {
	case slices.Contains(schemes, scheme) && u.Opaque == "" && isHost(strings.TrimSuffix(u.Hostname(), ".")):
	case u.Scheme == "" || u.Host == "":
		return nil, fmt.Errorf("%q has no scheme and host; write it whole, such as %s://host.example/path", plain(s), schemes[len(schemes)-1])
	case !slices.Contains(schemes, scheme):
		return nil, fmt.Errorf("scheme %q is not spoken here; write a URL of %s", scheme, orList(schemes))
	default:
		return nil, fmt.Errorf("%q is no host name", u.Hostname())
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no port from 1 to 65535", port)
		}
	}
	u.Scheme, u.Host = scheme, strings.ToLower(u.Host)
	return u, nil
}

// plain is s as far as it may be shown: what stands before an @ may be a password.
func plain(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

// parseMount accepts where a hub is mounted: "/" or "/a/b", of plain segments.
func parseMount(s string) (string, error) {
	mount := "/" + strings.Trim(s, "/")
	if mount == "/" {
		return mount, nil
	}
	first, _, _ := strings.Cut(mount[1:], "/")
	switch {
	case first == "-", first == "files", first == "download", strings.HasPrefix(first, "@"):
		return "", fmt.Errorf("/%s belongs to zcache itself; choose another path", first)
	case path.Clean(mount) != mount, strings.Trim(mount, letters+"/._-~+@:,=") != "":
		return "", fmt.Errorf("%q is no plain path; write one such as /kernel", s)
	}
	return mount, nil
}

// parseGlobs accepts path patterns.
func parseGlobs(values []string) ([]string, error) {
	for _, v := range values {
		if v == "" || !doublestar.ValidatePattern(v) {
			return nil, fmt.Errorf("%q is no path pattern; write one such as *.tar.xz or /pool/**", v)
		}
	}
	return values, nil
}

// each parses every value and stops at the first that is wrong.
func each[T any](values []string, parse func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(values))
	for _, v := range values {
		t, err := parse(v)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
