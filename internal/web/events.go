package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"zcache/internal/mirror"
)

const (
	// maxStreams bounds the streams of events that are open at a time: each holds a connection and a subscription for as long as it likes.
	maxStreams = 64
	// keepAlive is how long a stream is silent at most. Proxies between commonly cut what was silent for half a minute or a minute.
	keepAlive = 15 * time.Second
	// writeTime is how long a client may take no byte of its stream before it is given up.
	writeTime = 30 * time.Second
	// endTime is how long a client may hold up the end of its stream when this instance stops.
	endTime = time.Second
)

// events streams what happens to the subtrees as server-sent events: first what is now, an event "mirror" for each, then each change as it comes. The
// data is that of /-/mirror for one subtree.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Mirror == nil {
		return &failure{http.StatusNotFound, "no_store", errNoStore.Error()}
	}
	h := w.Header()
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		h.Set("Retry-After", "15")
		return &failure{http.StatusServiceUnavailable, "busy", "too many streams of events are open"}
	}
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would gather events until its buffer is full
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.streaming, cancel)()
	st := &stream{rc: http.NewResponseController(w), w: w, id: &s.eventID}
	// A client that takes nothing would hold a write, and with it the end of this instance, until writeTime is over.
	hurried := make(chan struct{})
	hurry := context.AfterFunc(ctx, func() {
		defer close(hurried)
		st.rc.SetWriteDeadline(time.Now().Add(endTime))
	})
	err := st.follow(ctx, s.cfg.Mirror)
	switch {
	case !hurry():
		<-hurried // no deadline may be set when this request is over
	case err == nil:
		st.rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	}
	return nil // the answer has begun: there is nobody to tell of an error
}

// EndStreams ends the streams of events, those to come as well, and leaves all else: they would hold up a drain for as long as it lasts.
func (s *Server) EndStreams() { s.endStreams() }

// A stream writes server-sent events.
type stream struct {
	rc  *http.ResponseController
	w   http.ResponseWriter
	id  interface{ Add(uint64) uint64 } // of the last event of any stream
	buf bytes.Buffer
}

// follow writes until ctx ends, m has nothing more to tell, or the client takes no more.
func (st *stream) follow(ctx context.Context, m Mirror) error {
	// Subscribed first, a change that comes while the present state is written is told after it: once too often rather than never.
	events := m.Events(ctx)
	st.buf.WriteString("retry: 3000\n\n") // milliseconds until a browser comes again
	for _, status := range m.Status() {
		if err := st.put("mirror", status); err != nil {
			return err
		}
	}
	silence := time.NewTicker(keepAlive)
	defer silence.Stop()
	for {
		if err := st.send(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if err := st.put(e.Kind, e.Status); err != nil {
				return err
			}
			silence.Reset(keepAlive)
		case <-silence.C:
			st.buf.WriteString(": still here\n\n")
		}
	}
}

// put adds an event to what is sent next.
func (st *stream) put(kind string, status mirror.Status) error {
	data, err := json.Marshal(viewOf(status)) // on one line: JSON has no raw line break
	if err != nil {
		return err
	}
	st.buf.WriteString("id: " + strconv.FormatUint(st.id.Add(1), 10) + "\nevent: " + kind + "\ndata: ")
	st.buf.Write(data)
	st.buf.WriteString("\n\n")
	return nil
}

func (st *stream) send(ctx context.Context) error {
	st.rc.SetWriteDeadline(time.Now().Add(writeTime)) // where the connection has no deadlines, nothing is lost but the bound
	if ctx.Err() != nil {
		return nil // the deadline that ctx's end has set may have just been put off: no write may rely on it. One set later stands
	}
	_, err := st.buf.WriteTo(st.w)
	if err == nil {
		err = st.rc.Flush()
	}
	return err
}
