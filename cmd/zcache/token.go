package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/auth"
)

func (a *app) tokenVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	c := &ffcli.Command{
		Name: "token", ShortUsage: "zcache token create|list|revoke [flags]", FlagSet: newFlagSet("token"),
		ShortHelp:   "make, show or revoke the tokens of the auth file",
		LongHelp:    "A server that runs takes up the change by itself.",
		Subcommands: []*ffcli.Command{a.tokenCreateVerb(serveFlags), a.tokenListVerb(serveFlags), a.tokenRevokeVerb(serveFlags)},
	}
	c.Exec = func(_ context.Context, args []string) error {
		if len(args) == 0 {
			return &helpWanted{c}
		}
		return usage("token does not know %q; write token create, token list or token revoke", args[0])
	}
	return c
}

// tokenFlags are what every verb about the auth file takes.
type tokenFlags struct {
	*flag.FlagSet
	file string
	json bool
}

func newTokenFlags(name string, serveFlags *flag.FlagSet) *tokenFlags {
	fs := &tokenFlags{FlagSet: newFlagSet(name)}
	fs.StringVar(&fs.file, "auth-file", "", "`FILE` of the tokens; else the configured one")
	fs.BoolVar(&fs.json, "json", false, "print JSON, for scripts")
	for _, name := range []string{"config", "c"} {
		f := serveFlags.Lookup(name)
		fs.Var(f.Value, f.Name, f.Usage)
	}
	return fs
}

// authFile is the file that is meant, and says whether the configuration names it.
func (a *app) authFile(fs *tokenFlags) (file string, configured bool, err error) {
	cfg, err := a.flags.Load()
	if fs.file == "" {
		if err != nil {
			return "", false, err
		}
		if cfg.AuthFile == "" {
			return "", false, usage("no auth file is configured; name one with --auth-file")
		}
		return cfg.AuthFile, true, nil
	}
	// A configuration that cannot be read is no reason not to edit the file that was named.
	return fs.file, err == nil && sameFile(fs.file, cfg.AuthFile), nil
}

func sameFile(a, b string) bool {
	if b == "" {
		return false
	}
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

func (a *app) tokenCreateVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newTokenFlags("token create", serveFlags)
	var read, deny, write, scope wordList
	name := fs.String("name", "", "`NAME` what logs call the token")
	fs.Var(&read, "read", "`PATH` that it may read, with all below, such as /kernel or //host/path; else everything; repeatable")
	fs.Var(&deny, "deny", "`PATH` that it may not read or write; repeatable")
	fs.Var(&write, "write", "`PATH` below which it may put and remove files; repeatable")
	fs.Var(&scope, "scope", "`SCOPE` beyond read: observe, or operate; repeatable")
	expires := fs.String("expires", "", "`TIME` how long it is good: 90d, 12w or 36h; else until it is revoked")
	return &ffcli.Command{
		Name: "create", ShortUsage: "zcache token create --name NAME [--read PATH,…] [--deny PATH,…] [--write PATH,…] [--scope SCOPE,…] [--expires 90d]",
		FlagSet: fs.FlagSet, ShortHelp: "make a token and print it; it is not shown again",
		Exec: func(_ context.Context, args []string) error {
			if err := unexpected("token create", args); err != nil {
				return err
			}
			if *name == "" {
				return usage("token create needs --name: what logs call the token, such as --name lab3")
			}
			now := time.Now()
			want := auth.TokenInfo{Name: *name, Read: read, Deny: deny, Write: write, Scope: scope, Created: now}
			if *expires != "" {
				good, err := auth.ParseLifetime(*expires)
				if err != nil {
					return usage("--expires: %w", err)
				}
				want.Expires = now.Add(good)
			}
			file, configured, err := a.authFile(fs)
			if err != nil {
				return err
			}
			return a.createToken(file, configured, want, now, fs.json)
		},
	}
}

