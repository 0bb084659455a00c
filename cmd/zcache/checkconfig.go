package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/config"
	"zcache/internal/notify"
)

// checkConfigVerb takes all flags of serve, so that a command line can be tried as it stands.
func (a *app) checkConfigVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newFlagSet("check-config")
	serveFlags.VisitAll(func(f *flag.Flag) { fs.Var(f.Value, f.Name, f.Usage) })
	asJSON := fs.Bool("json", false, "print the effective policy of every hub")
	return &ffcli.Command{
		Name: "check-config", ShortUsage: "zcache check-config [flags]", FlagSet: fs,
		ShortHelp: "tell whether the configuration is right, and what it means",
		Exec: func(_ context.Context, args []string) error {
			if err := unexpected("check-config", args); err != nil {
				return err
			}
			cfg, err := a.flags.Load()
			if err != nil {
				return err
			}
			p, err := partsOf(cfg)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(a.stdout, effective(cfg, p))
			}
			if err := printHubs(a.stdout, cfg, p.intercepted); err != nil {
				return err
			}
			return printAccess(a.stdout, cfg, p)
		},
	}
}

// parts are what only those who use it can tell of a configuration.
type parts struct {
	intercepted   []string // hosts whose https is looked into
	notify, hooks []notify.Sink
}

// partsOf judges all that a start would.
func partsOf(cfg config.Config) (parts, error) {
	var p parts
	var problems config.Problems
	note := func(err error) {
		var more config.Problems
		if errors.As(err, &more) {
			problems = append(problems, more...)
		}
	}
	ca, err := authorityOf(cfg.InterceptCA)
	note(err)
	if ca != nil {
		p.intercepted = ca.Constraints()
	}
	_, err = rulesOf(cfg)
	note(err)
	_, err = filterOf(cfg, nil)
	note(err)
	p.notify, err = sinksOf("notify", cfg.Notify)
	note(err)
	p.hooks, err = sinksOf("ready-hook", cfg.ReadyHooks)
	note(err)
	if len(problems) > 0 {
		return p, problems
	}
	return p, nil
}

// printHubs tells in a few lines where clients find what, and where it comes from.
func printHubs(w io.Writer, cfg config.Config, intercepted []string) error {
	tw := tabwriter.NewWriter(w, 0, 2, 2, ' ', 0)
	fmt.Fprintf(tw, "ok: %s\n", count(len(cfg.Hubs), "hub"))
	for i := range cfg.Hubs {
		p := cfg.Hubs[i].Policy()
		places := p.Hosts
		if p.Path != "" {
			places = append([]string{strings.TrimSuffix(p.Path, "/") + "/"}, places...)
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", p.Name, strings.Join(places, " "), strings.Join(p.Upstream, " "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := printMirror(w, cfg); err != nil {
		return err
	}
	if !cfg.Proxy {
		_, err := fmt.Fprintln(w, "forward proxy: off")
		return err
	}
	_, err := fmt.Fprintf(w, "forward proxy: on, for loopback, private networks%s; to public addresses%s\n",
		and(prefixTexts(cfg.ProxyAllowClient)), and(cfg.ProxyAllowHost))
	if err == nil && len(intercepted) > 0 {
		_, err = fmt.Fprintf(w, "https is looked into for: %s\n", strings.Join(intercepted, ", "))
	}
	return err
}

// printMirror tells what is kept current, and what was asked in vain.
func printMirror(w io.Writer, cfg config.Config) error {
	if cfg.Mode != config.ModeMirror {
		if len(cfg.Mirror.Idle) == 0 {
			return nil
		}
		_, err := fmt.Fprintf(w, "does nothing in mode %s: %s\n", cfg.Mode, strings.Join(cfg.Mirror.Idle, ", "))
		return err
	}
	names := make([]string, 0, len(cfg.Mirror.Subtrees))
	for _, s := range cfg.Mirror.Subtrees {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		names = []string{"nothing; name a directory with --mirror-subtree"}
	}
	_, err := fmt.Fprintf(w, "mirrored when used, at most every %s: %s\n", cfg.Mirror.MinInterval, strings.Join(names, ", "))
	return err
}

// and continues a list of which the beginning is written already.
func and(more []string) string {
	if len(more) == 0 {
		return ""
	}
	return ", " + strings.Join(more, ", ")
}

func prefixTexts(prefixes []netip.Prefix) []string {
	out := make([]string, 0, len(prefixes))
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return out
}

// effective is what check-config --json prints.
func effective(cfg config.Config, p parts) any {
	policies := make([]config.Policy, len(cfg.Hubs))
	for i := range cfg.Hubs {
		policies[i] = cfg.Hubs[i].Policy()
	}
	var subtrees []mirrored
	for _, s := range cfg.Mirror.Subtrees {
		subtrees = append(subtrees, mirrored(s))
	}
	return struct {
		OK     bool            `json:"ok"`
		Config string          `json:"config,omitempty"`
		Listen []string        `json:"listen"`
		Root   string          `json:"root"`
		Mode   string          `json:"mode"`
		Proxy  bool            `json:"proxy"`
		Client []string        `json:"proxy_allow_client,omitempty"`
		Host   []string        `json:"proxy_allow_host,omitempty"`
		CA     []string        `json:"intercept,omitempty"` // hosts whose https is looked into
		Mirror []mirrored      `json:"mirror,omitempty"`
		Trash  string          `json:"trash_ttl"`
		Hubs   []config.Policy `json:"hubs"`
		accessView
	}{true, cfg.File, cfg.Listen, cfg.Root, cfg.Mode, cfg.Proxy, prefixTexts(cfg.ProxyAllowClient), cfg.ProxyAllowHost, p.intercepted,
		subtrees, cfg.TrashTTL.String(), policies, viewAccess(cfg, p)}
}

// A mirrored is a subtree in JSON.
type mirrored struct {
	Name string `json:"name"`
	Hub  string `json:"hub"`
	Path string `json:"path"`
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// count gives "1 hub", "2 hubs".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
