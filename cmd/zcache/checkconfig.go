package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/config"
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
			if *asJSON {
				return printJSON(a.stdout, effective(cfg))
			}
			return printHubs(a.stdout, cfg)
		},
	}
}

// printHubs tells in a few lines where clients find what, and where it comes from.
func printHubs(w io.Writer, cfg config.Config) error {
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
	return tw.Flush()
}

// effective is what check-config --json prints.
func effective(cfg config.Config) any {
	policies := make([]config.Policy, len(cfg.Hubs))
	for i := range cfg.Hubs {
		policies[i] = cfg.Hubs[i].Policy()
	}
	return struct {
		OK     bool            `json:"ok"`
		Config string          `json:"config,omitempty"`
		Listen []string        `json:"listen"`
		Root   string          `json:"root"`
		Mode   string          `json:"mode"`
		Hubs   []config.Policy `json:"hubs"`
	}{true, cfg.File, cfg.Listen, cfg.Root, cfg.Mode, policies}
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
