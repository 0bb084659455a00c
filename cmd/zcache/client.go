package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"zcache/internal/config"
)

// clientFlags are what every verb takes that talks to a running server.
type clientFlags struct {
	*flag.FlagSet
	server    string
	tokenFile string
	json      bool
}

func newClientFlags(name string, serveFlags *flag.FlagSet) *clientFlags {
	fs := &clientFlags{FlagSet: newFlagSet(name)}
	fs.StringVar(&fs.server, "server", os.Getenv("ZCACHE_SERVER"), "`URL` of the running zcache; else ZCACHE_SERVER, else the configured listen address")
	fs.StringVar(&fs.tokenFile, "token-file", "", "`FILE` with the token to show to the server; else the token in ZCACHE_TOKEN")
	fs.BoolVar(&fs.json, "json", false, "print JSON, for scripts")
	for _, name := range []string{"config", "c"} {
		f := serveFlags.Lookup(name)
		fs.Var(f.Value, f.Name, f.Usage)
	}
	return fs
}

// A client talks to the operations of a running zcache.
type client struct {
	base  string
	token string // shown as Bearer; empty = none
	http  *http.Client
}

// tokenVariable holds a token, which a flag would show to all users of the machine.
const tokenVariable = "ZCACHE_TOKEN"

// longestToken bounds the file of a token, for a wrong one named by mistake.
const longestToken = 64 << 10

// token is what the verb shows to the server.
func (fs *clientFlags) token() (string, error) {
	text := os.Getenv(tokenVariable)
	if fs.tokenFile != "" {
		f, err := os.Open(fs.tokenFile)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, longestToken))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		if text = string(data); strings.TrimSpace(text) == "" {
			return "", fmt.Errorf("read the token: %s is empty", fs.tokenFile)
		}
	}
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("read the token: it is not one word; zcache token create prints one")
	}
	return text, nil
}

// client finds the server: named by flag, or by the configuration that it was started with.
func (a *app) client(fs *clientFlags) (*client, error) {
	token, err := fs.token()
	if err != nil {
		return nil, err
	}
	server := fs.server
	if server == "" {
		cfg, err := a.flags.Load()
		if err != nil {
			return nil, err
		}
		server = localURL(cfg)
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usage("--server %q is no URL; write one such as http://127.0.0.1:3142", server)
	}
	// The environment's proxy may be this very zcache: operations are asked of the server itself.
	transport := &http.Transport{Proxy: nil, MaxIdleConnsPerHost: warmAtOnce, ExpectContinueTimeout: continueTime}
	return &client{base: strings.TrimSuffix(u.String(), "/"), token: token, http: &http.Client{Transport: transport}}, nil
}

// localURL is how a process on the same machine reaches the server. Operations are for loopback clients, so an address that
// loopback reaches goes first.
func localURL(cfg config.Config) string {
	best := ""
	for _, addr := range cfg.Listen {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			continue
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case host == "", err == nil && ip.IsUnspecified():
			return "http://" + net.JoinHostPort("127.0.0.1", port)
		case host == "localhost", err == nil && ip.IsLoopback():
			return "http://" + net.JoinHostPort(host, port)
		}
		if best == "" {
			best = "http://" + net.JoinHostPort(host, port)
		}
	}
	return best
}

// A problem is an error answer of the server (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"error"`
}

func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	return text
}

// offline says that what was asked for is not held and cannot be had.
func (p *problem) offline() bool { return p.Status == http.StatusGatewayTimeout }

// continueTime is how long a body waits for the word that it is welcome.
const continueTime = 2 * time.Second

// maxAnswer bounds what is read of an answer of the server.
const maxAnswer = 16 << 20

// call asks the server and returns the JSON of its answer.
func (c *client) call(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	_, data, err := c.send(req)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("%s answered without JSON; is it a zcache?", c.base)
	}
	return data, nil
}

// send sends a request and reads the answer; one that is an error is returned as the problem that it tells of.
func (c *client) send(req *http.Request) (*http.Response, []byte, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "zcache/"+thisBuild().Version)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode < 400 {
		return resp, data, nil
	}
	p := &problem{}
	if err := json.Unmarshal(data, p); err != nil {
		p.Title = strings.TrimSpace(string(data[:min(len(data), 200)]))
	}
	p.Status = resp.StatusCode
	if p.Status == http.StatusUnauthorized && c.token == "" {
		p.Detail = strings.TrimSuffix(p.Detail, ".") + "; name a token with --token-file or in " + tokenVariable
	}
	return nil, nil, p
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no zcache answers at %s; start one with zcache serve, or name it with --server", c.base)
	}
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return fmt.Errorf("ask %s: %w", c.base, err)
}