// createToken prints the token alone on standard output, so that it can be piped to where it is kept, and what there is to know on the other.
func (a *app) createToken(file string, configured bool, want auth.TokenInfo, now time.Time, asJSON bool) error {
	text, made, err := auth.CreateToken(file, want, now)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, struct {
			Token string `json:"token"`
			File  string `json:"auth_file"`
			auth.TokenInfo
		}{text, file, made})
	}
	if _, err := fmt.Fprintln(a.stdout, text); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "token %s (%s) is in %s, and its secret is shown here alone. It may read %s%s; good %s.\n",
		made.ID, made.Name, file, paths(made.Read, "everything"), mayText(made), until(made.Expires))
	fmt.Fprintln(a.stderr, "Send it as Authorization: Bearer, or as the password of Basic; as a proxy's password in http_proxy.")
	if !configured {
		fmt.Fprintf(a.stderr, "The configuration does not name this file yet: start with --auth-file %s.\n", file)
	}
	return nil
}

// mayText says what a token may do beyond reading.
func mayText(t auth.TokenInfo) string {
	text := ""
	if len(t.Deny) > 0 {
		text += " but " + strings.Join(t.Deny, ", ")
	}
	if len(t.Write) > 0 {
		text += ", write " + strings.Join(t.Write, ", ")
	}
	if len(t.Scope) > 0 {
		text += ", and " + strings.Join(t.Scope, ", ")
	}
	return text
}

func paths(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

func until(t time.Time) string {
	if t.IsZero() {
		return "until it is revoked"
	}
	return "until " + t.Format(time.RFC3339)
}

func (a *app) tokenListVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newTokenFlags("token list", serveFlags)
	return &ffcli.Command{
		Name: "list", ShortUsage: "zcache token list [flags]", FlagSet: fs.FlagSet, ShortHelp: "show the tokens, without their secrets",
		Exec: func(_ context.Context, args []string) error {
			if err := unexpected("token list", args); err != nil {
				return err
			}
			file, _, err := a.authFile(fs)
			if err != nil {
				return err
			}
			all, err := auth.ListTokens(file)
			if err != nil {
				return err
			}
			if fs.json {
				return printJSON(a.stdout, all)
			}
			return a.printTokens(all, time.Now())
		},
	}
}

func (a *app) printTokens(all []auth.TokenInfo, now time.Time) error {
	tw := tabwriter.NewWriter(a.stdout, 0, 2, 2, ' ', 0)
	if len(all) == 0 {
		fmt.Fprintln(tw, "no tokens")
	} else {
		fmt.Fprintln(tw, "ID\tNAME\tSTATE\tMAY READ")
	}
	for _, t := range all {
		state := "good " + until(t.Expires)
		switch {
		case !t.Revoked.IsZero():
			state = "revoked " + t.Revoked.Format(time.RFC3339)
		case !t.Expires.IsZero() && !now.Before(t.Expires):
			state = "expired " + t.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s%s\n", t.ID, t.Name, state, paths(t.Read, "everything"), mayText(t))
	}
	return tw.Flush()
}

func (a *app) tokenRevokeVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newTokenFlags("token revoke", serveFlags)
	return &ffcli.Command{
		Name: "revoke", ShortUsage: "zcache token revoke [flags] ID|NAME", FlagSet: fs.FlagSet, ShortHelp: "make a token worthless, at once",
		Exec: func(_ context.Context, args []string) error {
			if len(args) != 1 {
				return usage("token revoke takes one id or name, such as zcache token revoke lab3")
			}
			file, _, err := a.authFile(fs)
			if err != nil {
				return err
			}
			gone, err := auth.RevokeToken(file, args[0], time.Now())
			switch {
			case errors.Is(err, auth.ErrNoToken):
				return fmt.Errorf("%w; zcache token list shows them", err)
			case err != nil:
				return err
			case fs.json:
				return printJSON(a.stdout, gone)
			}
			_, err = fmt.Fprintf(a.stdout, "revoked %s (%s)\n", gone.ID, gone.Name)
			return err
		},
	}
}
