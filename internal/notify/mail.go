package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// How TLS is come by.
const (
	tlsAuto    = "auto" // if it is offered
	tlsRequire = "require"
	tlsNever   = "never"
)

// A mailer sends messages by SMTP (RFC 5321).
type mailer struct {
	address  string // host:port
	host     string
	implicit bool // TLS from the beginning
	starttls string
	secure   *tls.Config
	user     string
	password string
	from     *mail.Address
	to       []*mail.Address
	hello    string
	kinds    []Kind
}

func parseMail(u *url.URL) (*mailer, error) {
	o := readOptions(u.RawQuery)
	m := &mailer{host: u.Hostname(), implicit: u.Scheme == "smtps", kinds: o.kinds(), hello: hostName()}
	port := map[bool]string{true: "465", false: "25"}[m.implicit]
	m.address = net.JoinHostPort(m.host, cmp.Or(u.Port(), port))
	m.secure = o.tls(m.host)
	m.user = u.User.Username()
	m.password, _ = u.User.Password()
	if file := o.secret("password"); file != "" {
		m.password = file
	}
	m.starttls = cmp.Or(o.take("starttls"), tlsAuto)
	switch {
	case m.host == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		o.fail(errors.New("it must have a host, and no path"))
	case !slices.Contains([]string{tlsAuto, tlsRequire, tlsNever}, m.starttls):
		o.fail(errors.New("starttls must be auto, require or never"))
	case (m.user == "") != (m.password == ""):
		o.fail(errors.New("user and password come together"))
	}
	var err error
	if m.from, err = mail.ParseAddress(cmp.Or(o.take("from"), "zcache@"+m.hello)); err != nil {
		o.fail(fmt.Errorf("from: %w", err))
	}
	if m.to, err = mail.ParseAddressList(o.take("to")); err != nil {
		o.fail(fmt.Errorf("to: %w", err))
	}
	for _, a := range append([]*mail.Address{m.from}, m.to...) {
		if a != nil && strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
			o.fail(errors.New("an address is not in plain ASCII"))
		}
	}
	return m, o.end()
}

// hostName is how this machine calls itself in SMTP and in Message-IDs.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>()@,;:\\\"[]", r) }) {
		return "localhost"
	}
	return name
}

func (m *mailer) Kinds() []Kind { return m.kinds }

func (m *mailer) String() string {
	scheme := "smtp://"
	if m.implicit {
		scheme = "smtps://"
	}
	return scheme + m.address
}

// Send sends a mail. It is sent when one receiver is accepted; those that are not are then told of, and not tried again, for the others would have
// it twice.
func (m *mailer) Send(ctx context.Context, msg Message) error {
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		conn.Close()
		return verdict("greeting", err)
	}
	defer c.Close()
	if err := m.prepare(c); err != nil {
		return err
	}
	if err := c.Mail(m.from.Address); err != nil {
		return verdict("sender", err)
	}
	var refused error
	accepted := 0
	for _, to := range m.to {
		if err := c.Rcpt(to.Address); err != nil {
			// Of several refusals the one that may pass counts: then it is worth to try again.
			if err = verdict("receiver "+to.Address, err); refused == nil || !errors.Is(err, errPermanent) {
				refused = err
			}
			continue
		}
		accepted++
	}
	if accepted == 0 {
		return refused
	}
	w, err := c.Data()
	if err != nil {
		return verdict("data", err)
	}
	if _, err = w.Write(m.compose(msg)); err == nil {
		err = w.Close()
	}
	if err != nil {
		return verdict("text", err)
	}
	c.Quit() // the mail is the server's now, whatever it answers
	if refused != nil {
		return fmt.Errorf("sent to %d of %d receivers: %w: %w", accepted, len(m.to), errPermanent, refused)
	}
	return nil
}

func (m *mailer) dial(ctx context.Context) (net.Conn, error) {
	if m.implicit {
		return (&tls.Dialer{Config: m.secure}).DialContext(ctx, "tcp", m.address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", m.address)
}

// prepare greets, turns TLS on and logs in. A password is never sent in the clear, but to this machine (see smtp.PlainAuth).
func (m *mailer) prepare(c *smtp.Client) error {
	if err := c.Hello(m.hello); err != nil {
		return verdict("hello", err)
	}
	if !m.implicit && m.starttls != tlsNever {
		offered, _ := c.Extension("STARTTLS")
		switch {
		case offered:
			if err := c.StartTLS(m.secure); err != nil {
				return verdict("starttls", err)
			}
		case m.starttls == tlsRequire:
			return errors.New("the server offers no STARTTLS, which is required")
		}
	}
	if m.user == "" {
		return nil
	}
	if err := c.Auth(smtp.PlainAuth("", m.user, m.password, m.host)); err != nil {
		return verdict("login", err)
	}
	return nil
}

// verdict says that an answer of 5xx is for good (RFC 5321, section 4.2.1).
func verdict(step string, err error) error {
	if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code >= 500 {
		return fmt.Errorf("%s: %w: %w", step, err, errPermanent)
	}
	return fmt.Errorf("%s: %w", step, err)
}

// compose writes the mail: plain text in quoted-printable (RFC 2045), so that no line of it is a header, too long or not ASCII. What a line
// that begins with a dot needs, the writer of net/smtp adds.
func (m *mailer) compose(msg Message) []byte {
	var b bytes.Buffer
	to := make([]string, len(m.to))
	for i, a := range m.to {
		to[i] = a.String()
	}
	subject := cleanText(fmt.Sprintf("[zcache] %s: %s", msg.Kind, msg.Subject), 200)
	for _, line := range [][2]string{
		{"From", m.from.String()}, {"To", strings.Join(to, ",\r\n ")}, {"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Date", msg.At.Format(time.RFC1123Z)}, {"Message-ID", "<" + msg.ID + "@" + m.hello + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's holiday is to answer
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(line[0] + ": " + line[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	fmt.Fprintf(q, "%s\r\n\r\n%s\r\n\r\n", msg.Subject, msg.Text)
	for _, name := range slices.Sorted(maps.Keys(msg.Fields)) {
		fmt.Fprintf(q, "%s: %s\r\n", name, msg.Fields[name])
	}
	if msg.Again > 0 {
		fmt.Fprintf(q, "It has happened %d times more since it was last told.\r\n", msg.Again)
	}
	fmt.Fprintf(q, "%s, %s\r\n", cmp.Or(msg.Instance, m.hello), msg.At.UTC().Format(time.RFC3339))
	q.Close()
	return b.Bytes()
}
