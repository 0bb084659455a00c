package web

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// pacType is what browsers take a proxy's script as, though it was never registered.
const pacType = "application/x-ns-proxy-autoconfig"

// pac is the script by which browsers choose between the forward proxy and none. What would be refused here, because tunnels lead to port 443 only and
// nothing leads inward, goes the direct way. The script asks no name server: a browser would wait for one before every request.
const pac = `function FindProxyForURL(url, host) {
  var proxy = "{PROXY}";
  var scheme = url.substring(0, url.indexOf(":")).toLowerCase();
  host = host.toLowerCase().replace(/^\[|\]$|\.$/g, "");
  if (host === "{SELF}" || host.indexOf(".") < 0 && host.indexOf(":") < 0 || /\.(local|localhost|internal|home\.arpa)$/.test(host)) {
    return "DIRECT";
  }
  if (/^[0-9.]+$/.test(host)) {
    if (/^(0|10|127)\.|^169\.254\.|^192\.168\.|^172\.(1[6-9]|2[0-9]|3[01])\.|^100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\./.test(host)) {
      return "DIRECT";
    }
  }
  if (host.indexOf(":") >= 0 && !/^[23]/.test(host)) {
    return "DIRECT";
  }
  var port = /^[a-z]+:\/\/(?:[^\/?#@]*@)?(?:\[[^\]]*\]|[^\/?#:]*):([0-9]+)/i.exec(url);
  if (scheme === "http" || scheme === "ftp" || scheme === "https" && (!port || port[1] === "443")) {
    return proxy;
  }
  return "DIRECT";
}
`

// noPAC is for an instance that is no forward proxy.
const noPAC = "function FindProxyForURL(url, host) {\n  return \"DIRECT\";\n}\n"

// proxyPAC serves the script.
func (s *Server) proxyPAC(w http.ResponseWriter, r *http.Request) error {
	script := noPAC
	if s.forwarding().Proxy {
		script = pacFor(s.base(r))
	}
	w.Header().Set("Content-Type", pacType)
	_, err := w.Write([]byte(script))
	return err
}

func pacFor(base *url.URL) string {
	word, port := "PROXY", "80"
	if base.Scheme == "https" {
		word, port = "HTTPS", "443"
	}
	if p := base.Port(); p != "" {
		port = p
	}
	self := strings.TrimSuffix(strings.ToLower(base.Hostname()), ".")
	return strings.NewReplacer("{PROXY}", word+" "+net.JoinHostPort(base.Hostname(), port), "{SELF}", self).Replace(pac)
}
