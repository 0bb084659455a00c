package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// A post is an SMTP server that speaks as much of RFC 5321 as a sender can see.
type post struct {
	t        *testing.T
	listener net.Listener
	secure   *tls.Config
	implicit bool
	starttls bool
	refuse   map[string]string // answers by the beginning of a command

	mu       sync.Mutex
	commands []string // with "TLS " before what came by TLS
	mails    []string // as they came, without the dots that were stuffed
}

func newPost(t *testing.T, change func(*post)) *post {
	https := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(https.Close)
	p := &post{t: t, secure: &tls.Config{Certificates: https.TLS.Certificates}, starttls: true}
	if change != nil {
		change(p)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if p.implicit {
		l = tls.NewListener(l, p.secure)
	}
	p.listener = l
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return p
}

func (p *post) serve(c net.Conn) {
	defer func() { c.Close() }()
	r := bufio.NewReader(c)
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	_, safe := c.(*tls.Conn)
	say("220 post.example ready")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.note(line, safe)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		if answer := p.refusal(line); answer != "" {
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-post.example")
			if p.starttls && !safe {
				say("250-STARTTLS")
			}
			say("250-AUTH PLAIN")
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			c = tls.Server(c, p.secure)
			r, safe = bufio.NewReader(c), true
		case "AUTH":
			say("235 welcome")
		case "DATA":
			say("354 go on")
			if !p.read(r) {
				return
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (p *post) note(line string, safe bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if safe {
		line = "TLS " + line
	}
	p.commands = append(p.commands, line)
}

func (p *post) refusal(line string) string {
	for start, answer := range p.refuse {
		if strings.HasPrefix(line, start) {
			return answer
		}
	}
	return ""
}

// read takes the text of a mail. A line that does not end as RFC 5321 wants it is told of.
func (p *post) read(r *bufio.Reader) bool {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) > 1000 {
			p.t.Errorf("a line of the mail is %q, want it to end in CR LF and be at most 1000 long", line)
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, text.String())
	return true
}

func (p *post) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.commands, "\n")
}

func (p *post) url(scheme, user, query string) string {
	return scheme + "://" + user + p.listener.Addr().String() + "?from=zcache@lab.example&to=ops@lab.example,Night%20Shift%20%3Cnight@lab.example%3E" + query
}

func (p *post) trusted(t *testing.T) string {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	return "&ca=" + authority(t, https)
}

func TestMailOverEachKindOfConnection(t *testing.T) {
	login := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00me\x00p:w"))
	for _, row := range []struct {
		claim        string
		change       func(*post)
		scheme, user string
		query        string
		trusted      bool
		want, never  []string // commands
	}{
		{"plain", func(p *post) { p.starttls = false }, "smtp", "", "", false, []string{"EHLO ", "MAIL FROM:<zcache@lab.example>", "RCPT TO:<night@lab.example>"}, []string{"AUTH", "STARTTLS"}},
		{"STARTTLS because it is there", nil, "smtp", "", "", true, []string{"STARTTLS", "TLS EHLO ", "TLS MAIL FROM:<zcache@lab.example>"}, []string{"\nMAIL"}},
		{"not, if it is not wanted", nil, "smtp", "", "&starttls=never", false, []string{"MAIL"}, []string{"STARTTLS"}},
		{"required, with a login", nil, "smtp", "me:p%3Aw@", "&starttls=require", true, []string{"TLS " + login}, []string{"\nAUTH", "\nMAIL"}},
		{"TLS from the beginning", func(p *post) { p.implicit = true }, "smtps", "me:p%3Aw@", "", true, []string{"TLS EHLO ", "TLS " + login}, []string{"STARTTLS"}},
	} {
		t.Run(row.claim, func(t *testing.T) {
			p := newPost(t, row.change)
			query := row.query
			if row.trusted {
				query += p.trusted(t)
			}
			if err := parse(t, p.url(row.scheme, row.user, query)).Send(t.Context(), sample()); err != nil {
				t.Fatalf("Send = %v; the server heard\n%s", err, p.log())
			}
			for _, want := range row.want {
				if !strings.Contains("\n"+p.log(), "\n"+want) {
					t.Errorf("the server heard\n%s\nwant %q", p.log(), want)
				}
			}
			for _, never := range row.never {
				if strings.Contains("\n"+p.log(), never) {
					t.Errorf("the server heard\n%s\nwant no %q", p.log(), never)
				}
			}
			if len(p.mails) != 1 {
				t.Errorf("%d mails, want 1", len(p.mails))
			}
		})
	}
}

func TestAMailIsOneMail(t *testing.T) {
	p := newPost(t, nil)
	m := sample()
	m.Event = Event{
		Kind: ContentChanged, Subject: "https://a.example/über\r\nBcc: all@example.org\r\n\r\n.\r\nQUIT", Text: ".\n.dot " + strings.Repeat("long ", 300) + "= 100 %",
		Fields: map[string]string{"was": "..", "is": "ünicode"},
	}.clean()
	if err := parse(t, p.url("smtp", "", p.trusted(t))).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(p.mails[0]))
	if err != nil {
		t.Fatalf("the mail cannot be read: %v\n%s", err, p.mails[0])
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if want := "[zcache] content-changed: https://a.example/über  Bcc: all@example.org    .  QUIT"; err != nil || subject != want {
		t.Errorf("Subject = %q (%v), want %q", subject, err, want)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	for _, want := range []string{"\r\n. .dot long long", "long = 100 %\r\n", "was: ..\r\n", "is: ünicode\r\n", "7 times more", "lab, "} {
		if err != nil || !strings.Contains("\r\n"+string(body), want) {
			t.Errorf("the text is %q (%v), want %q in it", body, err, want)
		}
	}
	if to, err := got.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Name != "Night Shift" {
		t.Errorf("To = %v (%v), want both receivers", to, err)
	}
	if at, err := got.Header.Date(); err != nil || at.Unix() != m.At.Unix() {
		t.Errorf("Date = %v (%v), want %v", at, err, m.At)
	}
	if id := got.Header.Get("Message-Id"); !strings.HasPrefix(id, "<"+m.ID+"@") || got.Header.Get("Bcc") != "" || got.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("the head is %v, want the message's id, the mark of a machine, and nothing from the subject", got.Header)
	}
}

func TestMailThatCannotBeSent(t *testing.T) {
	for _, row := range []struct {
		claim     string
		change    func(*post)
		user      string
		query     string
		trusted   bool
		permanent bool
		mails     int
		want      string
	}{
		{"a receiver that is full for now", func(p *post) { p.refuse = map[string]string{"RCPT": "452 full"} }, "", "", true, false, 0, `452 "full"`},
		{"receivers that are not", func(p *post) { p.refuse = map[string]string{"RCPT": "550 no such user"} }, "", "", true, true, 0, `550 "no such user"`},
		{"receivers of whom one may be there later", func(p *post) {
			p.refuse = map[string]string{"RCPT TO:<ops": "450 later", "RCPT TO:<night": "550 never"}
		}, "", "", true, false, 0, "450"},
		{"one of two receivers", func(p *post) { p.refuse = map[string]string{"RCPT TO:<night": "450 later"} }, "", "", true, true, 1, "1 of 2"},
		{"a sender that is refused", func(p *post) { p.refuse = map[string]string{"MAIL": "553 no"} }, "", "", true, true, 0, `553 "no"`},
		{"a text that is refused", func(p *post) { p.refuse = map[string]string{"DATA": "451 busy"} }, "", "", true, false, 0, `451 "busy"`},
		{"a login that is refused", func(p *post) { p.refuse = map[string]string{"AUTH": "535 who?"} }, "me:pw@", "", true, true, 0, `535 "who?"`},
		{"no STARTTLS where it is required", func(p *post) { p.starttls = false }, "", "&starttls=require", true, false, 0, "offers no STARTTLS"},
		{"a certificate of somebody else", nil, "", "", false, false, 0, "certificate"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			p := newPost(t, row.change)
			query := row.query
			if row.trusted {
				query += p.trusted(t)
			}
			err := parse(t, p.url("smtp", row.user, query)).Send(t.Context(), sample())
			if err == nil || errors.Is(err, errPermanent) != row.permanent || !strings.Contains(err.Error(), row.want) || len(p.mails) != row.mails {
				t.Errorf("Send = %v, permanent %v, with %d mails; want %q, permanent %v, %d", err, errors.Is(err, errPermanent), len(p.mails), row.want, row.permanent, row.mails)
			}
		})
	}
}

func TestAPasswordNeverGoesInTheClear(t *testing.T) {
	p := newPost(t, func(p *post) { p.starttls = false })
	m := parse(t, p.url("smtp", "me:pw@", "")).(*mailer)
	m.host = "mail.example" // the server is on this machine, where it may
	if err := m.Send(t.Context(), sample()); err == nil || strings.Contains(p.log(), "AUTH") {
		t.Errorf("Send = %v, and the server heard\n%s\nwant an error and no AUTH", err, p.log())
	}
}

func TestAServerThatSaysNothingIsLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, raw := range []string{"smtp://" + l.Addr().String() + "?to=a@example.org", "smtps://" + l.Addr().String() + "?to=a@example.org", "http://" + l.Addr().String()} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := parse(t, raw).Send(ctx, sample()); err == nil {
			t.Errorf("Send to %s that says nothing = nil, want an error", raw)
		}
		cancel()
	}
}
