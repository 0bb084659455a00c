package listing

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// ParseFTP reads what an FTP server sent over the data connection for command: LIST with whatever options, MLSD, or NLST. It knows
// the rows of ls in its many dates and languages, DOS, EPLF, NetWare and VMS, each by its shape, and the facts of RFC 3659.
//
// A row that it cannot read fails the listing with ErrNotListing, since a name may be lost with it; so do lines in which a server
// complains, with ErrForbidden or ErrCut. No rows at all are an empty directory. None of these formats says where it ends: a body cut
// inside a line is ErrCut, one cut between two lines looks whole, and only the reply on the control connection tells (ReplyError).
//
// A row without a year lies within the six months before src.Now, give or take a day for the zones. Some servers leave the year out
// of every future time too; where the six months do not hold, the time is unknown, and so are all of a list in which no row has a
// year. ZoneKnown is true of MLSD and EPLF, of rows that show a zone, and where src.Zone is given.
//
// What a row of ls says of a symbolic link is the link's own. If it leads to a name of the same directory, Kind, Size and ModTime are
// that one's; otherwise they are unknown, lest the link's age be taken for its target's.
func ParseFTP(src Source, command string, body io.Reader) (*Listing, error) {
	r := bufio.NewReaderSize(&capped{r: body, left: MaxSize}, 2*sniffed)
	verb, options, _ := strings.Cut(strings.TrimSpace(command), " ")
	switch strings.ToUpper(verb) {
	case "MLSD":
		return parseFacts(src, r)
	case "NLST":
		if !strings.HasPrefix(options, "-") || !strings.Contains(strings.Fields(options)[0], "l") {
			return parseNames(src, r)
		}
	case "LIST", "STAT":
	default:
		return nil, fmt.Errorf("%w: %.20q lists nothing", ErrNotListing, verb)
	}
	return parseRows(src, r, false)
}

// parseText reads rows of ls or their kin that came without a word of what they are. The first line must be one, and rows of one
// form are all that it takes.
func parseText(src Source, r *bufio.Reader) (*Listing, error) {
	return parseRows(src, r, true)
}

// parseRows reads a LIST. With wary set, a body without a single row is no listing.
func parseRows(src Source, r *bufio.Reader, wary bool) (*Listing, error) {
	lines := newLines(r)
	rows := rowReader{frame: frameOf(src), wary: wary}
	rows.frame.outside = &rows.outside
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := rows.line(line); err != nil {
			return nil, err
		}
	}
	if err := rows.end(); err != nil {
		return nil, err
	}
	if wary && !rows.any {
		return nil, fmt.Errorf("%w: no rows", ErrNotListing)
	}
	return &Listing{Entries: tidied(followLinks(rows.entries))}, nil
}

// parseNames reads an NLST: names, one a line. Some servers put the directory's path before each, some end directories in a slash.
func parseNames(src Source, r *bufio.Reader) (*Listing, error) {
	lines := newLines(r)
	var entries []Entry
	for {
		name, err := lines.next()
		if err == io.EOF {
			return &Listing{Entries: tidied(entries)}, nil
		}
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, "ls: ") || strings.HasPrefix(name, "Output truncated") {
			if err := complaint(name); err != nil {
				return nil, err
			}
		}
		e := Entry{Size: -1}
		if bare := strings.TrimSuffix(name, "/"); bare != name {
			name, e.Kind = bare, Dir
		}
		if at := strings.LastIndexByte(name, '/'); at >= 0 {
			if !isOwnPath(src.URL, name[:at]) {
				return nil, fmt.Errorf("%w: name %.80q leads elsewhere", ErrNotListing, name)
			}
			name = name[at+1:]
		}
		e.Name = name
		entries = append(entries, e)
	}
}

// isOwnPath says whether dir, written before a name, is u's own directory: whole, from the root of the login on, or as ".".
func isOwnPath(u *url.URL, dir string) bool {
	if dir = strings.TrimPrefix(dir, "./"); dir == "." || dir == "" {
		return true
	}
	if u == nil {
		return false
	}
	own := "/" + strings.Trim(u.Path, "/")
	return own == dir || strings.HasSuffix(own, "/"+strings.TrimPrefix(dir, "/"))
}

// ReplyError says what the reply to a listing command means for its listing: the text of all of the reply's lines, as sent on the
// control connection. It is nil for a plain success. pure-ftpd ends a listing that it cut at its limit with "226 Output truncated to
// 2000 matches", and with nothing in the listing itself.
func ReplyError(reply string) error {
	for line := range strings.Lines(reply) {
		if err := complaint(strings.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
	return nil
}

// complaint says what a line means that is not a row but a server's words; nil when it says nothing that is known here.
func complaint(line string) error {
	text := strings.ToLower(line)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("permission denied", "access denied", "access is denied", "operation not permitted", "not authorized", "eacces"):
		return fmt.Errorf("%w: %.200q", ErrForbidden, line)
	case has("truncated", "too many", "output limit", "listing aborted", "list limit"),
		has("cannot access", "can't access", "cannot open", "can not access", "no such file", "unreadable", "not found", "i/o error", "input/output error", "stale file handle"):
		return fmt.Errorf("%w: %.200q", ErrCut, line)
	case len(text) > 4 && (text[0] == '4' || text[0] == '5') && isDigits(text[:3]) && (text[3] == ' ' || text[3] == '-'):
		return fmt.Errorf("%w: %.200q", ErrCut, line)
	}
	return nil
}
