package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"zcache/internal/auth"
	"zcache/internal/fill"
	"zcache/internal/limit"
)

// exchange is what is known of a request for its log line and metrics.
type exchange struct {
	id     string
	start  time.Time
	head   time.Duration // from start to when the answer was known
	class  string
	host   string // as asked for, without port
	client auth.Client
	// credential is the line by which the client is known, if it is; inside says that it is known by the tunnel that the request came through.
	credential string
	inside     bool
	view       auth.View  // what the client may read, once that was looked at
	at         auth.Place // that is asked for, likewise
	unseen     error      // of a directory that is seen in part: why the client gets nothing but our listing of it
	way        bool       // what is asked for without a slash leads to what may be read
	learned    bool       // what is asked for is a file that an index named which the client may read
	hub        *Hub
	named      string          // the host of the whole URL that is asked for; empty for a path of ours
	lease      *limit.Lease    // nil when nothing limits the client
	pace       func(int) error // waits until so many bytes may be sent; nil when none are counted
	sieve      *sieve          // of rules that want to know the answer; nil without
	outcome    fill.Outcome
	subtree    []string // the digests that the client knows of what it asks for
	url        string
	form       form
	path       string // for the log, where the request's own may not be shown
	status     int
	asked      string // the path as it came
	connect    bool
	open       bool // only the end of the connection ends the body
	sent       int64
	// received is what came from the client through a tunnel.
	received int64
	err      error
}

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
