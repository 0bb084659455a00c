package cachetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"zcache/internal/cache"
)

func follow(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	d := create(t, s, key, Meta())
	type result struct {
		body string
		err  error
	}
	results := make(chan result)
	readers := []struct {
		off, end int64
		want     string
	}{{0, -1, "0123456789"}, {3, -1, "3456789"}, {2, 5, "234"}, {8, 10, "89"}, {10, -1, ""}}
	for _, r := range readers {
		sec := d.Section(t.Context(), r.off, r.end)
		go func() {
			b, err := io.ReadAll(sec)
			sec.Close()
			results <- result{string(b), err}
		}()
	}
	past := d.Section(t.Context(), 4, 20)
	defer past.Close()
	write(t, d, "01234")
	write(t, d, "56789")
	if sum, err := d.Sum(); err != nil || sum != sha256.Sum256([]byte("0123456789")) {
		t.Errorf("Sum = %x, %v", sum, err)
	}
	e, err := d.Commit(Meta())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for range readers {
		r := <-results
		if r.err != nil {
			t.Errorf("a follower got %q and %v", r.body, r.err)
		}
		got[r.body]++
	}
	for _, r := range readers {
		if got[r.want] != 1 {
			t.Errorf("followers got %v, want one with %q", got, r.want)
		}
	}
	if _, err := io.ReadAll(past); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a section beyond the end gave %v, want ErrUnexpectedEOF", err)
	}
	late := d.Section(t.Context(), 5, -1)
	defer late.Close()
	if b, err := io.ReadAll(late); string(b) != "56789" || err != nil {
		t.Errorf("a section begun after Commit = %q, %v", b, err)
	}
	e.Close()
}

func hold(t *testing.T, s cache.Store) {
	d := create(t, s, Key(t, "/a"), Meta())
	d.Hold(4)
	write(t, d, "0123456789")
	ctx, cancel := context.WithCancel(t.Context())
	sec := d.Section(ctx, 0, -1)
	defer sec.Close()
	buf := make([]byte, 20)
	if n, err := sec.Read(buf); n != 4 || err != nil {
		t.Errorf("Read = %d, %v, want the 4 bytes that are not held back", n, err)
	}
	cancel()
	if n, err := sec.Read(buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Read after the context ended = %d, %v", n, err)
	}
	if d.Len() != 10 {
		t.Errorf("Len = %d, want 10", d.Len())
	}
	rest := d.Section(t.Context(), 4, -1)
	defer rest.Close()
	e, err := d.Commit(Meta())
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	if b, err := io.ReadAll(rest); string(b) != "456789" || err != nil {
		t.Errorf("after Commit the reader got %q, %v", b, err)
	}
}

func discarded(t *testing.T, s cache.Store) {
	key, broken := Key(t, "/a"), errors.New("broken off")
	d := create(t, s, key, Meta())
	write(t, d, "0123")
	sec := d.Section(t.Context(), 0, -1)
	defer sec.Close()
	d.Discard(broken)
	if b, err := io.ReadAll(sec); string(b) != "0123" || !errors.Is(err, broken) {
		t.Errorf("the reader got %q, %v, want what was there and the error", b, err)
	}
	if _, err := d.Write([]byte("x")); err == nil {
		t.Error("Write after Discard: no error")
	}
	if _, err := d.Commit(Meta()); err == nil {
		t.Error("Commit after Discard: no error")
	}
	WantNone(t, s, key, nil)
	if s.Resume(key) != nil {
		t.Error("a discarded draft was resumed")
	}
}

func resumed(t *testing.T, s cache.Store) {
	key, m := Key(t, "/a"), Meta()
	m.Size = 10
	d := create(t, s, key, m)
	write(t, d, "01234")
	d.Suspend(errors.New("broken off"))
	WantNone(t, s, key, nil)
	d = s.Resume(key)
	if d == nil {
		t.Fatal("Resume = nil")
	}
	if d.Len() != 5 || d.Meta().ETag() != m.ETag() || d.Meta().Size != 10 {
		t.Errorf("resumed at %d with %+v", d.Len(), d.Meta())
	}
	write(t, d, "56789")
	e, err := d.Commit(m)
	if err != nil {
		t.Fatal(err)
	}
	if e.Meta.SHA256 != sha256.Sum256([]byte("0123456789")) {
		t.Errorf("the digest does not cover what was resumed: %x", e.Meta.SHA256)
	}
	e.Close()
	Want(t, s, key, nil, "0123456789")
}

func resumedOnce(t *testing.T, s cache.Store) {
	key := Key(t, "/a")
	d := create(t, s, key, Meta())
	write(t, d, "x")
	if s.Resume(key) != nil {
		t.Error("a draft was resumed while its writer had it")
	}
	d.Suspend(nil)
	first, second := s.Resume(key), s.Resume(key)
	if first == nil || second != nil {
		t.Errorf("Resume twice = %v, %v, want one draft", first, second)
	}
	first.Discard(nil)
}
