package origin

import "net/netip"

// A class is how open an address is. The order matters: the higher the more closed.
type class int

const (
	public    class = iota
	private         // opened by a rule for the host's name
	forbidden       // opened only by a rule for the address itself: this machine, its link, the cloud's metadata
)

var forbiddenRanges = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
	"::/127", "fe80::/10", "ff00::/8",
	// Metadata services outside the link-local range: AWS, EKS, Google, Alibaba, Oracle, Azure.
	"fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32",
)

// privateRanges are the special IPv4 ranges, and those within IPv6's global unicast range 2000::/3. All of IPv6 outside that range is private.
var privateRanges = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001:2::/48", "2001:db8::/32", "3fff::/20",
)

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour     = netip.MustParsePrefix("2002::/16")
	teredo        = netip.MustParsePrefix("2001::/32")
	compatible    = netip.MustParsePrefix("::/96")
	translated    = netip.MustParsePrefix("::ffff:0:0:0/96") // ::ffff:0:a.b.c.d, RFC 2765
)

func prefixes(all ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range all {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// classify judges an address, and every IPv4 address that it carries in itself: a gateway on the way may unpack it.
func classify(a netip.Addr) class {
	a = a.Unmap()
	worst := ownClass(a)
	for _, inner := range embedded(a) {
		worst = max(worst, ownClass(inner))
	}
	return worst
}

func ownClass(a netip.Addr) class {
	if within(a, forbiddenRanges) {
		return forbidden
	}
	if within(a, privateRanges) || a.Is6() && !globalUnicast.Contains(a) && !nat64.Contains(a) {
		return private
	}
	return public
}

func within(a netip.Addr, ranges []netip.Prefix) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	var found []netip.Addr
	add := func(p []byte) {
		found = append(found, netip.AddrFrom4([4]byte(p)))
	}
	switch {
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		add(b[12:])
	case sixToFour.Contains(a):
		add(b[2:6])
	case teredo.Contains(a):
		add(b[4:8])
		add([]byte{b[12] ^ 0xff, b[13] ^ 0xff, b[14] ^ 0xff, b[15] ^ 0xff})
	}
	// ISATAP: an interface identifier of 0:5efe or 200:5efe and an IPv4 address.
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		add(b[12:])
	}
	return found
}
