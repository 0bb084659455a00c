package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/peterbourgon/ff/v3/ffcli"
)

func (a *app) explainVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("explain", serveFlags)
	return &ffcli.Command{
		Name: "explain", ShortUsage: "zcache explain [flags] URL", FlagSet: fs.FlagSet,
		ShortHelp: "tell whether a URL is held, until when and why",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usage("explain takes one URL or path, such as zcache explain /kernel/README")
			}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			answer, err := c.call(ctx, http.MethodGet, "/-/explain?url="+url.QueryEscape(args[0]), nil)
			if err != nil {
				return fmt.Errorf("explain %s: %w", args[0], err)
			}
			if fs.json {
				return printJSON(a.stdout, answer)
			}
			return printFacts(a.stdout, answer)
		},
	}
}

// printFacts prints a JSON object as lines "name: value", nested names joined by dots, in the order of the answer.
func printFacts(w io.Writer, answer json.RawMessage) error {
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber()
	return printFact(w, dec, "")
}

func printFact(w io.Writer, dec *json.Decoder, name string) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, nested := tok.(json.Delim)
	if !nested {
		if tok == nil || tok == "" {
			return nil
		}
		_, err := fmt.Fprintf(w, "%s: %v\n", name, tok)
		return err
	}
	for dec.More() {
		child := name
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			child = fmt.Sprint(key)
			if name != "" {
				child = name + "." + child
			}
		}
		if err := printFact(w, dec, child); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
