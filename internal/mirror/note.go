package mirror

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
)

// noteVersion is that of a note's text.
const noteVersion = 1

// A note is what a walk left with a directory: as of when all below it is current, and what that is.
type note struct {
	asOf time.Time // when its listing was asked for: what was noted in a walk is done
	// of is the time that all at and below the directory is known to be true of: the earliest time that anything there was listed, by the upstream's own
	// word where that is itself a mirror.
	of time.Time
	// own is the Merkle digest of all that is listed at and below the directory; held says that all of it is held, so that own is known.
	own  [32]byte
	held bool
	// theirs is own without the local originals, which the upstream does not know.
	theirs [32]byte
	// up is the digest that the upstream gave for the same; "" when it gave none, or when something below could not be had.
	up string
	// rules are those by which something was left out; up says nothing to who goes by others, or with other credentials.
	rules uint64
	// look says that something here or below is gone upstream and still held: no digest tells of that, so the next walk looks.
	look               bool
	dirs, files, bytes int64
}

var errNote = errors.New("malformed note")

func (n *note) encode() []byte {
	b := fmt.Appendf(nil, "zcache-walk %d\nasof %d.%09d\nof %d.%09d\n", noteVersion, n.asOf.Unix(), n.asOf.Nanosecond(), n.of.Unix(), n.of.Nanosecond())
	if n.held {
		b = fmt.Appendf(b, "own %x\n", n.own)
		if n.theirs != n.own {
			b = fmt.Appendf(b, "theirs %x\n", n.theirs)
		}
	}
	if n.up != "" && len(n.up) <= 256 && !strings.ContainsAny(n.up, "\r\n") {
		b = fmt.Appendf(b, "up %s\nrules %d\n", n.up, n.rules)
	}
	if n.look {
		b = append(b, "look\n"...)
	}
	return fmt.Appendf(b, "dirs %d\nfiles %d\nbytes %d\n", n.dirs, n.files, n.bytes)
}

func decodeNote(data []byte) (*note, error) {
	head, rest, _ := strings.Cut(string(data), "\n")
	if version, ok := strings.CutPrefix(head, "zcache-walk "); !ok || version != strconv.Itoa(noteVersion) {
		return nil, errNote
	}
	n := &note{}
	parted := false
	for line := range strings.Lines(rest) {
		mark, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch mark {
		case "asof":
			n.asOf, err = parseTime(value)
		case "of":
			n.of, err = parseTime(value)
		case "own":
			if len(value) != 2*len(n.own) {
				return nil, errNote
			}
			_, err = hex.Decode(n.own[:], []byte(value))
			n.held = true
		case "theirs":
			if len(value) != 2*len(n.theirs) {
				return nil, errNote
			}
			_, err = hex.Decode(n.theirs[:], []byte(value))
			parted = true
		case "up":
			n.up = value
		case "rules":
			n.rules, err = strconv.ParseUint(value, 10, 64)
		case "look":
			n.look = true
		case "dirs":
			n.dirs, err = strconv.ParseInt(value, 10, 64)
		case "files":
			n.files, err = strconv.ParseInt(value, 10, 64)
		case "bytes":
			n.bytes, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errNote, mark, err)
		}
	}
	if n.asOf.IsZero() || n.of.IsZero() {
		return nil, errNote
	}
	if !parted {
		n.theirs = n.own
	}
	return n, nil
}

func parseTime(s string) (time.Time, error) {
	sec, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	ns, err := strconv.ParseUint(frac, 10, 32)
	return time.Unix(n, int64(ns)), err
}

// earlier is the earlier of two times, of which the second counts for nothing when it is zero.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// noted reads a directory's note; nil when there is none that could be read.
func (s *Scheduler) noted(dir cache.Key) *note {
	data, err := s.cfg.Store.Noted(dir)
	if err != nil || data == nil {
		return nil
	}
	n, err := decodeNote(data)
	if err != nil {
		s.log.Debug("note is of no use", "key", dir.String(), "error", err)
		return nil
	}
	return n
}

// Digest returns the Merkle digest of all that is held at and below a directory, and as of when it is all that the upstream has; not
// ok when nobody can say that.
func (s *Scheduler) Digest(dir cache.Key) (digest string, asOf time.Time, ok bool) {
	n := s.noted(dir)
	if n == nil || !n.held {
		return "", time.Time{}, false
	}
	return hex.EncodeToString(n.own[:]), n.of, true
}

// AsOf returns the time that all at and below a directory is known to be true of, unless something there has changed since.
func (s *Scheduler) AsOf(dir cache.Key) (time.Time, bool) {
	n := s.noted(dir)
	if n == nil {
		return time.Time{}, false
	}
	return n.of, true
}

// within says that the note was made between two moments. One that is ahead of the clock is of a clock that was wrong, and would pass for one of every walk
// until its time has come.
func (n *note) within(from, to time.Time) bool {
	return n != nil && !n.asOf.Before(from) && !n.asOf.After(to)
}

// question is the digest that an upstream may answer "nothing changed" to; "" when none would mean that to who goes by these rules.
func (n *note) question(rules uint64) string {
	switch {
	case n == nil || n.look:
		return ""
	case n.held:
		return hex.EncodeToString(n.theirs[:])
	case n.rules == rules:
		return n.up
	}
	return ""
}

// upstreamDigest reads the digest of a Zcache-Subtree field that is for all of the subtree; "" when there is none.
func upstreamDigest(field string) string {
	digest, params, _ := strings.Cut(field, ";")
	digest = strings.TrimSpace(digest)
	if len(digest) < 3 || digest[0] != '"' || digest[len(digest)-1] != '"' {
		return ""
	}
	for p := range strings.SplitSeq(params, ";") {
		if p = strings.TrimSpace(p); p == "complete=?1" || p == "complete" {
			return digest[1 : len(digest)-1]
		}
	}
	return ""
}
