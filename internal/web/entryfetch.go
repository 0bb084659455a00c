package web

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"zcache/internal/cache"
)

// fetchView has lines for a POSIX shell that fetch an entry through this instance.
type fetchView struct {
	URL  string `json:"url"`
	Curl string `json:"curl"`
	Wget string `json:"wget"`
	// Check holds the file that was fetched against the digest of the one that is held here; Pinned fetches that very body, or nothing.
	Check  string `json:"check,omitempty"`
	Pinned string `json:"pinned,omitempty"`
}

// fetchLines makes the lines for the URL at which clients ask for key; sum is the digest of the held body in hex, or "".
func fetchLines(address string, key cache.Key, sum string) fetchView {
	v := fetchView{URL: address}
	quoted := shellQuote(address)
	if key.IsDir() {
		v.Curl = "curl -fsS -H 'Accept: application/json' " + globless(address) + quoted
		v.Wget = "wget -m -np -nH " + quoted
		return v
	}
	name := key.Name()
	out, save := "-O ", "" // curl and wget name the file by the URL; where that is not the name, they are told
	if _, query := key.Query(); query || !strings.HasSuffix(address, "/"+name) || strings.ContainsAny(name, `\%`) {
		out, save = "-o "+shellQuote("./"+name)+" ", "-O "+shellQuote("./"+name)+" "
	}
	v.Curl = "curl -fL " + globless(address) + out + quoted
	v.Wget = "wget " + save + quoted
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) == 0 {
		return v
	}
	v.Check = "printf '%s\\n' " + shellQuote(sumLine(sum, name)) + " | sha256sum -c -"
	v.Pinned = "curl -fL " + globless(address) + "--header 'Repr-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(raw) + ":' " + out + quoted
	return v
}

// globless keeps curl from taking brackets and braces for a set of URLs.
func globless(address string) string {
	if strings.ContainsAny(address, "[]{}") {
		return "-g "
	}
	return ""
}

// sumLine is the line of sha256sum for a file: a name with a backslash or an end of line in it is escaped, which a first backslash says.
func sumLine(sum, name string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	if escaped != name {
		sum = `\` + sum
	}
	return sum + "  " + escaped
}

// shellQuote makes s one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
