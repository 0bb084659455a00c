package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/fill"
	"zcache/internal/mirror"
	"zcache/internal/notify"
)

var errHangs = errors.New("the disk does not answer")

// sinksOf reads the URLs of a setting. No message repeats one: it may hold a password.
func sinksOf(setting string, urls []config.Secret) ([]notify.Sink, error) {
	var sinks []notify.Sink
	var problems config.Problems
	for i, u := range urls {
		s, err := notify.ParseSink(string(u))
		if err != nil {
			reason := err.Error()
			if len(urls) > 1 {
				reason = fmt.Sprintf("the %d. one: %s", i+1, reason)
			}
			problems = append(problems, config.Problem{Setting: setting, Reason: reason})
			continue
		}
		sinks = append(sinks, s)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return sinks, nil
}

// openNotices makes what tells people and machines.
func (in *instance) openNotices(cfg config.Config) error {
	sinks, err := sinksOf("notify", cfg.Notify)
	if err != nil {
		return err
	}
	hooks, err := sinksOf("ready-hook", cfg.ReadyHooks)
	if err != nil {
		return err
	}
	name := instanceName(cfg)
	in.notifier = notify.New(notify.Config{Sinks: sinks, Instance: name, Logger: in.log, Registerer: in.registry})
	in.readiness = notify.NewReadiness(hooks, name, in.log)
	return nil
}

// instanceName is how people know this instance among others.
func instanceName(cfg config.Config) string {
	if cfg.PublicURL != nil {
		return cfg.PublicURL.String()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "zcache"
	}
	return host
}

// kinds are what the filler tells of, in the words for people.
var kinds = map[string]notify.Kind{
	fill.NoticeFailed: notify.UpstreamFailed, fill.NoticeChanged: notify.ContentChanged, fill.NoticeIntegrity: notify.IntegrityFailure,
}

// tellOfEntry tells people of what became of an entry, by the URL that somebody can look at, without its query, which may be signed.
func (in *instance) tellOfEntry(kind string, key cache.Key, text string) {
	e := notify.Event{Kind: kinds[kind], Subject: in.upstream(key.WithoutQuery()), Text: text, Fields: map[string]string{"hub": cache.BaseHub(key.Hub()), "path": key.Path()}}
	if e.Subject == "" {
		e.Subject = key.WithoutQuery().String()
	}
	in.notifier.Tell(e)
}

// tellOfTorn tells people of an entry that a loss of power has torn.
func (in *instance) tellOfTorn(key cache.Key) {
	in.tellOfEntry(fill.NoticeIntegrity, key, "what was held of it was torn by a loss of power, and is removed; the next who asks has it fetched anew")
}

// A walkJudge tells people of walks that need one.
type walkJudge struct {
	tell    func(notify.Event)
	failing map[string]time.Time // since when all walks have failed, by the subtree's name
}

// A walk needs a person when so many in a row have failed, or all have for so long: the first for a subtree that is used all day, the second for one
// whose walks are far apart.
const (
	walksFailed = 3
	walkFailing = 24 * time.Hour
)

// hear takes an event of the scheduler.
func (j *walkJudge) hear(e mirror.Event, now time.Time) {
	st := e.Status
	switch e.Kind {
	case mirror.EventHeldBack:
		j.tell(notify.Event{
			Kind: notify.PurgeHeldBack, Subject: st.Name,
			Text: fmt.Sprintf("%d files are gone upstream, more than a walk removes by itself; look with zcache walk --dry-run --follow %s, and let it with --confirm-purge",
				st.Held, st.Name),
			Fields: map[string]string{"held": strconv.FormatInt(st.Held, 10)},
		})
	case mirror.EventDropped:
		delete(j.failing, st.Name)
	case mirror.EventEnded:
		if st.State != mirror.StateFailed {
			delete(j.failing, st.Name)
			return
		}
		since, known := j.failing[st.Name]
		if !known {
			since = now
			j.failing[st.Name] = now
		}
		if st.Failed < walksFailed && now.Sub(since) < walkFailing {
			return
		}
		j.tell(notify.Event{
			Kind: notify.WalkFailing, Subject: st.Name, Text: fmt.Sprintf("%d walks in a row have failed, the last with: %s", st.Failed, st.Err),
			Fields: map[string]string{"failed": strconv.Itoa(st.Failed), "last_success": moment(st.Success)},
		})
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// tellOfWalks hears the scheduler until ctx ends.
func (in *instance) tellOfWalks(ctx context.Context) {
	j := &walkJudge{tell: in.notifier.Tell, failing: map[string]time.Time{}}
	for e := range in.mirror.Events(ctx) {
		j.hear(e, time.Now())
	}
}

// certEvery is how often certificates are looked at.
const certEvery = time.Hour

// certStages are the times before the end of a certificate at which people are told: to order one, to install it, to leave all else.
var certStages = []time.Duration{21 * day, 7 * day, day, 0}

// A certWatch tells people of certificates that end soon, once for each stage.
type certWatch struct {
	tell func(notify.Event)
	told map[string]int // how many stages of a certificate are over
}

// look judges certificates, by what they are for.
func (w *certWatch) look(certs map[string][]tls.Certificate, now time.Time) {
	for what, chains := range certs {
		for i := range chains {
			leaf := leafOf(&chains[i])
			if leaf == nil {
				continue
			}
			w.judge(what, leaf, now)
		}
	}
}

func (w *certWatch) judge(what string, leaf *x509.Certificate, now time.Time) {
	over := 0
	for _, before := range certStages {
		if now.After(leaf.NotAfter.Add(-before)) {
			over++
		}
	}
	id := what + " " + leaf.SerialNumber.Text(16)
	if over <= w.told[id] {
		return
	}
	w.told[id] = over
	left := fmt.Sprintf("ends in %s", leaf.NotAfter.Sub(now).Round(time.Hour))
	if over == len(certStages) {
		left = "has ended"
	}
	w.tell(notify.Event{
		Kind: notify.CertificateExpiry, Subject: fmt.Sprintf("%s, stage %d of %d", what, over, len(certStages)),
		Text:   fmt.Sprintf("the certificate of %s (%s) %s", what, leaf.Subject, left),
		Fields: map[string]string{"not_after": moment(leaf.NotAfter), "serial": leaf.SerialNumber.Text(16)},
	})
}

func leafOf(c *tls.Certificate) *x509.Certificate {
	if c.Leaf != nil {
		return c.Leaf
	}
	if len(c.Certificate) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// certificates are those of a configuration, by what they are for.
func certificatesOf(cfg config.Config) map[string][]tls.Certificate {
	out := map[string][]tls.Certificate{}
	if cfg.InterceptCA != nil {
		out["intercept-ca"] = []tls.Certificate{*cfg.InterceptCA}
	}
	for i := range cfg.Hubs {
		if h := &cfg.Hubs[i]; len(h.Certificates) > 0 {
			out["hub "+h.Name] = h.Certificates
		}
	}
	return out
}

// watchCertificates looks until ctx ends.
func (in *instance) watchCertificates(ctx context.Context) {
	w := &certWatch{tell: in.notifier.Tell, told: map[string]int{}}
	tick := time.NewTicker(certEvery)
	defer tick.Stop()
	for {
		w.look(certificatesOf(in.current.Load().cfg), time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tellPeople brings notices to people until ctx ends.
func (in *instance) tellPeople(ctx context.Context) { _ = in.notifier.Run(ctx) } // its error is that of ctx

// tellHooks keeps machines told whether the instance is ready, until ctx ends.
func (in *instance) tellHooks(ctx context.Context) { _ = in.readiness.Run(ctx) } // likewise
