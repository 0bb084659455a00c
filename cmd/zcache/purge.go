package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"

	"github.com/peterbourgon/ff/v3/ffcli"
)

func (a *app) purgeVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("purge", serveFlags)
	recursive := fs.Bool("recursive", false, "everything below PATH too")
	fs.BoolVar(recursive, "r", false, "short for --recursive")
	return &ffcli.Command{
		Name: "purge", ShortUsage: "zcache purge [flags] PATH", FlagSet: fs.FlagSet,
		ShortHelp: "remove what is held of a path",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usage("purge takes one path, such as zcache purge /kernel/README")
			}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			ask := struct {
				Path      string `json:"path"`
				Recursive bool   `json:"recursive"`
			}{args[0], *recursive}
			answer, err := c.call(ctx, http.MethodPost, "/-/purge", ask)
			if err != nil {
				return fmt.Errorf("purge %s: %w", args[0], err)
			}
			if fs.json {
				return printJSON(a.stdout, answer)
			}
			var done struct {
				Removed *int `json:"removed"`
			}
			if err := json.Unmarshal(answer, &done); err != nil || done.Removed == nil {
				return printFacts(a.stdout, answer)
			}
			_, err = fmt.Fprintf(a.stdout, "purged %s: %s\n", args[0], entries(*done.Removed))
			return err
		},
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
