package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/config"
	"zcache/internal/fill"
	"zcache/internal/limit"
	"zcache/internal/mirror"
	"zcache/internal/notify"
)

func TestReadinessChangesWhenTheStoreStaysRed(t *testing.T) {
	bad := errors.New("no space")
	for _, row := range []struct {
		claim  string
		probes []error
		want   string // of set
	}{
		{"one red probe is a moment's", []error{nil, bad, nil, bad, nil}, ""},
		{"two in a row are red, once", []error{nil, bad, bad, bad, bad}, "false"},
		{"back with the first that works", []error{bad, bad, bad, nil, nil}, "false true"},
		{"and red again", []error{bad, bad, nil, bad, bad}, "false true false"},
	} {
		var set []string
		told := 0
		w := &readyWatch{
			set:  func(ready bool, _ string) { set = append(set, fmt.Sprint(ready)) },
			tell: func(notify.Event) { told++ }, log: slog.New(slog.DiscardHandler),
		}
		for _, err := range row.probes {
			w.judge(err)
		}
		if got := strings.Join(set, " "); got != row.want || (told > 0) != (row.want != "") {
			t.Errorf("%s: set %q, told %d times, want %q", row.claim, got, told, row.want)
		}
	}
}

func TestAProbeThatHangsIsRedAndNotDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, probes := make(chan struct{}), 0
		var set []bool
		w := &readyWatch{
			probe: func() error { probes++; <-hang; return nil },
			set:   func(ready bool, _ string) { set = append(set, ready) },
			tell:  func(notify.Event) {}, log: slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithCancel(t.Context())
		go w.run(ctx)
		time.Sleep(time.Minute)
		synctest.Wait()
		if probes != 1 || !slices.Equal(set, []bool{false}) {
			t.Errorf("after a minute: %d probes, set %v, want one that hangs, and red", probes, set)
		}
		close(hang)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.Equal(set, []bool{false, true}) {
			t.Errorf("after the disk is back: set %v, want red and green", set)
		}
		cancel()
		synctest.Wait()
	})
}

func TestWalksThatNeedAPerson(t *testing.T) {
	failed := func(n int) mirror.Event {
		return mirror.Event{Kind: mirror.EventEnded, Status: mirror.Status{Name: "/k", State: mirror.StateFailed, Failed: n, Err: "no route"}}
	}
	good := mirror.Event{Kind: mirror.EventEnded, Status: mirror.Status{Name: "/k", State: mirror.StateSuccess}}
	held := mirror.Event{Kind: mirror.EventHeldBack, Status: mirror.Status{Name: "/k", Held: 700}}
	type at struct {
		hour int
		e    mirror.Event
	}
	for _, row := range []struct {
		claim  string
		events []at
		want   []notify.Kind
	}{
		{"two failures are not many", []at{{0, failed(1)}, {1, failed(2)}}, nil},
		{"three in a row are", []at{{0, failed(1)}, {1, failed(2)}, {2, failed(3)}}, []notify.Kind{notify.WalkFailing}},
		{"a success ends the row", []at{{0, failed(1)}, {30, good}, {31, failed(1)}}, nil},
		{"a day of failures is long", []at{{0, failed(1)}, {25, failed(2)}}, []notify.Kind{notify.WalkFailing}},
		{"a purge is held back", []at{{0, held}}, []notify.Kind{notify.PurgeHeldBack}},
		{"one that is dropped is forgotten", []at{{0, failed(1)}, {1, mirror.Event{Kind: mirror.EventDropped, Status: mirror.Status{Name: "/k"}}}, {30, failed(1)}}, nil},
	} {
		var got []notify.Kind
		j := &walkJudge{tell: func(e notify.Event) { got = append(got, e.Kind) }, failing: map[string]time.Time{}}
		for _, e := range row.events {
			j.hear(e.e, time.Date(2026, 1, 1, e.hour, 0, 0, 0, time.UTC))
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: told %v, want %v", row.claim, got, row.want)
		}
	}
}

func TestCertificatesAreToldOfOnceAStage(t *testing.T) {
	end := time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "lab"}, NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certs := map[string][]tls.Certificate{"hub k": {{Certificate: [][]byte{der}}}}
	var got []string
	w := &certWatch{tell: func(e notify.Event) { got = append(got, e.Subject+": "+e.Text) }, told: map[string]int{}}
	for _, row := range []struct {
		days float64 // before the end
		want string  // "" for none
	}{
		{40, ""}, {21.5, ""}, {20, "hub k, stage 1 of 4: the certificate of hub k (CN=lab) ends in 480h0m0s"}, {10, ""},
		{6, "hub k, stage 2 of 4: the certificate of hub k (CN=lab) ends in 144h0m0s"},
		{0.5, "hub k, stage 3 of 4: the certificate of hub k (CN=lab) ends in 12h0m0s"},
		{-1, "hub k, stage 4 of 4: the certificate of hub k (CN=lab) has ended"}, {-2, ""},
	} {
		got = nil
		w.look(certs, end.Add(-time.Duration(row.days*float64(day))))
		if strings.Join(got, "\n") != row.want {
			t.Errorf("%v days before the end: told %q, want %q", row.days, got, row.want)
		}
	}
}

