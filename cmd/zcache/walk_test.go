package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// figures is a walk that is over, as the server tells of it.
func figures(status, more, last string) string {
	return fmt.Sprintf(`{"name":"/k","status":%q,"size":"1.0M"%s,"progress":null,"last":{"dirs":2,"files":9,"skipped":4,"same":2,"fetched":3,"bytes":2048,"requests":7,`+
		`"elapsed_seconds":1.5%s}}`, status, more, last)
}

func TestWalkExitsByWhatBecameOfIt(t *testing.T) {
	const queued = `{"name":"/k","status":"pre-syncing"}`
	for _, row := range []struct {
		claim string
		args  []string
		ended string
		code  int
		out   string
		errs  string
	}{
		{"a whole walk", nil, figures("success", ``, `,"removed":1`), 0,
			"/k: 2 directories, 9 files: 6 unchanged, 3 fetched, 1 to the trash, none missing; 7 requests, 2.0 KiB in 1.5s\n", ""},
		{"files that are refused or left out are no failure", nil, figures("success", ``, `,"denied":1,"unkept":2`), 0,
			"/k: 2 directories, 9 files: 6 unchanged, 3 fetched, 0 to the trash, 1 refused, 2 left out; 7 requests, 2.0 KiB in 1.5s\n", ""},
		{"files that could not be had", nil, figures("success", ``, `,"failed":1,"last_error":"get /k/x: no route"`), 3,
			"/k: 2 directories, 9 files: 6 unchanged, 3 fetched, 0 to the trash, 1 failed; 7 requests, 2.0 KiB in 1.5s\n", "failed  1, the last: get /k/x: no route\n"},
		{"a purge held back", nil, figures("success", `,"held_back":40`, `,"held_back":40`), 3,
			"/k: 2 directories, 9 files: 6 unchanged, 3 fetched, 0 to the trash, none missing; 7 requests, 2.0 KiB in 1.5s\n",
			"held back: 40 are gone upstream, more than --mirror-max-purge lets go; zcache walk --dry-run --follow /k lists them, --confirm-purge removes them\n"},
		{"a walk given up", nil, figures("failed", `,"error":"upstream turns the walk away"`, ``), 3,
			"/k: 2 directories, 9 files: 6 unchanged, 3 fetched, 0 to the trash, none missing; 7 requests, 2.0 KiB in 1.5s\n", "given up: upstream turns the walk away\n"},
		{"a dry run, of a subtree whose last walk failed", []string{"--dry-run"}, figures("failed", `,"held_back":5`, `,"would_ask":3,"removed":2,"orphans":["/k/a","/k/b/"]`), 0,
			"/k: 2 directories, 9 files; a walk would ask for 3 and remove 2\ngone   /k/a\ngone   /k/b/\n", ""},
	} {
		t.Run(row.claim, func(t *testing.T) {
			var looks atomic.Int32
			server := operations(t, func(w http.ResponseWriter, r *http.Request, body string) {
				switch {
				case r.Method == http.MethodPost:
					want := fmt.Sprintf(`{"subtree":"/k","dry_run":%t,"confirm_purge":false}`, len(row.args) > 0)
					if r.URL.Path != "/-/walk" || body != want {
						t.Errorf("asked POST %s %s, want /-/walk %s", r.URL.Path, body, want)
					}
					w.WriteHeader(http.StatusAccepted)
					io.WriteString(w, queued)
				case r.URL.Query().Get("subtree") != "/k":
					http.Error(w, "?", http.StatusNotFound)
				case looks.Add(1) == 1:
					io.WriteString(w, `{"name":"/k","status":"syncing","progress":{"dirs":1,"files":9,"queue":5,"skipped":4,"rate":2048,"eta_seconds":2,"elapsed_seconds":1}}`)
				default:
					io.WriteString(w, row.ended)
				}
			})
			args := append([]string{"walk", "/k", "--follow", "--server", server}, row.args...)
			code, out, errs := invoke(t, "", args...)
			if code != row.code || out != row.out || errs != row.errs {
				t.Errorf("exit %d\n%s%s\nwant %d\n%s%s", code, out, errs, row.code, row.out, row.errs)
			}
			looks.Store(0)
			code, out, _ = invoke(t, "", append(args, "--json")...)
			if code != row.code || !json.Valid([]byte(out)) || !strings.Contains(out, `"size": "1.0M"`) {
				t.Errorf("--json: exit %d, %s, want %d and all that the server told", code, out, row.code)
			}
		})
	}
}

