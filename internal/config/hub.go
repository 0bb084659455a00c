package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A hubBuilder is a hub that is being read, with what only counts until it is whole.
type hubBuilder struct {
	hub       Hub
	files     []string
	ways      []string // the keys that gave credentials
	user      bool
	password  bool
	cert, key string
	queue     bool // upstream-queue was given
}

func assignHub[T any](parse func(string) (T, error), dst func(*Hub) *T) func(*hubBuilder, value) error {
	return func(b *hubBuilder, v value) error {
		t, err := parse(v.text())
		if err == nil {
			*dst(&b.hub) = t
		}
		return err
	}
}

func globsOf(dst func(*Hub) *[]string) func(*hubBuilder, value) error {
	return func(b *hubBuilder, v value) error {
		globs, err := parseGlobs(v.texts)
		*dst(&b.hub) = globs
		return err
	}
}

// hubKeys are the keys of a [[hub]] table, with the names they had in files that people bring along.
var hubKeys = slices.Concat(mainHubKeys, accessKeys, limitKeys("", func(b *hubBuilder) *Limits { return &b.hub.Limits }),
	limitKeys("client-", func(b *hubBuilder) *Limits { return &b.hub.Each }))

var mainHubKeys = []tableKey[hubBuilder]{
	{name: "name", set: assignHub(parseName, func(h *Hub) *string { return &h.Name })},
	{name: "path", also: []string{"mount"}, set: assignHub(parseMount, func(h *Hub) *string { return &h.Mount })},
	{name: "hosts", list: true, also: []string{"host", "domain"}, set: func(b *hubBuilder, v value) (err error) {
		b.hub.Hosts, err = each(v.texts, parseHost)
		return err
	}},
	{name: "upstream", list: true, also: []string{"upstreams"}, set: func(b *hubBuilder, v value) (err error) {
		b.hub.Upstreams, err = each(v.texts, parseUpstream)
		return err
	}},
	{name: "module", also: []string{"type"}, set: assignHub(parseModule, func(h *Hub) *string { return &h.Module })},
	{name: "rollout", set: assignHub(word(RolloutLegacyOnly, RolloutDual, RolloutModular), func(h *Hub) *string { return &h.Rollout })},
	{name: "ttl", also: []string{"cache-ttl"}, set: func(b *hubBuilder, v value) error {
		d, err := parseDuration(v.text())
		b.hub.TTL = &d
		return err
	}},
	{name: "negative-ttl", set: assignHub(parseDuration, func(h *Hub) *time.Duration { return &h.NegativeTTL })},
	{name: "heuristic-max", set: assignHub(parseDuration, func(h *Hub) *time.Duration { return &h.HeuristicMax })},
	{name: "listing-ttl", set: assignHub(parseDuration, func(h *Hub) *time.Duration { return &h.ListingTTL })},
	{name: "validation", also: []string{"validation-mode"}, set: assignHub(word(ValidationETag, ValidationLastModified, ValidationNever),
		func(h *Hub) *string { return &h.Validation })},
	{name: "immutable", list: true, set: globsOf(func(h *Hub) *[]string { return &h.Immutable })},
	{name: "index", list: true, set: globsOf(func(h *Hub) *[]string { return &h.Index })},
	{name: "bypass", list: true, set: globsOf(func(h *Hub) *[]string { return &h.Bypass })},
	{name: "stale", set: func(b *hubBuilder, v value) error {
		_, err := parseWord(v.text(), "always")
		b.hub.StaleAlways = err == nil
		return err
	}},
	{name: "redirects", set: assignHub(word(RedirectsFollow, RedirectsPass), func(h *Hub) *string { return &h.Redirects })},
	{name: "on-miss", set: assignHub(parseOnMiss, func(h *Hub) *string { return &h.OnMiss })},
	{name: "active", set: assignHub(parseBool, func(h *Hub) *bool { return &h.Active })},
	{name: "verify", set: assignHub(word(VerifyBefore, VerifyTail, VerifyAfter), func(h *Hub) *string { return &h.Verify })},
	{name: "retries", also: []string{"max-retries"}, set: func(b *hubBuilder, v value) (err error) {
		b.hub.Retries, err = parseCount(v.text(), 20)
		return err
	}},
	{name: "mirror", list: true, set: func(b *hubBuilder, v value) (err error) {
		b.hub.Mirror, err = each(v.texts, parseHubDir)
		return err
	}},
	{name: "mirror-include", list: true, set: globsOf(func(h *Hub) *[]string { return &h.MirrorInclude })},
	{name: "mirror-exclude", list: true, set: globsOf(func(h *Hub) *[]string { return &h.MirrorExclude })},
	{name: "mirror-max-file", set: assignHub(parseSize, func(h *Hub) *int64 { return &h.MirrorMaxFile })},
	{name: "mirror-max-requests", set: func(b *hubBuilder, v value) error {
		n, err := parseCount(v.text(), math.MaxInt32)
		b.hub.MirrorMaxRequests = int64(n)
		return err
	}},
	{name: "user", also: []string{"username"}, set: func(b *hubBuilder, v value) error {
		b.user, b.hub.Username = true, v.text()
		return checkUser(v.text())
	}},
	{name: "password", set: func(b *hubBuilder, v value) error {
		b.password, b.hub.Password = true, Secret(v.text())
		return checkSecret(v.text())
	}},
	{name: "basic", set: func(b *hubBuilder, v value) error { return b.basic("basic", v.text()) }},
	{name: "basic-file", set: func(b *hubBuilder, v value) error {
		data, err := readSmall(v.file())
		if err != nil {
			return fileProblem(v.file(), err)
		}
		b.files = append(b.files, v.file())
		return b.basic("basic-file", strings.TrimSpace(string(data)))
	}},
	{name: "bearer", set: func(b *hubBuilder, v value) error {
		b.ways = append(b.ways, "bearer")
		b.hub.Bearer = Secret(v.text())
		return checkSecret(v.text())
	}},
	{name: "bearer-file", set: func(b *hubBuilder, v value) error {
		b.ways = append(b.ways, "bearer-file")
		b.hub.BearerFile = v.file()
		if _, err := readToken(v.file()); err != nil {
			return fileProblem(v.file(), err)
		}
		return nil
	}},
	{name: "realm", list: true, set: func(b *hubBuilder, v value) (err error) {
		b.hub.Realms, err = each(v.texts, parseRealm)
		return err
	}},
	{name: "proxy", set: assignHub(parseOutProxy, func(h *Hub) **url.URL { return &h.Proxy })},
	{name: "ca", set: func(b *hubBuilder, v value) error {
		data, err := readSmall(v.file())
		if err != nil {
			return fileProblem(v.file(), err)
		}
		b.files = append(b.files, v.file())
		b.hub.RootCAs = x509.NewCertPool()
		if !b.hub.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("%s holds no certificate in PEM form", v.file())
		}
		return nil
	}},
	{name: "cert", set: func(b *hubBuilder, v value) error { b.cert = v.file(); return nil }},
	{name: "key", set: func(b *hubBuilder, v value) error { b.key = v.file(); return nil }},
}

