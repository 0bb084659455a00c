package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/peterbourgon/ff/v3/ffcli"
)

func (a *app) putVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("put", serveFlags)
	kind := fs.String("type", "", "`TYPE` content type; else by the name")
	keep := fs.Bool("no-clobber", false, "leave what is there")
	return &ffcli.Command{
		Name: "put", ShortUsage: "zcache put [flags] FILE PATH", FlagSet: fs.FlagSet,
		ShortHelp: "keep a file of your own at a path of a writable hub",
		LongHelp: "FILE - is standard input. PATH is as clients see it, escaped as in a URL; //host/path for a hub that is bound to a host. One that ends in a slash gets the\n" +
			"file's name. The file never goes stale, and stays until it is removed (DELETE) or put again.",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) != 2 {
				return usage("put takes a file and a path, such as zcache put hello.tar.gz /lab/src/hello.tar.gz")
			}
			to, err := putPlace(args[1], args[0])
			if err != nil {
				return err
			}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			if *kind == "" {
				*kind = mime.TypeByExtension(path.Ext(to.path))
			}
			done, err := a.put(ctx, c, args[0], to, *kind, *keep, fs.json)
			if err != nil {
				return fmt.Errorf("put %s: %w", args[1], err)
			}
			return a.tellPut(done, fs.json)
		},
	}
}

// A putTo is where a file is put: an escaped path, and the host that it is asked for, where not the server's own.
type putTo struct{ host, path string }

func (p putTo) String() string {
	if p.host == "" {
		return p.path
	}
	return "//" + p.host + p.path
}

// putPlace reads PATH. What is in it besides letters must be escaped, for a ? in a name is not one of a query.
func putPlace(text, file string) (putTo, error) {
	bad := usage("%q is no path such as /hub/dir/file, with ? as %%3F and # as %%23", text)
	var to putTo
	if rest, ok := strings.CutPrefix(text, "//"); ok {
		host, below, _ := strings.Cut(rest, "/")
		to.host, text = host, "/"+below
	}
	if !strings.HasPrefix(text, "/") || strings.ContainsAny(text, "?#") {
		return to, bad
	}
	if strings.HasSuffix(text, "/") {
		if file == "-" {
			return to, usage("standard input has no name; write it behind %s", text)
		}
		text += url.PathEscape(path.Base(strings.ReplaceAll(file, "\\", "/")))
	}
	u, err := url.Parse("http://host.invalid" + text)
	if err != nil {
		return to, bad
	}
	to.path = u.EscapedPath()
	return to, nil
}

// A putDone is what became of it.
type putDone struct {
	Path    string `json:"path"`
	Created bool   `json:"created"` // false: it took the place of another
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
	ETag    string `json:"etag,omitempty"`
}

func (a *app) tellPut(d putDone, asJSON bool) error {
	if asJSON {
		return printJSON(a.stdout, d)
	}
	word := "replaced"
	if d.Created {
		word = "put"
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s: %s, sha256 %s\n", word, d.Path, humanize.IBytes(uint64(d.Size)), d.SHA256)
	return err
}

// put sends a file with its digest, which the server checks before anybody sees the file.
func (a *app) put(ctx context.Context, c *client, name string, to putTo, kind string, keep, quiet bool) (putDone, error) {
	f, err := a.openPut(name)
	if err != nil {
		return putDone{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return putDone{}, fmt.Errorf("read %s: %w", name, err)
	}
	body, end := a.putBody(f, size, to.String(), quiet)
	defer end()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+to.path, body)
	if err != nil {
		return putDone{}, err
	}
	if size == 0 {
		req.Body = http.NoBody
	}
	if req.ContentLength = size; to.host != "" {
		req.Host = to.host
	}
	digest := sum.Sum(nil)
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":")
	req.Header.Set("Expect", "100-continue") // who may not put should be told so before gigabytes are on their way
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if keep {
		req.Header.Set("If-None-Match", "*")
	}
	resp, _, err := c.send(req)
	if err != nil {
		var p *problem
		if errors.As(err, &p) && p.Status == http.StatusPreconditionFailed && keep {
			return putDone{}, errors.New("something is there already")
		}
		return putDone{}, err
	}
	return putDone{
		Path: to.String(), Created: resp.StatusCode == http.StatusCreated, Size: size, SHA256: hex.EncodeToString(digest), ETag: resp.Header.Get("ETag"),
	}, nil
}

// openPut opens the file. What can be read once only is copied first, for its digest goes before it.
func (a *app) openPut(name string) (*os.File, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		switch {
		case err != nil:
			return nil, errors.Join(err, f.Close())
		case info.IsDir():
			return nil, errors.Join(fmt.Errorf("%s is a directory; put takes one file", name), f.Close())
		case info.Mode().IsRegular():
			return f, nil
		}
		defer f.Close()
		in = f
	}
	temp, err := spool(in)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return temp, nil
}

// spool copies what can be read once only to a file without a name.
func spool(in io.Reader) (*os.File, error) {
	temp, err := os.CreateTemp("", "zcache-put-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(temp.Name())
	if err == nil {
		_, err = io.Copy(temp, in)
	}
	if err == nil {
		_, err = temp.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	return temp, nil
}

// putBody is f, with a bar that shows how it goes where somebody looks.
func (a *app) putBody(f *os.File, size int64, name string, quiet bool) (body io.Reader, end func()) {
	if quiet || !isTerminal(a.stderr) {
		return f, func() {}
	}
	bar := progress.NewWriter()
	bar.SetOutputWriter(a.stderr)
	bar.SetAutoStop(false)
	bar.SetTrackerLength(30)
	tracker := &progress.Tracker{Message: name, Total: size, Units: progress.UnitsBytes}
	bar.AppendTracker(tracker)
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		bar.Render()
	}()
	return io.TeeReader(f, trackerWriter{tracker}), func() {
		tracker.MarkAsDone()
		bar.Stop()
		<-drawn
	}
}

// A trackerWriter counts what is written to it.
type trackerWriter struct{ tracker *progress.Tracker }

func (w trackerWriter) Write(p []byte) (int, error) {
	w.tracker.Increment(int64(len(p)))
	return len(p), nil
}
