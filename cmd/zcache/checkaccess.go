package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"zcache/internal/config"
	"zcache/internal/limit"
	"zcache/internal/notify"
)

// An accessView is what check-config --json tells of who may ask, for how much, and who is told.
type accessView struct {
	AuthFile    string              `json:"auth_file,omitempty"`
	Anonymous   string              `json:"anonymous"`
	Limits      *config.LimitPolicy `json:"client_limits,omitempty"`
	Clients     []clientView        `json:"clients,omitempty"`
	Exempt      []string            `json:"rate_exempt,omitempty"`
	Egress      int64               `json:"egress,omitempty"` // bytes a second
	Conns       int                 `json:"max_conns,omitempty"`
	ClientConns int                 `json:"max_conns_per_client,omitempty"`
	Rules       []ruleView          `json:"rules"` // in order, those that are there where nobody says otherwise included
	Notify      []string            `json:"notify,omitempty"`
	Hooks       []string            `json:"ready_hook,omitempty"`
}

type clientView struct {
	Who    []string            `json:"who"`
	Limits *config.LimitPolicy `json:"limits,omitempty"`
}

// A ruleView is a rule in the words of the config file.
type ruleView struct {
	Name      string   `json:"name"`
	Action    string   `json:"action"`
	Shadow    bool     `json:"shadow,omitempty"`
	Breakable bool     `json:"breakable,omitempty"`
	Until     string   `json:"until,omitempty"`
	Status    int      `json:"status,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Forward   bool     `json:"forward,omitempty"`
	Hubs      []string `json:"hub,omitempty"`
	Methods   []string `json:"method,omitempty"`
	Hosts     []string `json:"host,omitempty"`
	Paths     []string `json:"path,omitempty"`
	Suffixes  []string `json:"suffix,omitempty"`
	Types     []string `json:"type,omitempty"`
	Magic     []string `json:"magic,omitempty"`
	Larger    int64    `json:"larger,omitempty"`
	Younger   string   `json:"younger,omitempty"`
}

func viewRule(r limit.Rule) ruleView {
	v := ruleView{
		Name: r.Name, Action: r.Action.String(), Shadow: r.Shadow, Breakable: r.Breakable, Status: r.Status, Reason: r.Reason, Forward: r.Forward,
		Hubs: r.Hubs, Methods: r.Methods, Hosts: r.Hosts, Paths: r.Paths, Suffixes: r.Suffixes, Types: r.Types, Magic: r.Magic, Larger: r.Larger,
	}
	if !r.Until.IsZero() {
		v.Until = r.Until.Format(time.RFC3339)
	}
	if r.Younger > 0 {
		v.Younger = r.Younger.String()
	}
	return v
}

func viewAccess(cfg config.Config, p parts) accessView {
	v := accessView{
		AuthFile: cfg.AuthFile, Anonymous: cfg.Anonymous, Limits: cfg.Client.Policy(), Exempt: prefixTexts(cfg.RateExempt), Egress: cfg.Egress,
		Conns: cfg.MaxConns, ClientConns: cfg.MaxConnsPerClient, Notify: sinkTexts(p.notify), Hooks: sinkTexts(p.hooks),
	}
	for _, c := range cfg.Clients {
		v.Clients = append(v.Clients, clientView{c.Who, c.Limits.Policy()})
	}
	for _, r := range rulesOfFilter(cfg) {
		v.Rules = append(v.Rules, viewRule(r))
	}
	return v
}

func sinkTexts(sinks []notify.Sink) []string {
	out := make([]string, 0, len(sinks))
	for _, s := range sinks {
		out = append(out, s.String())
	}
	return out
}

// printAccess tells what of that somebody has set.
func printAccess(w io.Writer, cfg config.Config, p parts) error {
	var b strings.Builder
	line := func(given bool, format string, args ...any) {
		if given {
			fmt.Fprintf(&b, format+"\n", args...)
		}
	}
	line(cfg.AuthFile != "", "who may ask: %s; without credentials: %s", cfg.AuthFile, cfg.Anonymous)
	line(cfg.AuthFile == "" && cfg.Anonymous == config.AnonymousNone, "who may ask: clients on this machine alone, for there is no auth file")
	own := limitsText(cfg.Client.Policy())
	line(own != "", "each client: %s", own)
	for _, c := range cfg.Clients {
		line(true, "%s: %s", strings.Join(c.Who, ", "), limitsText(c.Limits.Policy()))
	}
	line(cfg.Egress > 0, "all clients: %s/s", humanize.Bytes(uint64(max(cfg.Egress, 0))))
	for i := range cfg.Hubs {
		h := &cfg.Hubs[i]
		all, each := limitsText(h.Limits.Policy()), limitsText(h.Each.Policy())
		line(all != "", "hub %s, all clients: %s", h.Name, all)
		line(each != "", "hub %s, each client: %s", h.Name, each)
		line(h.Trips.AtOnce > 0, "hub %s, upstream: %d requests at a time", h.Name, h.Trips.AtOnce)
		line(h.Identity != config.IdentityOwn, "hub %s asks upstream as: %s", h.Name, h.Identity)
		line(h.Writable, "hub %s takes files from clients (PUT)", h.Name)
	}
	for _, r := range cfg.Rules {
		shadow := ""
		if r.Shadow {
			shadow = ", in shadow"
		}
		line(true, "rule %s: %s%s", r.Name, r.Action, shadow)
	}
	line(cfg.Proxy && cfg.Media == config.ActionAllow, "music and video through the forward proxy: fetched")
	line(len(p.notify) > 0, "told what needs a person: %s", strings.Join(sinkTexts(p.notify), ", "))
	line(len(p.hooks) > 0, "told of readiness: %s", strings.Join(sinkTexts(p.hooks), ", "))
	_, err := io.WriteString(w, b.String())
	return err
}
