// Command zcache is a caching mirror of upstream file trees: it fetches what is asked for once, keeps it at the upstream's own paths, and
// goes on answering when the upstream is gone.
//
// This package reads the command line, wires the parts together and starts and stops them. What they do is theirs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"zcache/internal/config"
)

// The exit codes of every verb.
const (
	exitOK      = 0
	exitFailure = 1 // configuration or failure
	exitUsage   = 2
	exitPartial = 3 // some of what was asked for was done
	exitOffline = 5 // off line, and what was asked for is not held
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, serve: runServe}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

// An app is one invocation of the command.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flags          *config.Flags // of the process, as given on the command line
	serve          serveFunc     // runServe, replaced in tests
}

// run runs the verb that args name and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.commands()
	args, err := arrange(root, args)
	if err != nil {
		return a.report(err)
	}
	if err := root.Parse(args); err != nil {
		return a.report(usage("%s", strings.TrimPrefix(err.Error(), "error parsing commandline arguments: ")))
	}
	return a.report(root.Run(ctx))
}

// report is the one place that turns an error into lines and an exit code.
func (a *app) report(err error) int {
	var (
		help     *helpWanted
		exit     *exitError
		problems config.Problems
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &help):
		fmt.Fprint(a.stdout, usageText(help.command))
		return exitOK
	case errors.As(err, &problems):
		fmt.Fprintln(a.stderr, problems)
		return exitFailure
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintln(a.stderr, "zcache:", oneLine(exit.err.Error()))
		}
		return exit.code
	}
	fmt.Fprintln(a.stderr, "zcache:", oneLine(err.Error()))
	return exitFailure
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// An exitError ends the process with a code of its own. Without err everything was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unexpected refuses arguments of a verb that takes none.
func unexpected(verb string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("%s takes no argument %q; zcache help %s shows what it takes", verb, args[0], verb)
}
