package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/config"
	"zcache/internal/proxy"
	"zcache/internal/web"
)

const (
	authorityFile = "zcache-ca.pem" // in a directory that --out names
	keySuffix     = ".key"
	day           = 24 * time.Hour
	maxDays       = 100 * 365
)

func (a *app) caVerb() *ffcli.Command {
	c := &ffcli.Command{
		Name: "ca", ShortUsage: "zcache ca create|print [flags]", ShortHelp: "make or show a certificate authority for interception",
		FlagSet: newFlagSet("ca"), Subcommands: []*ffcli.Command{a.caCreateVerb(), a.caPrintVerb()},
	}
	c.Exec = func(_ context.Context, args []string) error {
		if len(args) == 0 {
			return &helpWanted{c}
		}
		return usage("ca does not know %q; write ca create or ca print", args[0])
	}
	return c
}

// A wordList is a flag that may be given again and again, and takes several words parted by commas.
type wordList []string

func (l *wordList) String() string { return strings.Join(*l, ",") }

// Set adds words.
func (l *wordList) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*l = append(*l, word)
		}
	}
	return nil
}

func (a *app) caCreateVerb() *ffcli.Command {
	fs := newFlagSet("ca create")
	var hosts wordList
	out := fs.String("out", ".", "`PATH` file for the certificate, or a directory for "+authorityFile+"; the key goes beside it, with "+keySuffix+" added")
	fs.Var(&hosts, "host", "`HOST` that it may speak for, with all below; *.HOST or .HOST: only what is below; or an address or CIDR; repeatable")
	days := fs.Int("days", 3650, "`DAYS` of validity")
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name: "create", ShortUsage: "zcache ca create [--out PATH] --host HOST [--host HOST …]", FlagSet: fs,
		ShortHelp: "make a certificate authority that is limited to some hosts",
		Exec: func(_ context.Context, args []string) error {
			if err := unexpected("ca create", args); err != nil {
				return err
			}
			if len(hosts) == 0 {
				return usage("ca create needs --host: an authority that may speak for every host is not made; write --host example.org, --host '*.example.org' or several")
			}
			if *days < 1 || *days > maxDays {
				return usage("--days is no number from 1 to %d", maxDays)
			}
			return a.createAuthority(*out, hosts, *days, *asJSON)
		},
	}
}

// createAuthority writes the two files and tells what they are. The key comes first: a certificate without its key is of no use to anybody.
func (a *app) createAuthority(out string, hosts []string, days int, asJSON bool) error {
	file := out
	if info, err := os.Stat(out); err == nil && info.IsDir() || strings.HasSuffix(out, "/") {
		file = filepath.Join(out, authorityFile)
	}
	cert, key, err := proxy.MakeAuthority(hosts, time.Now(), time.Duration(days)*day)
	if err != nil {
		return usage("--host: %w", err)
	}
	if err := writeNew(file+keySuffix, key, 0o600); err != nil {
		return err
	}
	if err := writeNew(file, cert, 0o644); err != nil {
		return errors.Join(err, os.Remove(file+keySuffix))
	}
	view, err := viewAuthority(file)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, struct {
			File string `json:"file"`
			Key  string `json:"key_file"`
			proxy.CertificateView
		}{file, file + keySuffix, view})
	}
	fmt.Fprintf(a.stdout, "%s\tfor clients to trust\n%s\tto be kept secret\n", file, file+keySuffix)
	if err := printAuthority(a.stdout, view); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "start with --intercept-ca %s; clients find the certificate at /-/ca.pem\n", file)
	return err
}

// writeNew writes a file that must not be there yet, to the disk: a key that a power cut takes away is gone for all clients that were told to trust
// its certificate.
func writeNew(name string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; choose another name with --out, or remove it if no client trusts it any more", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (a *app) caPrintVerb() *ffcli.Command {
	fs := newFlagSet("ca print")
	asPEM := fs.Bool("pem", false, "print the certificate alone, in PEM form")
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name: "print", ShortUsage: "zcache ca print [--pem] FILE", FlagSet: fs, ShortHelp: "show a certificate authority",
		Exec: func(_ context.Context, args []string) error {
			if len(args) != 1 {
				return usage("ca print takes one file, such as zcache ca print %s", authorityFile)
			}
			if *asPEM {
				return printCertificates(a.stdout, args[0])
			}
			view, err := viewAuthority(args[0])
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(a.stdout, view)
			}
			return printAuthority(a.stdout, view)
		},
	}
}

// certificates are the certificates of a PEM file, whatever else is in it.
func certificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return out, nil
}

// printCertificates prints the certificates of a file and never the key that may lie beside them in it.
func printCertificates(w io.Writer, file string) error {
	all, err := certificates(file)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return err
		}
	}
	return nil
}

func viewAuthority(file string) (proxy.CertificateView, error) {
	all, err := certificates(file)
	if err != nil {
		return proxy.CertificateView{}, err
	}
	return proxy.ViewCertificate(all[0]), nil
}

func printAuthority(w io.Writer, v proxy.CertificateView) error {
	tw := tabwriter.NewWriter(w, 0, 2, 2, ' ', 0)
	limits := strings.Join(v.Constraints, " ")
	if limits == "" {
		limits = "none: it may speak for every host, and is refused"
	}
	fmt.Fprintf(tw, "subject\t%s\nsha256\t%s\nlimited to\t%s\nvalid from\t%s\nvalid until\t%s\nkey\t%s\n",
		strconv.QuoteToGraphic(v.Subject), v.Fingerprint, limits, v.NotBefore.Format(time.RFC3339), v.NotAfter.Format(time.RFC3339), v.PublicKey)
	return tw.Flush()
}

// authorityOf makes the authority that a configuration names; nil when it names none. What is wrong with it is the operator's to mend.
func authorityOf(pair *tls.Certificate) (*proxy.Authority, error) {
	if pair == nil {
		return nil, nil
	}
	ca, err := proxy.NewAuthority(pair, nil)
	switch {
	case errors.Is(err, proxy.ErrUnconstrained):
		return nil, config.Problems{{Setting: "intercept-ca", Reason: err.Error() + "; make one with zcache ca create --host HOST"}}
	case err != nil:
		return nil, config.Problems{{Setting: "intercept-ca", Reason: "the certificate " + err.Error()}}
	}
	return ca, nil
}

// forwarding tells clients how this instance serves as a forward proxy.
func (in *instance) forwarding() web.Forwarding {
	f := web.Forwarding{Proxy: in.current.Load().cfg.Proxy}
	if ca := in.inside.Authority(); ca != nil {
		f.CA, f.Hosts, f.Fingerprint = ca.PEM(), ca.Constraints(), ca.View().Fingerprint
	}
	return f
}
