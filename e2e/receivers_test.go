package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A notice is what a receiver was told.
type notice struct {
	ID        string
	Type      string
	Timestamp time.Time
	Data      struct {
		Subject, Text, Instance string
		Fields                  map[string]string
		Again                   int
	}
}

// notices are those that a receiver has got.
type notices struct {
	t   testing.TB
	mu  sync.Mutex
	all []notice
}

func (n *notices) add(one notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, one)
}

// of gives those of a kind.
func (n *notices) of(kind string) []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.all), func(one notice) bool { return one.Type != kind })
}

// told waits for a notice of a kind about a subject.
func (n *notices) told(kind, subject string) notice {
	n.t.Helper()
	var found notice
	eventually(n.t, 30*time.Second, "somebody is told of "+kind+" "+subject, func() (bool, string) {
		all := n.of(kind)
		for _, one := range all {
			if strings.Contains(one.Data.Subject, subject) {
				found = one
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", all)
	})
	return found
}

// secretFile writes a secret that nobody else has.
func secretFile(t testing.TB, prefix string) (name, secret string) {
	t.Helper()
	secret = prefix + base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	name = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, secret
}

// authority writes the certificate of a test server, which is its own authority.
func authority(t testing.TB, s *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A hook receives webhooks as Standard Webhooks have them, and takes none whose signature is not right. It is too busy for the first one.
type hook struct {
	notices
	url     string // for --notify
	secrets []string
	key     []byte
	refused string // the ID of the message that it was too busy for
}

func startHook(t testing.TB) *hook {
	t.Helper()
	h := &hook{notices: notices{t: t}}
	s := httptest.NewTLSServer(http.HandlerFunc(h.serve))
	t.Cleanup(s.Close)
	file, secret := secretFile(t, "whsec_")
	var err error
	if h.key, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil {
		t.Fatal(err)
	}
	path := rand.Text()
	h.secrets = []string{secret, strings.TrimPrefix(secret, "whsec_"), path}
	h.url = s.URL + "/services/" + path + "?room=1#secret-file=" + url.QueryEscape(file) + "&ca=" + url.QueryEscape(authority(t, s))
	return h
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || r.Method != http.MethodPost || r.Header.Get("Webhook-Signature") != want {
		h.t.Errorf("%s of a webhook signed %q, want %q (%v)", r.Method, r.Header.Get("Webhook-Signature"), want, err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if seconds, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		h.t.Errorf("a webhook has the time %q", at)
	}
	if r.URL.RawQuery != "room=1" || r.Header.Get("Content-Type") != "application/json" {
		h.t.Errorf("a webhook for %s of type %q", r.URL, r.Header.Get("Content-Type"))
	}
	var one notice
	if err := json.Unmarshal(body, &one); err != nil || one.Data.Text == "" || one.Data.Instance == "" || one.Timestamp.IsZero() {
		h.t.Errorf("a webhook says %s, %v", body, err)
	}
	one.ID = id
	if h.busy(one) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.add(one)
}

// busy refuses the very first message. It must come again as the same one, before any other.
func (h *hook) busy(one notice) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.refused == "":
		h.refused = one.ID
		return true
	case len(h.all) == 0 && h.refused != one.ID:
		h.t.Errorf("after the message %s, for which the receiver was too busy, came %s", h.refused, one.ID)
	}
	return false
}

// A mailbox is an SMTP server that takes mail by TLS from who knows the password.
type mailbox struct {
	notices
	url      string // for --notify
	password string
	secure   *tls.Config
}

func startMailbox(t testing.TB) *mailbox {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	t.Cleanup(certified.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, password := secretFile(t, "")
	m := &mailbox{notices: notices{t: t}, password: password, secure: &tls.Config{Certificates: certified.TLS.Certificates}}
	m.url = "smtp://zcache@" + l.Addr().String() + "?from=zcache@lab.example&to=ops@lab.example,night@lab.example&starttls=require&password-file=" +
		url.QueryEscape(file) + "&ca=" + url.QueryEscape(authority(t, certified))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				m.talk(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return m
}

// talk is the server's part of RFC 5321, 3207 and 4954.
func (m *mailbox) talk(conn net.Conn) {
	c := textproto.NewConn(conn)
	_ = c.PrintfLine("220 mail.lab.example")
	var known, safe bool
	var from string
	var to []string
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb = strings.ToUpper(verb); {
		case verb == "EHLO" && !safe:
			_ = c.PrintfLine("250-mail.lab.example\r\n250 STARTTLS")
		case verb == "EHLO":
			_ = c.PrintfLine("250-mail.lab.example\r\n250 AUTH PLAIN")
		case verb == "STARTTLS" && !safe:
			_ = c.PrintfLine("220 go on")
			c, safe = textproto.NewConn(tls.Server(conn, m.secure)), true
		case verb == "QUIT":
			_ = c.PrintfLine("221 bye")
			return
		case !safe:
			m.t.Errorf("mail: %s before STARTTLS", verb)
			_ = c.PrintfLine("530 STARTTLS first")
		case verb == "AUTH":
			if known = rest == "PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00zcache\x00"+m.password)); known {
				_ = c.PrintfLine("235 welcome")
			} else {
				_ = c.PrintfLine("535 no")
			}
		case !known:
			m.t.Errorf("mail: %s by somebody unknown", verb)
			_ = c.PrintfLine("530 log in first")
		case verb == "MAIL":
			from, to = rest, nil
			_ = c.PrintfLine("250 ok")
		case verb == "RCPT":
			to = append(to, rest)
			_ = c.PrintfLine("250 ok")
		case verb == "DATA":
			_ = c.PrintfLine("354 go on")
			text, err := c.ReadDotBytes()
			if err != nil {
				return
			}
			m.take(from, to, text)
			_ = c.PrintfLine("250 taken")
		default:
			_ = c.PrintfLine("500 what")
		}
	}
}

// take reads a mail as a program of its receivers would.
func (m *mailbox) take(from string, to []string, text []byte) {
	msg, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		m.t.Errorf("a mail cannot be read: %v\n%s", err, text)
		return
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	body, berr := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil || berr != nil {
		m.t.Errorf("a mail cannot be read: %v, %v\n%s", err, berr, text)
	}
	if from != "FROM:<zcache@lab.example>" && !strings.HasPrefix(from, "FROM:<zcache@lab.example> ") || fmt.Sprint(to) != "[TO:<ops@lab.example> TO:<night@lab.example>]" {
		m.t.Errorf("a mail %s to %v", from, to)
	}
	all, err := msg.Header.AddressList("To")
	date, derr := msg.Header.Date()
	if err != nil || len(all) != 2 || derr != nil || time.Since(date).Abs() > time.Minute || msg.Header.Get("Message-Id") == "" || msg.Header.Get("Auto-Submitted") != "auto-generated" {
		m.t.Errorf("a mail has the head %v, %v, %v", msg.Header, err, derr)
	}
	for line := range strings.Lines(string(text)) {
		if len(line) > 1000 {
			m.t.Errorf("a line of a mail has %d bytes, want no more than 998", len(line))
		}
	}
	one := notice{ID: msg.Header.Get("Message-Id")}
	one.Type, one.Data.Subject, _ = strings.Cut(strings.TrimPrefix(subject, "[zcache] "), ": ")
	one.Data.Text = string(body)
	m.add(one)
}
