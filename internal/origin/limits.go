package origin

import (
	"context"
	"errors"

	"zcache/internal/limit"
)

// kindCrowded is the error type of a trip that was refused because too many are under way (RFC 9209 section 2.3.12).
const kindCrowded = "connection_limit_reached"

// Crowded says that the upstream was not asked because too many trips to it are under way or wait: to come again at once would only lengthen the queue.
func (e *Error) Crowded() bool { return e.kind == kindCrowded }

// enter waits for a request's turn at a host, and then for one of the trips that may be under way for the hub. In this order a request of the
// background that makes way for clients holds no trip while it does. An error is nobody's upstream's.
func (t *Transport) enter(ctx context.Context, hub string, at host) (*pass, error) {
	p, err := t.gates.enter(ctx, at)
	if err != nil || t.conf.Limits == nil {
		return p, err
	}
	leave, err := t.conf.Limits(hub).Enter(ctx, limit.From(ctx))
	if err != nil {
		p.leave()
		return nil, err
	}
	p.trip = leave
	return p, nil
}

// notEntered is the error of a request that enter has let into no place.
func notEntered(op, where string, err error) *Error {
	kind := ""
	if errors.Is(err, limit.ErrRefused) {
		kind = kindCrowded
	}
	return &Error{op, where, kind, err}
}
