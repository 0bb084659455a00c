package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

var (
	// ErrUnavailable says that every upstream of a hub failed lately and that the caller wanted none of them asked (WithSkipOpen).
	ErrUnavailable = errors.New("every upstream failed lately")

	// errLate says that an upstream let its turn go by.
	errLate error = lateError{}

	errIdle = errors.New("no byte of the body came in time")
)

type lateError struct{}

func (lateError) Error() string { return "no answer in time, and another upstream is left" }
func (lateError) Timeout() bool { return true }

// An Error is why an upstream gave no response, or no whole body.
type Error struct {
	op       string // get, read, ...
	upstream string
	kind     string
	err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.op, e.upstream, e.err) }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.err }

// Upstream is the URL that was asked, without credentials and query.
func (e *Error) Upstream() string { return e.upstream }

// ProxyStatus is the error type for a Proxy-Status field (RFC 9209 section 2.3), "" when the caller itself ended the request.
func (e *Error) ProxyStatus() string { return e.kind }

// Refused says that policy forbids the destination or the request; asking again does not help.
func (e *Error) Refused() bool {
	return e.kind == kindProhibited || e.kind == kindDenied
}

// Reason says in a few words why policy forbids it, without the address that a name has: it is for whoever named the place. "" when policy does not.
func (e *Error) Reason() string {
	var prohibited *prohibitedError
	switch {
	case errors.As(e.err, &prohibited):
		return prohibited.reason
	case e.kind == kindDenied:
		return e.err.Error()
	}
	return ""
}

const (
	kindProhibited = "destination_ip_prohibited"
	kindDenied     = "http_request_denied"
	kindConfig     = "proxy_configuration_error"
	kindNotThere   = "destination_unavailable"
	kindIncomplete = "http_response_incomplete"
)

// kindOf finds the error type for a request that got no response. Timeouts of http.Transport do not tell what they waited for, so
// that is taken from how far the request had come.
func kindOf(err error, reached phase) string {
	var (
		prohibited *prohibitedError
		dns        *net.DNSError
	)
	switch {
	case errors.As(err, &prohibited):
		return kindProhibited
	case errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return "dns_timeout"
		}
		return "dns_error"
	case isTimeout(err):
		return timeoutKind(reached)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "destination_ip_unroutable"
	}
	if kind := tlsKind(err); kind != "" {
		return kind
	}
	switch {
	case isBroken(err):
		return "connection_terminated"
	case reached == inHandshake:
		return "tls_protocol_error"
	case reached == responding:
		return "http_protocol_error"
	case reached == connected:
		return "connection_terminated"
	}
	return kindNotThere
}

func timeoutKind(reached phase) string {
	switch reached {
	case resolving:
		return "dns_timeout"
	case connected, responding:
		return "http_response_timeout"
	}
	return "connection_timeout"
}

func tlsKind(err error) string {
	var (
		verification *tls.CertificateVerificationError
		unknown      x509.UnknownAuthorityError
		name         x509.HostnameError
		invalid      x509.CertificateInvalidError
		alert        tls.AlertError
		record       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid):
		return "tls_certificate_error"
	case errors.As(err, &alert):
		return "tls_alert_received"
	case errors.As(err, &record):
		return "tls_protocol_error"
	}
	return ""
}

// bodyKind finds the error type for a body that ended before its end.
func bodyKind(err error) string {
	if errors.Is(err, errIdle) || isTimeout(err) {
		return "connection_read_timeout"
	}
	return kindIncomplete
}

func isBroken(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
