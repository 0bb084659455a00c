package origin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/textproto"
	"sync"

	"github.com/jlaffaye/ftp"

	"zcache/internal/listing"
)

// An ftpBody is a file, or the rest of one, that a server sends. It ends with io.EOF when all bytes came that SIZE promised and no more, and the
// server said that this was all. Where it hung up without a word after all of them, the size vouches.
type ftpBody struct {
	session  *ftpSession
	transfer *ftp.Response
	left     int64 // still to come; -1 when the size is not known
	part     bool  // the range ends before the file does

	once sync.Once // gives the session back
}

func (b *ftpBody) Read(p []byte) (int, error) {
	if b.part && b.left == 0 {
		b.giveUp() // the server would go on to the end of the file
		return 0, io.EOF
	}
	if b.part {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.transfer.Read(p)
	if b.left >= 0 {
		if int64(n) > b.left {
			b.giveUp()
			return int(b.left), errLonger
		}
		b.left -= int64(n)
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		b.giveUp()
		return n, err
	}
	return n, b.finish()
}

// finish hears what the server says of the transfer that has ended.
func (b *ftpBody) finish() error {
	err := b.transfer.Close()
	var reply *textproto.Error
	switch said := errors.As(err, &reply); {
	case said && reply.Code/100 == 2: // the library takes no other success than 226
		err = nil
	case said:
		err = fmt.Errorf("the transfer ended with %w", reply)
	case err != nil && b.left == 0:
		b.giveUp()
		return io.EOF
	}
	if err == nil && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.giveUp()
		return err
	}
	b.once.Do(func() { b.session.pool.keep(b.session) })
	return io.EOF
}

func (b *ftpBody) giveUp() { b.once.Do(func() { b.session.pool.drop(b.session) }) }

// Close ends a Read that goes on, and with it the session: a transfer cannot be abandoned in a way that every server gets over.
func (b *ftpBody) Close() error {
	b.giveUp()
	return nil
}

// An ftpDir is a listing as a body: JSON in the form of listing.WriteJSON.
type ftpDir struct {
	listing *listing.Listing
	rowsBody
}

func newFTPDir(l *listing.Listing) *ftpDir {
	d := &ftpDir{listing: l}
	d.rowsBody.rows = d.rows
	return d
}

// Listing is what the directory holds.
func (d *ftpDir) Listing() *listing.Listing { return d.listing }

func (d *ftpDir) rows() iter.Seq[listing.Row] {
	return func(yield func(listing.Row) bool) {
		for _, e := range d.listing.Entries {
			if !yield(listing.Row{Entry: e}) {
				return
			}
		}
	}
}

// measure writes the body once to nowhere: its length in bytes and its entity tag, which is weak since the form may change with our version.
func (d *ftpDir) measure() (size int64, tag string, err error) {
	sum := sha256.New()
	n := &counted{w: sum}
	if err := listing.WriteJSON(n, d.rows()); err != nil {
		return 0, "", err
	}
	return n.n, `W/"` + hex.EncodeToString(sum.Sum(nil)[:12]) + `"`, nil
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}
