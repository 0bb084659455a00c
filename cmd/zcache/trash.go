package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/peterbourgon/ff/v3/ffcli"
)

func (a *app) trashVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	c := &ffcli.Command{
		Name: "trash", ShortUsage: "zcache trash list [flags] [PATH]\n  zcache trash restore [flags] PATH", FlagSet: newFlagSet("trash"),
		ShortHelp:   "show or bring back what walks removed",
		Subcommands: []*ffcli.Command{a.trashListVerb(serveFlags), a.trashRestoreVerb(serveFlags)},
	}
	c.Exec = func(_ context.Context, args []string) error {
		if len(args) == 0 {
			return &helpWanted{c}
		}
		return usage("trash does not know %q; write trash list or trash restore", args[0])
	}
	return c
}

// A trashed is one entry in the trash.
type trashed struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	Retired string `json:"retired"`
}

func (a *app) trashListVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("trash list", serveFlags)
	limit := fs.Int("limit", 0, "`N` show no more than that; else as many as the server tells at once")
	return &ffcli.Command{
		Name: "list", ShortUsage: "zcache trash list [flags] [PATH]", FlagSet: fs.FlagSet,
		ShortHelp: "show what lies in the trash, or what of it was at and below PATH",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) > 1 {
				return usage("trash list takes one path at most, such as zcache trash list /kernel")
			}
			query := url.Values{}
			if len(args) == 1 {
				query.Set("path", args[0])
			}
			if *limit > 0 {
				query.Set("limit", fmt.Sprint(*limit))
			}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			answer, err := c.call(ctx, http.MethodGet, "/-/trash?"+query.Encode(), nil)
			if err != nil {
				return fmt.Errorf("list the trash: %w", err)
			}
			if fs.json {
				return printJSON(a.stdout, answer)
			}
			return a.tellTrash(answer)
		},
	}
}

func (a *app) tellTrash(answer json.RawMessage) error {
	var all []trashed
	if err := json.Unmarshal(answer, &all); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 2, 2, ' ', 0)
	for _, t := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", t.Retired, humanize.IBytes(uint64(max(t.Size, 0))), t.Path)
	}
	if len(all) == 0 {
		fmt.Fprintln(tw, "nothing there")
	}
	return tw.Flush()
}

func (a *app) trashRestoreVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("trash restore", serveFlags)
	recursive := fs.Bool("recursive", false, "everything below PATH too")
	fs.BoolVar(recursive, "r", false, "short for --recursive")
	return &ffcli.Command{
		Name: "restore", ShortUsage: "zcache trash restore [flags] PATH", FlagSet: fs.FlagSet,
		ShortHelp: "bring back the newest of each entry that is not held again meanwhile",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usage("trash restore takes one path, such as zcache trash restore /kernel/README")
			}
			ask := struct {
				Path      string `json:"path"`
				Restore   bool   `json:"restore"`
				Recursive bool   `json:"recursive"`
			}{args[0], true, *recursive}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			answer, err := c.call(ctx, http.MethodPost, "/-/trash", ask)
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			if fs.json {
				return printJSON(a.stdout, answer)
			}
			var done struct {
				Restored int `json:"restored"`
			}
			if err := json.Unmarshal(answer, &done); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if done.Restored == 0 {
				return fmt.Errorf("restore %s: it is not in the trash, or it is held again; zcache trash list tells, and purge it first to have the old one back", args[0])
			}
			_, err = fmt.Fprintf(a.stdout, "restored %s: %s\n", args[0], entries(done.Restored))
			return err
		},
	}
}
