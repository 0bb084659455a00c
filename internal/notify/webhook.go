package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// shortestSecret is what a shared secret must have at least, in bytes. The specification makes new ones of 24 to 64; what is shorter than this was
// thought of by a person.
const shortestSecret = 16

// A webhook posts messages as JSON, signed as Standard Webhooks (standardwebhooks.com) say: HMAC-SHA256 over "id.timestamp.body".
type webhook struct {
	target *url.URL
	client *http.Client
	keys   [][]byte // each signs; two while a secret is changed
	kinds  []Kind
}

func parseWebhook(u *url.URL) (*webhook, error) {
	if u.Hostname() == "" {
		return nil, errors.New("it has no host")
	}
	o := readOptions(u.EscapedFragment())
	w := &webhook{kinds: o.kinds()}
	for line := range strings.FieldsSeq(o.secret("secret")) {
		key, err := readKey(line)
		if err != nil {
			o.fail(err)
		}
		w.keys = append(w.keys, key)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.tls(u.Hostname())
	transport.MaxIdleConns = 1
	transport.IdleConnTimeout = time.Minute
	w.client = &http.Client{
		Transport: transport,
		// A redirect would have to be signed for another place than the operator has named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	target := *u
	target.Fragment, target.RawFragment = "", ""
	w.target = &target
	return w, o.end()
}

func readKey(text string) ([]byte, error) {
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("what follows whsec_ in the secret is no base64")
		}
	}
	if len(key) < shortestSecret {
		return nil, fmt.Errorf("the secret must have at least %d bytes", shortestSecret)
	}
	return key, nil
}

func (w *webhook) Kinds() []Kind { return w.kinds }

// String leaves out path and query: with many services they are the secret.
func (w *webhook) String() string { return w.target.Scheme + "://" + w.target.Host + "/…" }

// payload is the body, in the shape that the specification proposes.
type payload struct {
	Type      Kind        `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      payloadData `json:"data"`
}

type payloadData struct {
	Subject  string            `json:"subject"`
	Text     string            `json:"text"`
	Fields   map[string]string `json:"fields,omitempty"`
	Again    int               `json:"again,omitempty"`
	Instance string            `json:"instance,omitempty"`
}

func encode(m Message) ([]byte, error) {
	return json.Marshal(payload{m.Kind, m.At.UTC(), payloadData{m.Subject, m.Text, m.Fields, m.Again, m.Instance}})
}

// Send posts a message. A status of 2xx is a success; 410 says that no more are wanted.
func (w *webhook) Send(ctx context.Context, m Message) error {
	body, err := encode(m)
	if err != nil {
		return fmt.Errorf("%w: %w", errPermanent, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: the request cannot be made", errPermanent)
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "zcache")
	req.Header.Set("Webhook-Id", m.ID)
	req.Header.Set("Webhook-Timestamp", now)
	if len(w.keys) > 0 {
		req.Header.Set("Webhook-Signature", w.sign(m.ID, now, body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // it names the URL
		}
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	return judge(resp)
}

func (w *webhook) sign(id, now string, body []byte) string {
	signatures := make([]string, len(w.keys))
	for i, key := range w.keys {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, id+"."+now+".")
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}

// judge says what a status means for the message.
func judge(resp *http.Response) error {
	err := fmt.Errorf("the receiver answered %d", resp.StatusCode)
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusGone:
		return fmt.Errorf("%w: %w", err, errGone)
	case s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s == http.StatusTooEarly:
		if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && seconds > 0 {
			return retryLater{err, time.Duration(min(seconds, 86400)) * time.Second}
		}
		return err
	}
	return fmt.Errorf("%w: %w", err, errPermanent)
}
