package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/config"
)

// commands is the tree of verbs. The flags of the process stand before or after serve and check-config alike; before any other verb they
// tell which server it talks to.
func (a *app) commands() *ffcli.Command {
	flags := newFlagSet("zcache")
	a.flags = config.Register(flags)
	root := &ffcli.Command{
		Name: "zcache", ShortUsage: "zcache [serve] [flags]\n  zcache <verb> [flags] [arguments]",
		ShortHelp: "A caching mirror of upstream file trees",
		LongHelp: "Every flag is also a variable (--log-level: ZCACHE_LOG_LEVEL) and a key of the TOML file.\n" +
			"Flags win over variables, variables over the file.",
		FlagSet: flags,
	}
	root.Subcommands = []*ffcli.Command{
		{Name: "serve", ShortUsage: "zcache serve [flags]", ShortHelp: "answer clients (the default)", FlagSet: flags,
			Exec: a.serveVerb},
		a.checkConfigVerb(flags),
		a.explainVerb(flags),
		a.warmVerb(flags),
		a.walkVerb(flags),
		a.purgeVerb(flags),
		a.trashVerb(flags),
		a.putVerb(flags),
		a.tokenVerb(flags),
		a.caVerb(),
		a.demoVerb(),
		a.versionVerb(),
		{Name: "help", ShortUsage: "zcache help [verb]", ShortHelp: "show this, or what a verb takes", FlagSet: newFlagSet("help"),
			Exec: func(_ context.Context, args []string) error { return help(root, args) }},
	}
	root.Exec = func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			return unknownVerb(root, args[0])
		}
		return a.serveVerb(ctx, nil)
	}
	return root
}

func newFlagSet(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // report says what is wrong, in one line
	return fs
}

// laterVerbs are those that the contract names and this version does not have.
var laterVerbs = []string{"ls", "verify", "import", "export", "apply", "completion"}

func unknownVerb(root *ffcli.Command, verb string) error {
	if slices.Contains(laterVerbs, strings.ToLower(verb)) {
		return usage("%s comes with a later version; zcache help shows what there is", verb)
	}
	var names []string
	for _, c := range root.Subcommands {
		names = append(names, c.Name)
	}
	if near := config.Nearest(verb, names); near != "" {
		return usage("unknown verb %q; did you mean %s?", verb, near)
	}
	return usage("unknown verb %q; the verbs are %s", verb, strings.Join(names, ", "))
}

func help(root *ffcli.Command, args []string) error {
	if len(args) == 0 {
		return &helpWanted{root}
	}
	if c := subcommand(root, args[0]); c != nil {
		return &helpWanted{c}
	}
	return unknownVerb(root, args[0])
}

// helpWanted says that the command's help was asked for.
type helpWanted struct{ command *ffcli.Command }

func (h *helpWanted) Error() string { return "help for " + h.command.Name }

func subcommand(c *ffcli.Command, name string) *ffcli.Command {
	for _, sub := range c.Subcommands {
		if strings.EqualFold(sub.Name, name) {
			return sub
		}
	}
	return nil
}

// arrange puts the flags of each verb before its arguments, where package flag wants them, for people type zcache purge /x --recursive. On
// the way it judges the flags' names, with a better answer to a wrong one than package flag has.
func arrange(c *ffcli.Command, args []string) ([]string, error) {
	var flags, rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if sub := subcommand(c, arg); sub != nil && len(rest) == 0 {
				tail, err := arrange(sub, args[i+1:])
				return append(append(flags, arg), tail...), err
			}
			rest = append(rest, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name == "version" && len(c.Subcommands) > 0 {
			return []string{"version"}, nil
		}
		f, err := lookup(c, name)
		if err != nil {
			return nil, err
		}
		flags = append(flags, arg)
		if hasValue || isSwitch(f) {
			continue
		}
		if i++; i == len(args) {
			return nil, usage("--%s needs a value; write --%s=…", name, name)
		}
		flags = append(flags, args[i])
	}
	return append(append(flags, "--"), rest...), nil
}

func lookup(c *ffcli.Command, name string) (*flag.Flag, error) {
	if f := c.FlagSet.Lookup(name); f != nil {
		return f, nil
	}
	if name == "h" || name == "help" {
		return nil, &helpWanted{c}
	}
	if config.Later(name) {
		return nil, usage("--%s comes with a later version; remove it", name)
	}
	var names []string
	c.FlagSet.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(name, names); near != "" {
		return nil, usage("unknown flag --%s; did you mean --%s?", name, near)
	}
	return nil, usage("unknown flag --%s; zcache help shows the flags", name)
}

func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// usageText is the help of one command.
func usageText(c *ffcli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", c.ShortHelp, c.ShortUsage)
	if c.LongHelp != "" {
		fmt.Fprintf(&b, "\n%s\n", c.LongHelp)
	}
	if len(c.Subcommands) > 0 {
		b.WriteString("\nVerbs:\n")
		tw := tabwriter.NewWriter(&b, 0, 2, 2, ' ', 0)
		for _, sub := range c.Subcommands {
			fmt.Fprintf(tw, "  %s\t%s\n", sub.Name, sub.ShortHelp)
		}
		tw.Flush()
	}
	b.WriteString(flagsText(c.FlagSet))
	return b.String()
}

func flagsText(fs *flag.FlagSet) string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 2, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		arg, text := flag.UnquoteUsage(f)
		text = strings.TrimPrefix(text, arg+" ")
		if isSwitch(f) {
			arg = ""
		}
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default: " + f.DefValue + ")"
		}
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		fmt.Fprintf(tw, "  %s%s\t%s\n", dashes, strings.TrimSpace(f.Name+" "+arg), text)
	})
	tw.Flush()
	if b.Len() == 0 {
		return ""
	}
	return "\nFlags:\n" + b.String()
}