// hubNames resolves every spelling of a hub's key.
var hubNames = namesOf(hubKeys)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

// partForm is how the entries of one client are called, of a hub with identity = "pass".
var partForm = regexp.MustCompile(`\.as-[0-9a-f]{16}$`)

func parseName(s string) (string, error) {
	if !nameForm.MatchString(s) {
		return "", fmt.Errorf("%q is no hub name; write lower-case letters, digits, '.', '_' and '-', a letter or digit first", s)
	}
	if s == "files" || s == "download" {
		return "", fmt.Errorf("%q belongs to zcache itself; choose another name", s)
	}
	if partForm.MatchString(s) {
		return "", fmt.Errorf("%q reads as a client's part of a hub; choose another name", s)
	}
	return s, nil
}

func parseModule(s string) (string, error) {
	if m := strings.ToLower(s); m == ModuleLegacy || m == "generic" {
		return ModuleLegacy, nil
	}
	return "", fmt.Errorf("unknown module %q; this version knows legacy (alias generic)", s)
}

// parseOutProxy accepts a proxy for the way out. Credentials may stand in the URL, so no message repeats it.
func parseOutProxy(s string) (*url.URL, error) {
	u, err := parseURL(s, "socks5", "https", "http")
	if err != nil {
		return nil, err
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("it is more than scheme, host and port; write one such as http://proxy.example:3128")
	}
	return u, nil
}

func checkUser(s string) error {
	if s == "" || strings.Contains(s, ":") || !printable(s) {
		return errors.New("it is empty or holds a colon or control characters; write the plain user name")
	}
	return nil
}

func checkSecret(s string) error {
	if s == "" || !printable(s) {
		return errors.New("it is empty or holds control characters; write the plain text")
	}
	return nil
}

func (b *hubBuilder) basic(key, pair string) error {
	b.ways = append(b.ways, key)
	user, password, ok := strings.Cut(pair, ":")
	if !ok || checkUser(user) != nil || checkSecret(password) != nil {
		return errors.New("it is not of the form user:password")
	}
	b.hub.Username, b.hub.Password = user, Secret(password)
	return nil
}

func fileProblem(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("%s cannot be read: %w", path, pathErr.Err)
	}
	return err
}

