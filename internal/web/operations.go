package web

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) error {
	return word(w, http.StatusOK, "ok")
}

// readyz is red when this instance cannot keep what it fetches: it still serves, but another one would serve better.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Store != nil {
		if err := s.cfg.Store.Health(); err != nil {
			if s.observes(r) { // it may name paths of the machine
				w.Header().Set("X-Reason", oneLine(err.Error()))
			}
			return word(w, http.StatusServiceUnavailable, "storage")
		}
	}
	return word(w, http.StatusOK, "ready")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func word(w http.ResponseWriter, status int, s string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, err := io.WriteString(w, s+"\n")
	return err
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "Version", s.cfg.Version)
}

// statusView is the JSON of /-/status.
type statusView struct {
	Started   time.Time    `json:"started"`
	Uptime    float64      `json:"uptime_seconds"`
	Mode      string       `json:"mode"`
	Offline   bool         `json:"offline"`
	Ready     bool         `json:"ready"`
	Reason    string       `json:"reason,omitempty"`
	HitRatio  float64      `json:"hit_ratio"`
	Hubs      []hubView    `json:"hubs"`
	Flights   []flightView `json:"flights"`
	Upstreams any          `json:"upstreams"`
	Disk      *diskView    `json:"disk,omitempty"`
	Mirror    *mirrorCount `json:"mirror,omitempty"`
}

type hubView struct {
	HubInfo
	Requests          float64 `json:"requests"`
	Hits              float64 `json:"hits"`
	HitRatio          float64 `json:"hit_ratio"`
	BytesSent         float64 `json:"bytes_sent"`
	BytesFromCache    float64 `json:"bytes_from_cache"`
	BytesFromUpstream float64 `json:"bytes_from_upstream"`
}

type flightView struct {
	Key     string    `json:"key"`
	Since   time.Time `json:"since"`
	Bytes   int64     `json:"bytes"`
	Size    *int64    `json:"size"`
	Waiting int64     `json:"waiting"`
}

type diskView struct {
	Bytes   int64 `json:"bytes"`
	Entries int64 `json:"entries"`
	Scanned bool  `json:"scanned"`
	Free    int64 `json:"free"`
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	now := s.cfg.Now()
	v := statusView{
		Started: second(s.started), Uptime: now.Sub(s.started).Seconds(), Mode: s.cfg.Mode, Offline: s.cfg.Offline, Ready: true,
		Upstreams: s.cfg.Upstreams(), Flights: []flightView{}, Hubs: []hubView{}, Mirror: s.countMirror(),
	}
	if st := s.cfg.Store; st != nil {
		if err := st.Health(); err != nil {
			v.Ready, v.Reason = false, err.Error()
		}
		d := &diskView{}
		d.Bytes, d.Entries, d.Scanned = st.Usage()
		d.Free, _ = st.Free()
		v.Disk = d
	}
	for _, f := range s.cfg.Filler.Flights() {
		fv := flightView{Key: f.Key.String(), Since: f.Since.UTC(), Bytes: f.Bytes, Waiting: f.Waiting}
		if f.Size >= 0 {
			fv.Size = &f.Size
		}
		v.Flights = append(v.Flights, fv)
	}
	counts, err := s.counts()
	if err != nil {
		return err
	}
	var hits, all float64
	for _, h := range s.cfg.Hubs() {
		c := counts[h.Name]
		hv := hubView{HubInfo: h, Requests: c.requests, Hits: c.hits, BytesSent: c.sent, BytesFromCache: c.cached, BytesFromUpstream: c.received}
		if c.requests > 0 {
			hv.HitRatio = c.hits / c.requests
		}
		hits, all = hits+c.hits, all+c.requests
		v.Hubs = append(v.Hubs, hv)
	}
	if all > 0 {
		v.HitRatio = hits / all
	}
	return s.show(w, r, "Status", v)
}

type count struct{ requests, hits, sent, cached, received float64 }

// counts reads the figures per hub back from the metrics, the one place that counts.
func (s *Server) counts() (map[string]count, error) {
	families, err := s.cfg.Gatherer.Gather()
	if err != nil {
		return nil, err
	}
	out := map[string]count{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var hub, outcome string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "hub":
					hub = l.GetValue()
				case "outcome":
					outcome = l.GetValue()
				}
			}
			c, n := out[hub], m.GetCounter().GetValue()
			switch f.GetName() {
			case "zcache_requests_total":
				c.requests += n
				if outcome == "hit" || outcome == "collapsed" {
					c.hits += n
				}
			case "zcache_sent_bytes_total":
				c.sent += n
			case "zcache_cached_bytes_total":
				c.cached += n
			case "zcache_upstream_bytes_total":
				c.received += n
			default:
				continue
			}
			out[hub] = c
		}
	}
	return out, nil
}