func TestWalkReturnsWhenItIsAccepted(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, r *http.Request, body string) {
		if want := `{"subtree":"/k","dry_run":false,"confirm_purge":true}`; r.Method != http.MethodPost || body != want {
			t.Errorf("asked %s %s, want POST %s", r.Method, body, want)
		}
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"name":"/k","status":"pre-syncing"}`)
	})
	code, out, errs := invoke(t, "", "walk", "--confirm-purge", "/k", "--server", server)
	if want := "walk of /k begins; " + server + "/-/mirror tells how it goes\n"; code != 0 || out != want {
		t.Errorf("exit %d, %q (%s), want 0, %q", code, out, errs, want)
	}
}

func TestWalkThatCannotStartExitsWithOne(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, `{"status":409,"detail":"another kind of walk is under way","error":"walk_under_way"}`)
	})
	code, _, errs := invoke(t, "", "walk", "/k", "--follow", "--server", server)
	if want := "zcache: walk /k: another kind of walk is under way (walk_under_way)\n"; code != 1 || errs != want {
		t.Errorf("exit %d, %q, want 1, %q", code, errs, want)
	}
}

func TestALineTellsHowAWalkGoes(t *testing.T) {
	for _, row := range []struct {
		claim string
		w     walkStatus
		want  string
	}{
		{"one that has not begun", walkStatus{Status: "pre-syncing"}, "waits for its turn"},
		{"one that knows no end yet", walkStatus{Status: "syncing", Progress: &walkFigures{Dirs: 1, Same: 2, Fetched: 1, Queue: 7, Rate: 3 << 20}},
			"1 directory, 3 of 10 files, 1 fetched, 3.0 MiB/s"},
		{"one that knows from the last walk what is to come", walkStatus{Status: "syncing", Progress: &walkFigures{Dirs: 40, Skipped: 100, Queue: 7, Elapsed: 10, ETA: 90}},
			"40 directories, 100 of 1000 files, 0 fetched, 0 B/s, 1m30s to go"},
	} {
		if got := row.w.line(); got != row.want {
			t.Errorf("%s: line = %q, want %q", row.claim, got, row.want)
		}
	}
}

func TestTrashIsListedAndRestored(t *testing.T) {
	var asked string
	list := `[{"path":"/k/a b","hub":"k","size":2048,"retired":"2026-01-02T03:04:05Z"},{"path":"/k/c","hub":"k","size":7,"retired":"2026-01-02T03:04:06Z"}]`
	server := operations(t, func(w http.ResponseWriter, r *http.Request, body string) {
		asked = r.Method + " " + r.URL.String() + " " + body
		switch {
		case r.Method == http.MethodPost:
			io.WriteString(w, `{"restored":1}`)
		case r.URL.Query().Get("path") == "/empty":
			io.WriteString(w, `[]`)
		default:
			io.WriteString(w, list)
		}
	})
	for _, row := range []struct {
		args       []string
		asked, out string
	}{
		{[]string{"list", "/k"}, "GET /-/trash?path=%2Fk ", "2026-01-02T03:04:05Z  2.0 KiB  /k/a b\n2026-01-02T03:04:06Z  7 B      /k/c\n"},
		{[]string{"list", "--limit", "5", "/empty"}, "GET /-/trash?limit=5&path=%2Fempty ", "nothing there\n"},
		{[]string{"restore", "/k/a", "-r"}, `POST /-/trash {"path":"/k/a","restore":true,"recursive":true}`, "restored /k/a: 1 entry\n"},
	} {
		code, out, errs := invoke(t, "", append(append([]string{"trash"}, row.args...), "--server", server)...)
		if asked != row.asked || code != 0 || out != row.out {
			t.Errorf("trash %q asked %q, want %q; exit %d, %q (%s), want %q", row.args, asked, row.asked, code, out, errs, row.out)
		}
	}
	if code, _, errs := invoke(t, "", "trash", "empty"); code != 2 || errs != "zcache: trash does not know \"empty\"; write trash list or trash restore\n" {
		t.Errorf("trash empty: exit %d, %q", code, errs)
	}
}