// hubs builds the hubs: those of the file, those of --upstream, and where there are neither, the built-in ones.
func (l *loader) hubs(c *Config) {
	c.FilesHub = l.defaults(c, Hub{Name: "files", Builtin: true})
	for i := range l.tables {
		if h, ok := l.hubOf(c, &l.tables[i], i+1); ok {
			c.Hubs = append(c.Hubs, h)
			l.places = append(l.places, l.tables[i].place)
		}
	}
	in := l.inputs["upstream"].value
	for _, text := range in.texts {
		h, err := upstreamHub(text)
		if err != nil {
			l.problems.add("upstream", in.place, "%v", err)
			continue
		}
		c.Hubs = append(c.Hubs, l.defaults(c, h))
		l.places = append(l.places, in.place)
	}
	if len(l.tables) > 0 || len(in.texts) > 0 {
		return
	}
	for _, h := range builtin() {
		c.Hubs = append(c.Hubs, l.defaults(c, h))
		l.places = append(l.places, "")
	}
}

// defaults completes a hub with what holds for hubs that do not say.
func (l *loader) defaults(c *Config, h Hub) Hub {
	h.Module, h.Rollout = ModuleLegacy, RolloutLegacyOnly
	h.NegativeTTL, h.HeuristicMax, h.OnMiss = 15*time.Second, c.heuristicMax, c.onMiss
	h.ListingTTL = c.listingTTL
	h.Redirects, h.Verify, h.Retries, h.Identity = RedirectsFollow, VerifyTail, 3, IdentityOwn
	return h
}

// hubOf builds the hub of one table.
func (l *loader) hubOf(c *Config, t *table, n int) (Hub, bool) {
	label := fmt.Sprintf("hub[#%d]", n)
	if e, ok := t.entries["name"]; ok && len(e.texts) > 0 && e.texts[0] != "" {
		label = "hub[" + e.texts[0] + "]"
	}
	before := len(l.problems)
	b := &hubBuilder{hub: l.defaults(c, Hub{})}
	fillTable(l, t, hubKeys, b, label)
	l.complete(b, t, label)
	c.files = append(c.files, b.files...)
	return b.hub, len(l.problems) == before && !t.wrong
}

// complete checks what only several keys together tell.
func (l *loader) complete(b *hubBuilder, t *table, label string) {
	has := func(key string) bool { return len(t.entries[key].texts) > 0 }
	if !has("name") && !t.wrong {
		l.problems.add(label+".name", t.place, "it is missing; give the hub a name")
	}
	if !has("upstream") && !t.wrong {
		l.problems.add(label+".upstream", t.place, "it is missing; name the tree's URL")
	}
	if b.hub.Mount == "" && len(b.hub.Hosts) == 0 && !has("path") && !has("hosts") {
		b.hub.Mount = "/" + b.hub.Name
	}
	if b.user != b.password {
		l.problems.add(label+".user", t.place, "user and password belong together; write both or neither")
	}
	if b.user || b.password {
		b.ways = append(b.ways, "user")
	}
	if has("realm") && b.hub.Username == "" && len(b.hub.Realms) > 0 {
		l.problems.add(label+".realm", t.entries["realm"].place, "it names who may have the user and password, and there are none; write them too")
	}
	if len(b.ways) > 1 {
		slices.Sort(b.ways)
		l.problems.add(label+"."+b.ways[1], t.place, "%s is given too; keep one kind of credentials", b.ways[0])
	}
	if i := slices.IndexFunc(b.hub.Upstreams, func(u *url.URL) bool { return u.Scheme == "ftp" || u.Scheme == "ftps" }); i >= 0 {
		scheme := b.hub.Upstreams[i].Scheme
		if p := b.hub.Proxy; p != nil && (p.Scheme == "socks5" || slices.ContainsFunc(b.hub.Upstreams, func(u *url.URL) bool { return u.Scheme == "ftps" })) {
			l.problems.add(label+".proxy", t.entries["proxy"].place, "only http and https proxies take ftp:// URLs, and none takes ftps://; remove it")
		}
		if b.hub.HasToken() {
			l.problems.add(label+".upstream", t.entries["upstream"].place, "%s upstreams take no bearer token; write user and password", scheme)
		}
	}
	l.access(b, t, label)
	l.certificate(b, t, label)
}

func (l *loader) certificate(b *hubBuilder, t *table, label string) {
	if (b.cert == "") != (b.key == "") {
		l.problems.add(label+".cert", t.place, "cert and key belong together; write both or neither")
		return
	}
	if b.cert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(b.cert, b.key)
	if err != nil {
		l.problems.add(label+".cert", t.entries["cert"].place, "%v", fileProblem(b.cert, err))
		return
	}
	b.hub.Certificates = []tls.Certificate{pair}
	b.files = append(b.files, b.cert, b.key)
}
