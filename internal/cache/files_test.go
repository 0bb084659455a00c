package cache

import (
	"errors"
	"net/url"
	"testing"
)

func TestURLsOfTheBuiltInHub(t *testing.T) {
	for _, tt := range []struct{ claim, url, path, site string }{
		{"scheme, host, path", "http://h.example/a/b", "/http/h.example/a/b", "/http/h.example"},
		{"the host in lower case and without its dot", "HTTP://H.Example./A", "/http/h.example/A", "/http/h.example"},
		{"no path is the root", "https://h.example", "/https/h.example/", "/https/h.example"},
		{"a default port is left out", "https://h.example:443/a", "/https/h.example/a", "/https/h.example"},
		{"another scheme's port is not", "http://h.example:443/a", "/http/h.example:443/a", "/http/h.example:443"},
		{"a port in another spelling", "http://h.example:0080/a", "/http/h.example/a", "/http/h.example"},
		{"an empty port", "ftp://h.example:/a", "/ftp/h.example/a", "/ftp/h.example"},
		{"IPv6", "http://[2001:DB8:0:0::1]:81/a", "/http/%5B2001:db8::1%5D:81/a", "/http/%5B2001:db8::1%5D:81"},
		{"userinfo is not kept", "http://u:p@h.example/a", "/http/h.example/a", "/http/h.example"},
		{"escapes stay", "http://h.example/a%2Fb%c3", "/http/h.example/a%2Fb%c3", "/http/h.example"},
		{"two slashes stay two", "http://h.example//a", "/http/h.example//a", "/http/h.example"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			k, err := FilesKeyOf(u)
			if err != nil || k.Hub() != FilesHub || k.Path() != tt.path || k.Site() != tt.site {
				t.Errorf("FilesKeyOf(%s) = %s with site %q, %v; want path %s, site %q", tt.url, k, k.Site(), err, tt.path, tt.site)
			}
		})
	}
	u, _ := url.Parse("http://h.example/a?q=1")
	if k, err := FilesKeyOf(u); err != nil || k.String() != "/files/http/h.example/a?q=1" {
		t.Errorf("FilesKeyOf with a query = %s, %v", k, err)
	}
}

func TestWhatIsNoAuthority(t *testing.T) {
	for _, raw := range []string{
		"", ".", "h..example", "u@h.example", "h example", "h%41", "h.example:0", "h.example:99999", "h.example:http", "[::1", "::1", "[::1%25lo]", "[::1%lo]",
		"[127.0.0.1]", "h/example", "①②⑦.0.0.1", "h\x00",
	} {
		if got, err := Authority("http", raw); !errors.Is(err, ErrBadKey) {
			t.Errorf("Authority(http, %q) = %q, %v; want ErrBadKey", raw, got, err)
		}
	}
	for _, scheme := range []string{"", "gopher", "file", "HTTP"} {
		if got, err := Authority(scheme, "h.example"); !errors.Is(err, ErrBadKey) {
			t.Errorf("Authority(%q, h.example) = %q, %v; want ErrBadKey", scheme, got, err)
		}
	}
}

func TestAKeyOfAHubHasNoSite(t *testing.T) {
	k, err := ParseKey("h", "/a/b/c", "", false)
	if err != nil || k.Site() != "" {
		t.Errorf("Site of %s = %q, %v; want none", k, k.Site(), err)
	}
	k, err = ParseKey(FilesHub, "/http/", "", false)
	if err != nil || k.Site() != "" {
		t.Errorf("Site of %s = %q, %v; want none", k, k.Site(), err)
	}
}
