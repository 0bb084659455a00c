package config

import (
	"fmt"
	"testing"
)

func TestForwardProxySettings(t *testing.T) {
	for _, tt := range []struct {
		claim string
		args  []string
		want  string // Proxy and ProxyAllowClient, or the error
	}{
		{"on unless it is said otherwise", nil, "true []"},
		{"off", []string{"--proxy", "off"}, "false []"},
		{"in capitals", []string{"--proxy", "ON"}, "true []"},
		{"clients, in a list or one by one", []string{"--proxy-allow-client", "192.0.2.0/24,2001:db8::/32", "--proxy-allow-client", "198.51.100.7"},
			"true [192.0.2.0/24 2001:db8::/32 198.51.100.7/32]"},
		{"another word", []string{"--proxy", "maybe"}, `proxy: "maybe" is not known; write on or off`},
		{"a client that is a name", []string{"--proxy-allow-client", "lab.example"},
			`proxy-allow-client: "lab.example" is no CIDR; write one such as 10.0.0.0/8 or one address`},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			c, err := Parse(tt.args...)
			got := fmt.Sprint(c.Proxy, " ", c.ProxyAllowClient)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Parse(%q) = %s, want %s", tt.args, got, tt.want)
			}
		})
	}
	c, err := Parse("--on-miss", "wait", "--listing-ttl", "5m")
	if h := c.FilesHub; err != nil || h.Name != "files" || h.OnMiss != "wait" || h.ListingTTL.Minutes() != 5 || h.Redirects != RedirectsFollow || !h.Generic() || h.Local() {
		t.Errorf("the built-in hub = %+v, %v; want the defaults that hubs have", h, err)
	}
}
