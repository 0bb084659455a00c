package main

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"zcache/internal/config"
	"zcache/internal/fill"
	"zcache/internal/proxy"
)

// forward is the forward proxy of a configuration; nil when it is off.
func (in *instance) forward(cfg config.Config) *proxy.Forward {
	if !cfg.Proxy {
		return nil
	}
	return &proxy.Forward{Clients: cfg.ProxyAllowClient, Connect: in.connect}
}

func (in *instance) connect(ctx context.Context, host, port string) (net.Conn, error) {
	s := in.current.Load()
	if s.cfg.Offline {
		return nil, fill.ErrOffline
	}
	return s.origin.Connect(ctx, host, port)
}

// owns says that this process listens at an address. A listener on all addresses has each of the machine's, which are looked up when one of them
// is about to be dialled: they change.
func (in *instance) owns(to netip.AddrPort) bool {
	for _, own := range in.own {
		if own.Port() != to.Port() {
			continue
		}
		if own.Addr() == to.Addr() || own.Addr().IsUnspecified() && ofThisMachine(to.Addr()) {
			return true
		}
	}
	return false
}

// ofThisMachine says that connections to an address end on this machine. If it cannot be told, they do.
func ofThisMachine(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(i net.Addr) bool {
		prefix, err := netip.ParsePrefix(i.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == a
	})
}

func addresses(listeners []net.Listener) (all []net.Addr) {
	for _, l := range listeners {
		all = append(all, l.Addr())
	}
	return all
}

// addrPorts are the addresses of TCP listeners, mapped ones in their IPv4 form.
func addrPorts(listening []net.Addr) (all []netip.AddrPort) {
	for _, a := range listening {
		if tcp, ok := a.(*net.TCPAddr); ok {
			ap := tcp.AddrPort()
			all = append(all, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	}
	return all
}
