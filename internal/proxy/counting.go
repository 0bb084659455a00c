package proxy

import (
	"io"
	"net/http"
)

// counting notes what another handler sent.
type counting struct {
	http.ResponseWriter
	x *exchange
}

func (c *counting) WriteHeader(status int) {
	if c.x.status == 0 && status >= 200 {
		c.x.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counting) Write(p []byte) (int, error) {
	if c.x.status == 0 {
		c.x.status = http.StatusOK
	}
	if c.x.pace != nil && len(p) > 0 {
		if err := c.x.pace(len(p)); err != nil {
			return 0, err
		}
	}
	n, err := c.ResponseWriter.Write(p)
	c.x.sent += int64(n)
	return n, err
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

var _ io.Writer = (*counting)(nil)
