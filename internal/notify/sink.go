package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// ErrBadSink says that a URL names no Sink.
var ErrBadSink = errors.New("bad notify URL")

// A Sink brings a message to somebody. Send is not called concurrently. String shows where to, and no secret.
type Sink interface {
	Send(ctx context.Context, m Message) error
	String() string
}

// ParseSink reads the URL of a Sink:
//
//	https://host/path?query#secret-file=FILE         a webhook; all before the # goes to the receiver
//	smtp://user@host:587?from=A&to=B,C&password-file=FILE   mail, STARTTLS if it is there (starttls=require|never|auto)
//	smtps://…                                        mail, TLS from the beginning
//	exec:///path/of/command?arg=A&arg=B              a command, without a shell
//
// All take kinds=K,K (others are not sent), and those that speak TLS take ca=FILE (PEM) instead of the system's roots. A secret may stand in the
// URL too, as secret=… or user:password@, where other users of the machine do not see it.
func ParseSink(raw string) (Sink, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's own words repeat what it was given.
		return nil, fmt.Errorf("%w: it cannot be read; what is special in a user or password must be written as %%XX", ErrBadSink)
	}
	var s Sink
	switch u.Scheme {
	case "http", "https":
		s, err = parseWebhook(u)
	case "smtp", "smtps":
		s, err = parseMail(u)
	case "exec":
		s, err = parseCommand(u)
	default:
		err = errors.New("it must begin with https://, http://, smtp://, smtps:// or exec:///")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSink, err)
	}
	return s, nil
}

// options are the parameters of a URL that are for us. Each is to be taken; one that nobody takes is a mistake.
type options struct {
	values url.Values
	err    error
}

func (o *options) take(name string) string {
	list := o.takeAll(name)
	if len(list) > 1 {
		o.fail(fmt.Errorf("%s is given %d times", name, len(list)))
	}
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (o *options) takeAll(name string) []string {
	list := o.values[name]
	delete(o.values, name)
	return list
}

func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// kinds reads which kinds are wanted; nil = all.
func (o *options) kinds() []Kind {
	text := o.take("kinds")
	if text == "" {
		return nil
	}
	var out []Kind
	for word := range strings.SplitSeq(text, ",") {
		k := Kind(strings.TrimSpace(word))
		if !slices.Contains(kinds, k) {
			o.fail(fmt.Errorf("there is no kind %q", k))
		}
		out = append(out, k)
	}
	return out
}

// secret takes a secret that stands in the URL under name or in a file.
func (o *options) secret(name string) string {
	plain, file := o.take(name), o.take(name+"-file")
	switch {
	case plain != "" && file != "":
		o.fail(fmt.Errorf("%s and %s-file are both given", name, name))
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			o.fail(fmt.Errorf("%s-file: %w", name, err))
		}
		return strings.TrimSpace(string(b))
	}
	return plain
}

// roots reads the file of ca, nil without one.
func (o *options) roots() *x509.CertPool {
	file := o.take("ca")
	if file == "" {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		o.fail(fmt.Errorf("ca: %w", err))
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		o.fail(fmt.Errorf("ca: %s holds no certificate", file))
	}
	return pool
}

func (o *options) tls(host string) *tls.Config {
	return &tls.Config{ServerName: host, RootCAs: o.roots(), MinVersion: tls.VersionTLS12}
}

// end returns the first mistake.
func (o *options) end() error {
	for name := range o.values {
		o.fail(fmt.Errorf("there is no parameter %q", name))
	}
	return o.err
}

func readOptions(text string) *options {
	values, err := url.ParseQuery(text)
	o := &options{values: values}
	if err != nil {
		o.err = errors.New("its parameters cannot be read")
	}
	return o
}
