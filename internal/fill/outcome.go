package fill

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// What X-Cache says.
const (
	Hit         = "HIT"
	Miss        = "MISS"
	Revalidated = "REVALIDATED"
	Stale       = "STALE"
	Updating    = "UPDATING"
	Bypass      = "BYPASS"
	Offline     = "OFFLINE"
	Coalesced   = "HIT-COALESCED"
)

// An Outcome tells how an answer came about, in the words of RFC 9211.
type Outcome struct {
	Cache     string // for X-Cache: HIT, MISS …
	Hit       bool
	TTL       time.Duration // of a hit: lifetime left, negative when stale
	Fwd       string        // why the origin was asked: uri-miss, vary-miss, stale, request, method, bypass, partial; "" = it was not
	FwdStatus int           // what it answered
	Stored    bool
	Collapsed bool
	Detail    string // a token
}

// CacheStatus is the member that this cache adds to Cache-Status.
func (o Outcome) CacheStatus() string {
	var b strings.Builder
	b.WriteString("zcache")
	if o.Hit {
		b.WriteString("; hit; ttl=")
		b.WriteString(strconv.FormatInt(int64(o.TTL/time.Second), 10))
	}
	if o.Fwd != "" {
		b.WriteString("; fwd=")
		b.WriteString(o.Fwd)
		if o.FwdStatus != 0 {
			b.WriteString("; fwd-status=")
			b.WriteString(strconv.Itoa(o.FwdStatus))
		}
	}
	if o.Stored {
		b.WriteString("; stored")
	}
	if o.Collapsed {
		b.WriteString("; collapsed")
	}
	if o.Detail != "" {
		b.WriteString("; detail=")
		b.WriteString(o.Detail)
	}
	return b.String()
}

// String is the outcome's one word for logs and metrics.
func (o Outcome) String() string {
	switch {
	case o.Hit:
		return "hit"
	case o.Collapsed:
		return "collapsed"
	case o.Fwd != "":
		return o.Fwd
	}
	return "none"
}

// errSlow says that the origin did not start answering in time.
var errSlow = errors.New("origin is slow")

func detail(err error) string {
	var s interface{ ProxyStatus() string }
	switch {
	case errors.Is(err, errSlow):
		return "slow"
	case errors.As(err, &s):
		return s.ProxyStatus()
	}
	return "error"
}
