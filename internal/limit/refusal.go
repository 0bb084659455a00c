package limit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
)

// ErrRefused is what every Refusal is.
var ErrRefused = errors.New("refused")

// The problem types (RFC 9457) of draft-ietf-httpapi-ratelimit-headers-10, section 5.
const (
	quotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
	abnormalUsage   = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
)

// A scope says whose limit it is.
type scope uint8

const (
	ofClient scope = iota
	ofClientAtHub
	ofHub
)

func (s scope) String() string { return [...]string{"client", "client-hub", "hub"}[s] }

func (s scope) who() string {
	return [...]string{"this client", "this client at this hub", "this hub"}[s]
}

// A kind says what is limited.
type kind uint8

const (
	kindRate kind = iota
	kindActive
	kindDaily
	kindMisses
	kindUpstream
)

func (k kind) String() string {
	return [...]string{"requests", "concurrent", "daily-bytes", "misses", "upstream"}[k]
}

// A Refusal is a request that may not be served now. It is an error that Is ErrRefused.
type Refusal struct {
	Status int           // 429; 503 where it is not the client that has taken too much
	Policy string        // the name of the limit, as in the RateLimit field
	Type   string        // the URI of the problem type
	Detail string        // a sentence for people
	After  time.Duration // when to come again, in whole seconds
	quota  int64
	unit   string // of the quota; empty = requests
	window int64  // seconds; 0 = none
	reset  bool   // at After there is more
}

func (r *Refusal) Error() string { return r.Detail }

// Is makes a Refusal an ErrRefused.
func (r *Refusal) Is(err error) bool { return err == ErrRefused }

// Fields sets Retry-After, RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10). Retry-After is never before the time that
// RateLimit names. A partition key is not sent: it would tell others behind the same address how clients are told apart.
func (r *Refusal) Fields(h http.Header) {
	after := int64(r.After / time.Second)
	h["Retry-After"] = []string{strconv.FormatInt(after, 10)}
	policy, limit := httpsfv.NewItem(r.Policy), httpsfv.NewItem(r.Policy)
	policy.Params.Add("q", min(r.quota, 999_999_999_999_999)) // the largest integer of a structured field
	if r.unit != "" {
		policy.Params.Add("qu", r.unit)
	}
	if r.window > 0 {
		policy.Params.Add("w", r.window)
	}
	limit.Params.Add("r", int64(0))
	if r.reset {
		limit.Params.Add("t", after)
	}
	for name, item := range map[string]httpsfv.Item{"Ratelimit-Policy": policy, "Ratelimit": limit} {
		if text, err := httpsfv.Marshal(httpsfv.List{item}); err == nil {
			h[name] = []string{text}
		}
	}
}

// refuse makes the Refusal of a limit. After d there is more; 0 means that nobody knows when.
func refuse(s scope, k kind, l Limits, d time.Duration) *Refusal {
	r := &Refusal{Status: http.StatusTooManyRequests, Policy: s.String() + "-" + k.String(), Type: quotaExceeded, After: seconds(d), reset: d > 0}
	switch k {
	case kindRate:
		r.quota = int64(l.burst())
		r.window = max(1, int64(seconds(time.Duration(l.burst()/l.Rate*1e9))/time.Second))
		r.Detail = fmt.Sprintf("%s may ask %g times a second, %d times at once", s.who(), l.Rate, r.quota)
	case kindActive:
		r.quota, r.unit = int64(l.Requests), "concurrent-requests"
		r.After = unknownWait
		r.Detail = fmt.Sprintf("%s may have %d requests under way at a time", s.who(), l.Requests)
	case kindDaily:
		r.quota, r.unit, r.window = l.Daily, "content-bytes", day
		r.After += time.Duration(rand.Int64N(60)) * time.Second // or all of them would be back at the stroke of midnight
		r.Detail = fmt.Sprintf("%s has had its %d bytes of this UTC day", s.who(), l.Daily)
	case kindMisses:
		r.quota, r.window, r.Type = int64(l.Misses), 60, abnormalUsage
		r.Detail = fmt.Sprintf("%s has asked for more than %d files a minute that are not there", s.who(), l.Misses)
	}
	return r
}

// unknownWait is when to come again where only the end of other requests makes room.
const unknownWait = 5 * time.Second

// busy is the Refusal of a Gate.
func busy(trips int, detail string) *Refusal {
	return &Refusal{
		Status: http.StatusServiceUnavailable, Policy: ofHub.String() + "-" + kindUpstream.String(), Type: reducedCapacity, After: unknownWait,
		Detail: detail, quota: int64(trips), unit: "concurrent-requests",
	}
}

// seconds rounds up, for a client that comes a moment too early is refused again.
func seconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
