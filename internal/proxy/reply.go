package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

// stamp adds the fields that every answer of this instance has.
func (g *Gateway) stamp(h http.Header, x *exchange) {
	h["Via"] = append(h["Via"], "1.1 zcache")
	h["Cache-Status"] = append(h["Cache-Status"], x.outcome.CacheStatus())
	if x.outcome.Cache != "" {
		h["X-Cache"] = []string{x.outcome.Cache}
	}
}

// reply writes an answer. An error after x.status is set means that the head is out.
func (g *Gateway) reply(w http.ResponseWriter, r *http.Request, x *exchange, to place, answer *fill.Answer) error {
	a, err := g.simple(r, x, to, answer)
	if err != nil {
		return err
	}
	if a != answer {
		defer a.Close()
	}
	x.outcome, x.url = a.Outcome, a.URL
	x.head = g.cfg.Now().Sub(x.start)
	x.class = g.class(to.key)
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	delete(h, subtreeField)
	g.forAskersAlone(h, r, x, to)
	h["X-Request-Id"] = []string{x.id}
	h["Via"] = append([]string(nil), h["Via"]...) // what is stamped must not reach the store
	h["Cache-Status"] = append([]string(nil), h["Cache-Status"]...)
	g.stamp(h, x)
	if to.asked != proxyForm {
		confine(h, to)
	}
	if to.asked != proxyForm { // else the client sees the origin, and its answer is to be the origin's
		g.protect(h, to.hub)
		if a.Status >= 300 && a.Status < 400 || a.Status == http.StatusCreated {
			g.relocate(h, to, a)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // the origin said nothing of it, nor do we
	}
	x.status, x.open = a.Status, a.Body != nil && a.Length < 0 && !r.ProtoAtLeast(1, 1)
	g.touch(r.Method, x.status, to.key)
	w.WriteHeader(a.Status)
	if a.Body == nil {
		return nil
	}
	var n int64
	if x.lease.Shaped() {
		n, err = g.sendShaped(w, r, x.lease, a)
	} else {
		n, err = g.send(w, r, a)
	}
	x.sent = n
	if err != nil && r.Context().Err() == nil {
		return err
	}
	if err != nil {
		return context.Canceled // the client has left
	}
	if a.Length >= 0 && n != a.Length {
		return errShortWrite
	}
	return nil
}

// send copies the body. One of known length goes through ReadFrom, and so by sendfile; one that grows is flushed as it comes.
func (g *Gateway) send(w http.ResponseWriter, r *http.Request, a *fill.Answer) (int64, error) {
	if b, ok := a.Body.(interface{ Bytes() []byte }); ok && !a.Live {
		// A body that is in memory leaves in one write with its head; ReadFrom would make two of it, a third of a small hit's cost.
		if p := b.Bytes(); p != nil && int64(len(p)) == a.Length {
			n, err := w.Write(p)
			return int64(n), err
		}
	}
	rc := http.NewResponseController(w)
	if a.Live {
		if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	if a.Length >= 0 || !a.Live {
		if rf, ok := w.(io.ReaderFrom); ok {
			if c, ok := r.Context().Value(connKey{}).(*conn); ok && !a.Live && a.Length >= 0 {
				// Flushed into the connection's hand, the head need not be followed through net/http's own buffers, which copy the
				// beginning of the body first.
				c.hold()
				defer c.release()
				if err := rc.Flush(); err != nil {
					return 0, err
				}
			}
			return rf.ReadFrom(a.Body)
		}
		return io.Copy(w, a.Body)
	}
	var sent int64
	buf := make([]byte, 32<<10)
	for {
		n, err := a.Body.Read(buf)
		if n > 0 {
			m, werr := w.Write(buf[:n])
			sent += int64(m)
			if werr == nil {
				werr = rc.Flush()
			}
			if werr != nil {
				return sent, werr
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}

// protect keeps content of upstream origin from acting on this origin, which it shares with operations.
func (g *Gateway) protect(h http.Header, hub *Hub) {
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if hub.Active {
		return
	}
	if active(h["Content-Type"]) {
		h["Content-Security-Policy"] = append(append([]string(nil), h["Content-Security-Policy"]...), "sandbox")
	}
}

// active says that a body of this type may run scripts. Of several types a browser takes the last that it knows, so any of them counts.
func active(lines []string) bool {
	for _, line := range lines {
		for kind := range strings.SplitSeq(line, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			kind = strings.ToLower(strings.TrimSpace(kind))
			if kind == "text/html" || kind == "text/xsl" || strings.HasSuffix(kind, "xml") || strings.HasPrefix(kind, "multipart/") {
				return true
			}
		}
	}
	return false
}

// relocate turns a Location that lies under the hub's upstream into the client's URL space. A relative path stays: it leads to the same
// place in both.
func (g *Gateway) relocate(h http.Header, to place, a *fill.Answer) {
	location := h.Get("Location")
	if location == "" || a.URL == "" {
		return
	}
	base, err := url.Parse(a.URL)
	if err != nil {
		return
	}
	u, err := base.Parse(location)
	if err != nil {
		return
	}
	// Above the top of a site a relative path of the built-in hub would lead into other paths of ours.
	relative := !strings.HasPrefix(location, "/") && !strings.Contains(location, ":") && to.asked == gatewayForm
	key, ok := g.cfg.KeyOf(to.hub.Name, u)
	ok = ok && key.Site() == to.key.Site()
	switch {
	case ok && relative:
		return
	case ok:
		there := to.shown(key)
		if q, has := key.Query(); has {
			there += "?" + q
		}
		if u.Fragment != "" {
			there += "#" + u.EscapedFragment()
		}
		if strings.HasPrefix(there, "//") {
			there = "/." + there // it would read as a host
		}
		h["Location"] = []string{there}
	case to.narrow && pathOf(u) != "":
		h["Location"] = []string{pathOf(u)}
	default:
		h["Location"] = []string{u.String()}
	}
}

// pathOf is the path here by which a whole URL can be asked for; empty when it cannot.
func pathOf(u *url.URL) string {
	authority, err := cache.Authority(u.Scheme, u.Host)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	path := "/" + cache.FilesHub + "/" + u.Scheme + "/" + authority + cmp.Or(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path
}

// done writes the log line and the metrics of a request.
func (g *Gateway) done(r *http.Request, x *exchange) {
	took := g.cfg.Now().Sub(x.start)
	hub, module, rollout := "", "", ""
	if x.hub != nil {
		hub, module, rollout = x.hub.Name, x.hub.Module, x.hub.Rollout
	}
	g.metrics.observe(hub, module, x, took)
	level := slog.LevelInfo
	if x.status >= 500 && x.status != http.StatusGatewayTimeout {
		level = slog.LevelWarn
	}
	if !g.log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 24)
	path := r.URL.EscapedPath()
	if x.form != gatewayForm || reachesOut(x.asked) {
		path = withoutUsers(path)
	}
	if x.path != "" {
		path = x.path
	}
	attrs = append(attrs, slog.String("action", "request"), slog.String("method", r.Method),
		slog.String("domain", r.Host), slog.String("path", path), slog.Int("status", x.status), slog.Int64("bytes_sent", x.sent),
		slog.Float64("elapsed_ms", milliseconds(x.head)), slog.Float64("duration_ms", milliseconds(took)),
		slog.String("request_id", x.id), slog.String("client", x.client.Addr.String()),
	)
	if x.hub != nil {
		attrs = append(attrs,
			slog.String("hub", hub), slog.String("module_key", module), slog.String("rollout_flag", rollout), slog.String("hub_type", "generic"),
			slog.String("auth_mode", x.hub.Auth), slog.Bool("cache_hit", x.outcome.Hit), slog.String("x_cache", x.outcome.Cache))
	}
	if x.form != gatewayForm {
		attrs = append(attrs, slog.String("form", x.form.String()))
	}
	if r.Method == http.MethodConnect {
		attrs = append(attrs, slog.Int64("bytes_received", x.received))
	}
	if x.class != "" {
		attrs = append(attrs, slog.String("path_class", x.class))
	}
	if x.outcome.Fwd != "" { // the origin was asked
		attrs = append(attrs, slog.Int("upstream_status", x.outcome.FwdStatus), slog.Float64("upstream_ms", milliseconds(x.head)))
	}
	if x.url != "" {
		from, _, _ := strings.Cut(x.url, "?") // a query may hold a secret
		attrs = append(attrs, slog.String("upstream", from))
	}
	if x.outcome.Collapsed {
		attrs = append(attrs, slog.Bool("coalesced", true))
	}
	if x.err != nil {
		text := x.err.Error()
		if x.form != gatewayForm || reachesOut(x.asked) {
			text = withoutUsers(text)
		}
		attrs = append(attrs, slog.String("error", text))
	}
	g.log.LogAttrs(r.Context(), level, "request", attrs...)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// class is a word for what kind of path a Key is.
func (g *Gateway) class(key cache.Key) string {
	if c := g.cfg.Filler.Effective(key).Class.String(); c != "" {
		return c
	}
	if key.IsDir() {
		return "directory"
	}
	return "file"
}

// originWide are fields that speak for a whole origin. In a path, ours is shared by many.
var originWide = []string{"Clear-Site-Data", "Nel", "Report-To", "Reporting-Endpoints", "Service-Worker-Allowed", "Alt-Svc", "Strict-Transport-Security"}

// confine keeps what an upstream says of its whole origin from being said of ours. In URL form all hosts are one to a browser, which would show one's
// cookies to the next; a hub's stay below its mount.
func confine(h http.Header, to place) {
	if to.asked == urlForm || to.base != "" {
		for _, name := range originWide {
			delete(h, name)
		}
	}
	if to.asked == urlForm {
		delete(h, "Set-Cookie")
		return
	}
	if to.base == "" || len(h["Set-Cookie"]) == 0 {
		return
	}
	cookies := make([]string, 0, len(h["Set-Cookie"]))
	for _, line := range h["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			continue
		}
		if !strings.HasPrefix(c.Path, "/") {
			c.Path = ""
		}
		c.Path = to.base + cmp.Or(c.Path, "/")
		c.Domain = ""
		cookies = append(cookies, c.String())
	}
	h["Set-Cookie"] = cookies
}
