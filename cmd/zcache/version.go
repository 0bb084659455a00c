package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// version is set by the linker for releases (-X main.version=…).
var version = ""

// A build tells which program this is.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func (a *app) versionVerb() *ffcli.Command {
	fs := newFlagSet("version")
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name: "version", ShortUsage: "zcache version [--json]", ShortHelp: "tell which version this is", FlagSet: fs,
		Exec: func(_ context.Context, args []string) error {
			if err := unexpected("version", args); err != nil {
				return err
			}
			b := thisBuild()
			if *asJSON {
				return printJSON(a.stdout, b)
			}
			line := fmt.Sprintf("zcache %s (%s, %s", b.Version, b.Go, b.Platform)
			if b.Revision != "" {
				line += ", revision " + b.Revision
			}
			_, err := fmt.Fprintln(a.stdout, line+")")
			return err
		},
	}
}
