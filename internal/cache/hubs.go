package cache

import (
	"bytes"
	"fmt"
	"strings"
)

// upstreamName is the file in a hub's folder that tells where the hub's files come from.
const upstreamName = ownPrefix + "-upstream"

// NoteUpstreams writes the hub's upstreams, a line each, beside its files, so that whoever finds the tree, or a copy of it, knows where it comes
// from. The lines must hold no credentials.
func (t *Tree) NoteUpstreams(hub string, lines []string) error {
	if err := t.note(hub, []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		return fmt.Errorf("note the upstreams of %s: %w", hub, because(err))
	}
	return nil
}

func (t *Tree) note(hub string, text []byte) error {
	if err := t.root.MkdirAll(hub); err != nil {
		return err
	}
	t.names.Lock()
	t.claim(hub)
	t.names.Unlock()
	name := hub + "/" + upstreamName
	if old, err := t.root.ReadFile(name, 64<<10); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return t.root.WriteFile(name, text, false)
}

// keepNote returns what puts a hub's note back after its folder was purged.
func (t *Tree) keepNote(hub string) func() {
	text, err := t.root.ReadFile(hub+"/"+upstreamName, 64<<10)
	return func() {
		if err != nil {
			return
		}
		if err := t.note(hub, text); err != nil {
			t.Logger.Warn("cannot note the upstreams again", "hub", hub, "err", err)
		}
	}
}

// claim marks the folder of a hub as ours, in an attribute: what lies in other folders of the root is never trimmed, for a root may be
// a directory that others use too. The names lock is held.
func (t *Tree) claim(hub string) {
	if t.hubs[hub] {
		return
	}
	if t.hubs == nil {
		t.hubs = map[string]bool{}
	}
	t.hubs[hub] = true
	t.mark(hub)
}

func (t *Tree) mark(hub string) {
	dir, err := t.root.Sub(hub)
	if err == nil {
		defer dir.Close()
		err = dir.Mark(attribute, []byte("zcache 1\nhub\n"))
	}
	if err != nil {
		t.Logger.Warn("cannot mark the folder of a hub", "hub", hub, "err", because(err))
	}
}

// claimed says whether the folder of that name was ever a hub's of ours.
func (t *Tree) claimed(hub string) bool {
	t.names.Lock()
	known := t.hubs[hub]
	t.names.Unlock()
	dir, err := t.root.Sub(hub)
	if err != nil {
		return known
	}
	defer dir.Close()
	marked, err := dir.Marked(attribute)
	if err == nil && !marked && known { // made anew since, after a purge or by hand
		t.mark(hub)
	}
	return known || marked
}