// explainView is the JSON of /-/explain.
type explainView struct {
	URL        string        `json:"url"`
	Hub        string        `json:"hub"`
	Key        string        `json:"key"`
	Held       bool          `json:"held"`
	Adopted    bool          `json:"adopted,omitempty"`
	Status     int           `json:"status,omitempty"`
	Size       *int64        `json:"size,omitempty"`
	SHA256     string        `json:"sha256,omitempty"`
	HeldSince  *time.Time    `json:"held_since,omitempty"`
	Confirmed  *time.Time    `json:"confirmed,omitempty"`
	ETag       string        `json:"etag,omitempty"`
	Modified   string        `json:"last_modified,omitempty"`
	Fresh      bool          `json:"fresh"`
	FreshUntil *time.Time    `json:"fresh_until,omitempty"`
	Age        *int64        `json:"age,omitempty"`
	Lifetime   *int64        `json:"lifetime,omitempty"`
	Rule       string        `json:"rule,omitempty"`
	MayStale   bool          `json:"may_serve_stale"`
	Flight     bool          `json:"filling"`
	Next       string        `json:"next"`
	Mirrored   *mirroredView `json:"mirrored,omitempty"`
	From       string        `json:"from,omitempty"`
	Upstream   string        `json:"upstream,omitempty"`
	Policy     any           `json:"policy,omitempty"`
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	raw := r.URL.Query().Get("url")
	if raw == "" {
		return &failure{http.StatusBadRequest, "no_url", "explain wants ?url= with a path or URL"}
	}
	key, err := s.resolve(r, asSent(raw))
	if err != nil {
		return err
	}
	if err := s.mayAsk(r, key); err != nil {
		return err
	}
	x, err := s.cfg.Filler.Explain(&fill.Request{Key: s.keyFor(r, key), Method: http.MethodGet, Header: http.Header{}})
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	v := explainView{URL: raw, Hub: key.Hub(), Key: key.String(), Held: x.Held, Adopted: x.Adopted, Flight: x.Flight, Next: x.Next, Mirrored: s.walked(key)}
	policy := s.cfg.Filler.Effective(key)
	if m := x.Meta; m != nil {
		verdict := x.Plan.Verdict
		until, since, confirmed := second(verdict.Until(now)), second(m.Stored), second(m.Received)
		age, lifetime := int64(verdict.Age/time.Second), int64(verdict.Lifetime/time.Second)
		v.Status, v.Size, v.ETag, v.Modified = m.Status, &m.Size, m.Header.Get("Etag"), m.Header.Get("Last-Modified")
		v.Fresh, v.Rule, v.MayStale = verdict.Fresh && !x.Adopted, verdict.By, verdict.OnError(policy.Rule, false) && !x.Edited
		if !x.Adopted {
			v.FreshUntil, v.HeldSince, v.Confirmed, v.Age, v.Lifetime = &until, &since, &confirmed, &age, &lifetime
		}
		if m.SHA256 != [32]byte{} {
			v.SHA256 = hex.EncodeToString(m.SHA256[:])
		}
	}
	if s.observes(r) {
		v.Upstream = s.cfg.UpstreamURL(key)
		if x.Meta != nil {
			v.From = x.Meta.URL
		}
		for _, h := range s.cfg.Hubs() {
			if h.Name == key.Hub() {
				v.Policy = h.Policy
			}
		}
	}
	return s.show(w, r, "Explain", v)
}

// second is a time as people read it: the moments told here are known no better.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func resolveFailure(err error) error {
	if errors.Is(err, cache.ErrBadKey) {
		return err
	}
	return &failure{http.StatusNotFound, "no_hub", err.Error()}
}

func (s *Server) purge(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Path      string `json:"path"`
		Recursive bool   `json:"recursive"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.Path == "" {
		return &failure{http.StatusBadRequest, "no_path", `purge wants {"path": "/hub/…", "recursive": false}`}
	}
	key, err := s.cfg.Resolve(in.Path, r.Host)
	if err != nil {
		return resolveFailure(err)
	}
	if s.cfg.Mirror != nil {
		s.cfg.Mirror.Forget(key) // first: a walk under way would bring back what is removed
	}
	n, err := s.cfg.Filler.Purge(key, in.Recursive)
	if err != nil {
		return err
	}
	if s.cfg.Partitions != nil {
		for _, hub := range s.cfg.Partitions(key.Hub()) {
			own, err := s.cfg.Filler.Purge(key.InHub(hub), in.Recursive)
			if err != nil {
				return err
			}
			n += own
		}
	}
	s.noteDone(r, in.Path)
	s.log.Info("purge", "action", "purge", "key", key.String(), "recursive", in.Recursive, "removed", n, "client", r.RemoteAddr)
	return s.show(w, r, "Purge", map[string]any{"path": in.Path, "key": key.String(), "recursive": in.Recursive, "removed": n})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) error {
	if err := s.cfg.Reload(); err != nil {
		return &failure{http.StatusUnprocessableEntity, "configuration", err.Error()}
	}
	s.noteDone(r, "")
	return s.show(w, r, "Reload", map[string]any{"reloaded": true})
}

// decode reads a small JSON body and nothing after it.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &failure{http.StatusBadRequest, "bad_json", "body is not the JSON that is wanted: " + err.Error()}
	}
	if _, err := d.Token(); err != io.EOF {
		return &failure{http.StatusBadRequest, "bad_json", "body goes on after its JSON"}
	}
	return nil
}
