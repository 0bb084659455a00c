package origin

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// tunnelPort is the one that tunnels lead to unless a rule names another with its host: what listens there expects to be spoken to by strangers.
const tunnelPort = "443"

// Connect opens a connection for a tunnel to host, a name or an address without brackets. It goes where absolute URLs may go, to port 443 alone unless
// --proxy-allow-host names just this host and port; no hub's configuration opens anything to it. An error is an *Error.
func (t *Transport) Connect(ctx context.Context, host, port string) (net.Conn, error) {
	addr := net.JoinHostPort(host, port)
	if !t.Tunnels(host, port) {
		err := &prohibitedError{addr, "is on no port that tunnels lead to (--proxy-allow-host HOST:PORT opens one)"}
		return nil, &Error{"connect", addr, kindProhibited, err}
	}
	ctx, cancel := context.WithTimeout(ctx, t.conf.Connect)
	defer cancel()
	conn, err := t.reach(ctx, "tcp", addr)
	if err != nil {
		t.metrics.failed(elsewhereLabel)
		return nil, &Error{"connect", addr, kindOf(err, connecting), err}
	}
	return conn, nil
}

// Tunnels says that a tunnel may be asked for to this host and port. Whether the address behind them may be reached shows when it is dialled.
func (t *Transport) Tunnels(host, port string) bool {
	return port == tunnelPort || t.policy.names(host, port)
}

// names says that a rule is for this host and port and no other: a pattern or a range opens no port to tunnels.
func (p *policy) names(host, port string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	a, err := netip.ParseAddr(host)
	for _, r := range p.rules {
		switch {
		case r.port != port:
		case r.name != "" && r.name == host && !strings.ContainsAny(host, "*?"):
			return true
		case r.name == "" && err == nil && r.prefix.IsSingleIP() && r.prefix.Addr() == a.Unmap():
			return true
		}
	}
	return false
}
