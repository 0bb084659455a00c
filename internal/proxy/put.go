package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

var (
	errDirectory = errors.New("a directory cannot be put or deleted")
	errPart      = errors.New("Content-Range is not for PUT (RFC 9110 section 14.4)")
	errCoded     = errors.New("body has a Content-Encoding")
)

// allowedToKeep are the methods of a hub that takes local originals.
const allowedToKeep = "GET, HEAD, OPTIONS, PUT, DELETE"

// allowedAt are the methods that can be used where a request was for.
func allowedAt(x *exchange) string {
	if x.hub != nil && x.hub.Writable && x.form == gatewayForm {
		return allowedToKeep
	}
	return allowed
}

// local says of an error that no upstream had a part in it.
func local(err error) bool {
	return errors.Is(err, cache.ErrNoSpace) || errors.Is(err, cache.ErrReadOnly) || errors.Is(err, fill.ErrNoOriginals)
}

// uploadIdle is how long a client may send nothing of a body that it puts.
const uploadIdle = time.Minute

// An upload is the body of a PUT. Each read has its own deadline, so that whoever stops sending holds no draft for ever.
type upload struct {
	io.Reader
	rc *http.ResponseController
}

func (u *upload) Read(p []byte) (int, error) {
	if err := u.rc.SetReadDeadline(time.Now().Add(uploadIdle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return u.Reader.Read(p)
}

// change answers an unsafe request to a hub that takes local originals: nothing of it reaches the upstream, which would not know what clients find here.
// That the client may write there is known. Only a body that is read makes the server send 100 (Continue), so all that its fields tell is looked at before.
func (g *Gateway) change(w http.ResponseWriter, r *http.Request, x *exchange, to place) error {
	x.outcome, x.class = fill.Outcome{Detail: "original"}, g.class(to.key)
	switch {
	case r.Method != http.MethodPut && r.Method != http.MethodDelete:
		return errMethod
	case to.key.IsDir():
		return errDirectory
	case r.Method == http.MethodDelete:
		if err := g.cfg.Filler.Delete(to.key, r.Header); err != nil {
			return err
		}
		g.changed(w, x, http.StatusNoContent)
		return nil
	}
	return g.put(w, r, x, to)
}

// put keeps a client's body as a local original.
func (g *Gateway) put(w http.ResponseWriter, r *http.Request, x *exchange, to place) error {
	if len(r.Header["Content-Range"]) > 0 {
		return errPart
	}
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && coding != "identity" {
			w.Header()["Accept-Encoding"] = []string{"identity"}
			return fmt.Errorf("%w: %.60q", errCoded, coding)
		}
	}
	rc := http.NewResponseController(w)
	got, err := g.cfg.Filler.Put(r.Context(), &fill.PutRequest{Key: to.key, Header: r.Header, Body: &upload{r.Body, rc}, Length: r.ContentLength})
	if derr := rc.SetReadDeadline(time.Time{}); derr != nil && !errors.Is(derr, http.ErrNotSupported) && err == nil {
		g.log.Debug("connection ended after its PUT", "key", to.key.String(), "error", derr)
	}
	if err != nil {
		return err
	}
	x.outcome.Stored = true
	h := w.Header()
	h["Etag"] = []string{got.Meta.ETag()}
	h["Last-Modified"] = []string{got.Meta.LastModified()}
	h["Location"] = []string{to.shown(to.key)}
	status := http.StatusNoContent
	if got.Created {
		status = http.StatusCreated
		h["Content-Length"] = []string{"0"}
	}
	g.changed(w, x, status)
	return nil
}

// changed answers with a status and no body.
func (g *Gateway) changed(w http.ResponseWriter, x *exchange, status int) {
	x.head = g.cfg.Now().Sub(x.start)
	x.status = status
	g.stamp(w.Header(), x)
	w.WriteHeader(status)
}
