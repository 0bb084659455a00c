package web

import (
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Forwarding is how this instance serves as a forward proxy.
type Forwarding struct {
	Proxy bool // it does
	// CA is the certificate, in PEM form, that clients have to trust for the hosts that it is limited to; nil when no TLS is ended here.
	CA          []byte
	Hosts       []string
	Fingerprint string // of CA, SHA-256
}

// A snippet is what somebody writes somewhere to have a client come here.
type snippet struct {
	For   string `json:"for"`           // proxy, ca or hub
	Hub   string `json:"hub,omitempty"` // which one
	About string `json:"about"`
	File  string `json:"file,omitempty"` // where Text belongs; without one it is a line for a shell
	Text  string `json:"text"`
}

// A clientView is what there is to say to the users of one client.
type clientView struct {
	Name  string    `json:"name"`
	Lines []snippet `json:"lines"`
}

type proxyView struct {
	URL string `json:"url"`
	PAC string `json:"pac"`
}

type caView struct {
	URL         string   `json:"url"`
	Hosts       []string `json:"hosts"`
	Fingerprint string   `json:"fingerprint_sha256"`
}

type hubPlace struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// A usage is how to use this instance, in terms of the name by which it was asked.
type usage struct {
	URL     string       `json:"url"`
	Proxy   *proxyView   `json:"proxy,omitempty"`
	CA      *caView      `json:"ca,omitempty"`
	Hubs    []hubPlace   `json:"hubs"`
	Clients []clientView `json:"clients"`

	infos []HubInfo // in step with Hubs
}

var usageBody = template.Must(template.New("clients").Parse(`<p class="lead">How clients come to this instance. In these lines <code>$URL</code> is what to fetch.</p>
{{if .CA}}<main class="facts"><table><tr><th scope="row">Certificate</th><td><a href="/-/ca.pem">ca.pem</a></td></tr>
<tr><th scope="row">For the hosts</th><td>{{range .CA.Hosts}}<code>{{.}}</code> {{end}}</td></tr>
<tr><th scope="row">SHA-256</th><td><code>{{.CA.Fingerprint}}</code></td></tr></table></main>
{{end}}{{range .Clients}}<h2>{{.Name}}</h2>
<main class="cmds">{{range .Lines}}<div class="cmd"><small>{{if .Hub}}{{.Hub}}{{else}}{{.For}}{{end}}</small><pre title="{{.About}}{{if .File}}, in {{.File}}{{end}}">{{.Text}}</pre>` +
	`<button class="tool needs-js" data-copy>copy</button></div>
{{end}}</main>
{{end}}`))

// clients tells how clients of all kinds come to this instance.
func (s *Server) clients(w http.ResponseWriter, r *http.Request) error {
	u := s.usage(r)
	w.Header().Set("Vary", "Accept")
	if !prefersHTML(r.Header["Accept"]) {
		w.Header().Set("Content-Type", "application/json")
		return s.encode(w, u)
	}
	var body strings.Builder
	if err := usageBody.Execute(&body, u); err != nil {
		return err
	}
	b := append(appendHead(nil, "Clients · zcache"), "<header>"+markForm+"<h1><b>Clients</b></h1></header>\n"...)
	return writePage(w, http.StatusOK, append(b, body.String()...))
}

// usage collects what there is to say to whoever asks.
func (s *Server) usage(r *http.Request) *usage {
	base := s.base(r)
	forward := s.forwarding()
	u := &usage{URL: base.String(), Hubs: []hubPlace{}}
	if forward.Proxy {
		u.Proxy = &proxyView{URL: u.URL, PAC: u.URL + "/-/proxy.pac"}
	}
	if forward.Proxy && forward.CA != nil {
		u.CA = &caView{URL: u.URL + "/-/ca.pem", Hosts: forward.Hosts, Fingerprint: forward.Fingerprint}
	}
	for _, h := range s.visible(r) {
		if at := hubURL(base, h); at != "" {
			u.Hubs = append(u.Hubs, hubPlace{h.Name, at})
			u.infos = append(u.infos, h)
		}
	}
	u.Clients = u.views()
	return u
}

func (s *Server) forwarding() Forwarding {
	if s.cfg.Forwarding == nil {
		return Forwarding{}
	}
	return s.cfg.Forwarding()
}

// base is this instance's URL, without a path: as configured, else as it was asked. A Host that would read as anything else in a line of shell or
// script gives way to the address that was connected to.
func (s *Server) base(r *http.Request) *url.URL {
	if p := s.cfg.Public; p != nil {
		return &url.URL{Scheme: p.Scheme, Host: p.Host}
	}
	u := &url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !plainAuthority(u.Host) {
		u.Host = local.String()
	}
	if !plainAuthority(u.Host) {
		u.Host = "localhost"
	}
	return u
}

// plainAuthority says that s is a host, with or without a port, and nothing that has a meaning beyond that in the languages that snippets are of.
func plainAuthority(s string) bool {
	if s == "" || len(s) > 300 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") != "" || s[0] == '-' {
		return false
	}
	u, err := url.Parse("http://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// hubURL is where clients find a hub, ending in a slash; "" for one whose place is no plain URL.
func hubURL(base *url.URL, h HubInfo) string {
	switch {
	case h.Path != "" && strings.Trim(h.Path, hubLetters) == "":
		return base.String() + h.Path
	case h.Path == "" && len(h.Hosts) > 0 && plainAuthority(h.Hosts[0]):
		at := *base
		at.Host = h.Hosts[0]
		if port := base.Port(); port != "" {
			at.Host = net.JoinHostPort(h.Hosts[0], port)
		}
		return at.String() + "/"
	}
	return ""
}

const hubLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~+@:,="

// caPEM is the certificate that clients have to trust where TLS is ended here.
func (s *Server) caPEM(w http.ResponseWriter, r *http.Request) error {
	forward := s.forwarding()
	if forward.CA == nil {
		return &failure{http.StatusNotFound, "no_ca", "this instance ends no TLS, so there is no certificate to trust"}
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Content-Disposition", `attachment; filename="`+caFile+`"`)
	_, err := w.Write(forward.CA)
	return err
}