func TestConnectionsAreBoundedForEachAndForAll(t *testing.T) {
	dial := func(addr string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, row := range []struct {
		claim string
		args  []string
		want  int // of 5 connections
	}{
		{"each", []string{"--max-conns-per-client=2"}, 2},
		{"all", []string{"--max-conns=3"}, 3},
		{"a trusted proxy speaks for many", []string{"--max-conns-per-client=2", "--trusted-proxy=127.0.0.1"}, 5},
		{"but not for more than all", []string{"--max-conns-per-client=2", "--trusted-proxy=127.0.0.1", "--max-conns=4"}, 4},
	} {
		cfg, err := config.Parse(row.args...)
		if err != nil {
			t.Fatal(err)
		}
		c := connsOf(cfg)
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ConnState = c.state
		s.Start()
		open := 0
		for range 5 {
			conn := dial(s.Listener.Addr().String())
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if n, _ := conn.Read(make([]byte, 1)); n == 1 {
				open++
			}
		}
		if open != row.want {
			t.Errorf("%s: %d of 5 connections answered, want %d", row.claim, open, row.want)
		}
		s.CloseClientConnections()
		s.Close()
	}
	if c := connsOf(config.Config{}); c != nil {
		t.Errorf("connsOf of no limits = %v, want nil", c)
	}
}

func TestADaysUseOutlivesTheProcess(t *testing.T) {
	cfg, err := config.Parse("--root="+t.TempDir(), "--client-daily=1000")
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInstance(cfg, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	who := limit.Client{Token: "token:a"}
	lease, refusal := in.limiter.Admit(who, "k", time.Now())
	if refusal != nil {
		t.Fatal(refusal)
	}
	if err := lease.Wait(t.Context(), 5000); err != nil {
		t.Fatal(err)
	}
	lease.Close()
	in.close()

	in, err = newInstance(cfg, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, refusal = in.limiter.Admit(who, "k", time.Now()); refusal == nil || refusal.Status != http.StatusTooManyRequests {
		t.Errorf("after a restart: %v, want the day's bytes to be used up", refusal)
	}
	if err := in.root.WriteFile(limitsFile, []byte("{"), false); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	in.log = slog.New(slog.NewTextHandler(&lockedWriter{w: &log}, nil))
	in.restoreLimits()
	if !strings.Contains(log.String(), "forgotten") {
		t.Errorf("a file that is torn: log %q, want a warning", log.String())
	}
	in.close()
}

func TestAHeldBackPurgeIsToldOf(t *testing.T) {
	var mu sync.Mutex
	told := map[string]string{} // text by type
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Type string
			Data struct{ Subject, Text string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Errorf("read a notice: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		told[m.Type] = m.Data.Subject + ": " + m.Data.Text
	}))
	t.Cleanup(hook.Close)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("a/%d.txt", i))
	}
	up, dir, _ := upstreamTree(t, names...)
	base, _ := serving(t, "listen = \"127.0.0.1:0\"\nnotify = \""+hook.URL+"\"\n[[hub]]\nname = \"k\"\nupstream = \""+up.URL+"\"\n")
	if code, out, errs := invoke(t, "", "walk", "/k/a", "--follow", "--server", base); code != 0 {
		t.Fatalf("walk: exit %d, %q, %q", code, out, errs)
	}
	for _, name := range names[:25] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := invoke(t, "", "walk", "/k/a", "--follow", "--server", base); code != exitPartial {
		t.Fatalf("walk after the removal: exit %d, %q, %q, want 3", code, out, errs)
	}
	eventually(t, "people are told of the purge that was held back", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.HasPrefix(told["purge-held-back"], "/k/a: 25 files are gone upstream")
	})
}

func TestEveryKindThatTheFillerTellsHasItsWord(t *testing.T) {
	for _, kind := range []string{fill.NoticeFailed, fill.NoticeChanged, fill.NoticeIntegrity} {
		if string(kinds[kind]) != kind {
			t.Errorf("kinds[%q] = %q; people and the filler must use one word", kind, kinds[kind])
		}
	}
}

func TestAFileThatNoUpstreamGivesIsToldOfByItsURL(t *testing.T) {
	told := make(chan string, 8)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a notice: %v", err)
		}
		told <- string(body)
	}))
	t.Cleanup(hook.Close)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(up.Close)
	base, _ := serving(t, "listen = \"127.0.0.1:0\"\nnotify = \""+hook.URL+"\"\n[[hub]]\nname = \"k\"\nupstream = \""+up.URL+"/pub\"\nretries = 0\n")
	if status, _ := get(t, base+"/k/a.tar.gz"); status < 500 {
		t.Fatalf("GET of what cannot be had = %d, want an error", status)
	}
	select {
	case body := <-told:
		if !strings.Contains(body, `"upstream-failed"`) || !strings.Contains(body, up.URL+"/pub/a.tar.gz") {
			t.Errorf("told %s, want the kind and the URL", body)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody was told")
	}
}

// A lockedWriter may be written to concurrently.
type lockedWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}
