package notify

import (
	"crypto/rand"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Kind is what sort of thing has happened.
type Kind string

const (
	UpstreamFailed    Kind = "upstream-failed"    // a file could not be had from any upstream, for good
	PurgeHeldBack     Kind = "purge-held-back"    // a walk would have removed more than it may
	ContentChanged    Kind = "content-changed"    // other bytes under one URL
	IntegrityFailure  Kind = "integrity-failure"  // bytes are not what their digest says
	StorageRed        Kind = "storage-red"        // the disk cannot be written, or is full
	WalkFailing       Kind = "walk-failing"       // a subtree has not been walked for long
	CertificateExpiry Kind = "certificate-expiry" // a certificate ends soon
	HeldBack          Kind = "held-back"          // there were more notices than are told in an hour
	ReadinessChanged  Kind = "readiness"          // the instance leaves the rotation, or comes back
)

var kinds = []Kind{UpstreamFailed, PurgeHeldBack, ContentChanged, IntegrityFailure, StorageRed, WalkFailing, CertificateExpiry, HeldBack, ReadinessChanged}

// An Event is something that needs a person. Two of the same kind and subject are the same thing happening again.
type Event struct {
	Kind    Kind
	Subject string // what it happened to: a URL, a hub, a path
	Text    string // a sentence
	Fields  map[string]string
}

// A Message is what a Sink brings to people. It is not changed by Sinks.
type Message struct {
	ID       string
	At       time.Time
	Instance string
	Event
	Again int // how often it happened again in silence since it was last told
}

func newMessage(e Event, instance string, again int) Message {
	return Message{ID: "msg_" + rand.Text(), At: time.Now(), Instance: instance, Event: e, Again: again}
}

// userinfo is the part of a URL that must not be told.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/?#@\s]*@`)

const (
	mostSubject = 1 << 10
	mostText    = 2 << 10
	mostField   = 512
	mostFields  = 16
)

// clean bounds an event and takes out what does not belong to people: credentials in URLs, and control characters, which the one who chose a URL
// could make lines of a mail from.
func (e Event) clean() Event {
	e.Subject = cleanText(e.Subject, mostSubject)
	e.Text = cleanText(e.Text, mostText)
	fields := make(map[string]string, len(e.Fields))
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if len(fields) == mostFields {
			break
		}
		fields[cleanText(name, 64)] = cleanText(e.Fields[name], mostField)
	}
	e.Fields = fields
	return e
}

func cleanText(s string, most int) string {
	if len(s) > most {
		s = s[:most]
		for range utf8.UTFMax { // of a character that was cut nothing stays
			if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return userinfo.ReplaceAllString(s, "$1")
}
