package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// A command is a program that is run for each message, without a shell. The message is in its environment and, as the JSON of a webhook, on its
// standard input. Status 0 is a success.
type command struct {
	name    string
	args    []string
	timeout time.Duration
	kinds   []Kind
}

func parseCommand(u *url.URL) (*command, error) {
	o := readOptions(u.RawQuery)
	c := &command{name: u.Path, args: o.takeAll("arg"), timeout: sendTimeout, kinds: o.kinds()}
	if text := o.take("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > sendTimeout {
			o.fail(fmt.Errorf("timeout must be a duration of up to %v", sendTimeout))
		}
		c.timeout = d
	}
	switch info, err := os.Stat(c.name); {
	case u.Host != "" || u.User != nil || u.Opaque != "" || !path.IsAbs(c.name):
		o.fail(errors.New("a command is named by its whole path, with three slashes before it"))
	case err != nil:
		o.fail(err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		o.fail(fmt.Errorf("%s cannot be run", c.name))
	}
	return c, o.end()
}

func (c *command) Kinds() []Kind { return c.kinds }

// String leaves out the arguments, which may hold a secret.
func (c *command) String() string { return "exec://" + c.name }

// Send runs the command. It and all that it has started are killed when the time is over.
func (c *command) Send(ctx context.Context, m Message) error {
	body, err := encode(m)
	if err != nil {
		return fmt.Errorf("%w: %w", errPermanent, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Env = environment(m)
	cmd.Stdin = bytes.NewReader(body)
	cmd.Dir = "/"
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for a child that has left the group and holds the pipe
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("run %s: not done after %v", c.name, c.timeout)
	case len(said.text) > 0:
		return fmt.Errorf("run %s: %w: %s", c.name, err, cleanText(string(said.text), len(said.text)))
	}
	return fmt.Errorf("run %s: %w", c.name, err)
}

// environment holds the message, and of our own only what programs need to run: the rest may hold secrets.
func environment(m Message) []string {
	env := []string{
		"ZCACHE_KIND=" + string(m.Kind), "ZCACHE_SUBJECT=" + m.Subject, "ZCACHE_TEXT=" + m.Text, "ZCACHE_ID=" + m.ID,
		"ZCACHE_INSTANCE=" + m.Instance, fmt.Sprintf("ZCACHE_AGAIN=%d", m.Again), "ZCACHE_AT=" + m.At.UTC().Format(time.RFC3339),
	}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range m.Fields {
		env = append(env, "ZCACHE_FIELD_"+variable(name)+"="+value)
	}
	return env
}

// variable makes a name of an environment variable.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z') {
			return '_'
		}
		return r
	}, strings.ToUpper(name))
}

// A tail keeps the last of what a command says.
type tail struct{ text []byte }

const mostSaid = 1 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if len(t.text) > mostSaid {
		t.text = append(t.text[:0], t.text[len(t.text)-mostSaid:]...)
	}
	return len(p), nil
}
