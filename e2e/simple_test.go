package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const wheelName = "sample_pkg-1.0-py3-none-any.whl"

// wheelOf makes a wheel of one module, with a file in it to give it some size.
func wheelOf(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range []struct{ name, text string }{
		{"sample_pkg.py", "answer = 42\n"},
		{"sample_pkg.bin", string(bytesOf("wheel", mib))},
		{"sample_pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: sample-pkg\nVersion: 1.0\n"},
		{"sample_pkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: zcache\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"sample_pkg-1.0.dist-info/RECORD", ""},
	} {
		part, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A pythonIndex is an index of Python packages whose files lie at another host, as PyPI's do.
type pythonIndex struct {
	pages, files *origin
	wheel        []byte
	page         string // of the one project
}

func startIndex(t testing.TB) *pythonIndex {
	t.Helper()
	x := &pythonIndex{wheel: wheelOf(t)}
	x.files = startOrigin(t, func(w *wire, r *request) {
		if r.Target != "/packages/ab/"+wheelName {
			w.reply(r, 404, "no")
			return
		}
		w.file(r, x.wheel, modified, `ETag: "wheel"`, "Cache-Control: max-age=31536000, immutable", "Content-Type: application/octet-stream")
	})
	sum := sha256.Sum256(x.wheel)
	link := x.files.url + "/packages/ab/" + wheelName
	digest := hex.EncodeToString(sum[:])
	x.page = `<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1"><title>Links for sample-pkg</title></head>` +
		"<body><h1>Links for sample-pkg</h1>\n" + `<a href="` + link + "#sha256=" + digest + `" data-requires-python="&gt;=3.6">` + wheelName + "</a><br/>\n</body></html>\n"
	inJSON := fmt.Sprintf(`{"meta":{"api-version":"1.1"},"name":"sample-pkg","files":[{"filename":%q,"url":%q,"hashes":{"sha256":%q},"requires-python":">=3.6"}]}`, wheelName, link, digest)
	x.pages = startOrigin(t, func(w *wire, r *request) {
		body, kind, tag := x.page, "text/html; charset=utf-8", `"html"`
		if strings.HasPrefix(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
			body, kind, tag = inJSON, "application/vnd.pypi.simple.v1+json", `"json"`
		}
		if r.Target != "/simple/sample-pkg/" {
			w.reply(r, 404, "no")
			return
		}
		w.file(r, []byte(body), modified, "ETag: "+tag, "Cache-Control: max-age=600", "Vary: Accept", "Content-Type: "+kind)
	})
	return x
}

// download is what a Python user does: pip, or where there is none the links by curl.
func (x *pythonIndex) download(t testing.TB, claim, index string) {
	t.Helper()
	dir := t.TempDir()
	host, err := url.Parse(index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("pip"); err == nil {
		_, stderr, exit := command(t, "env", "-u", "http_proxy", "-u", "HTTP_PROXY", "-u", "all_proxy", "-u", "ALL_PROXY", "PIP_CONFIG_FILE=/dev/null", "pip", "--isolated", "--no-cache-dir",
			"--disable-pip-version-check", "download", "-q", "--no-deps", "--trusted-host", host.Hostname(), "--index-url", index, "-d", dir, "sample-pkg")
		if exit != 0 {
			t.Errorf("%s: pip: exit %d %s", claim, exit, stderr)
			return
		}
	} else {
		link := regexp.MustCompile(`href="([^"#]*)`).FindSubmatch(get(t, index+"/sample-pkg/").Body)
		if link == nil {
			t.Errorf("%s: no link on the page", claim)
			return
		}
		if _, stderr, exit := command(t, "curl", "-sSf", "--noproxy", "*", "-o", filepath.Join(dir, wheelName), host.Scheme+"://"+host.Host+string(link[1])); exit != 0 {
			t.Errorf("%s: curl: exit %d %s", claim, exit, stderr)
			return
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, wheelName)); err != nil || !bytes.Equal(b, x.wheel) {
		t.Errorf("%s: the wheel has %d bytes, %v, want the origin's %d", claim, len(b), err, len(x.wheel))
	}
}

func TestPythonPackagesComeThroughTheirIndex(t *testing.T) {
	x := startIndex(t)
	z := start(t, "--upstream", "pypi="+x.pages.url, "--proxy-allow-host", x.files.addr, "--proxy", "off")
	wheel := "/files/http/" + x.files.addr + "/packages/ab/" + wheelName
	if a := get(t, z.url+wheel); a.Status != 403 {
		t.Errorf("the wheel before its index was read = %d, want 403", a.Status)
	}
	x.download(t, "cold", z.url+"/pypi/simple")
	z.published("files", "http/"+x.files.addr+"/packages/ab/"+wheelName, int64(len(x.wheel)))
	if n := x.files.count("/packages/ab/" + wheelName); n != 1 {
		t.Errorf("the origin was asked %d times for the wheel, want once", n)
	}
	page := get(t, z.url+"/pypi/simple/sample-pkg/")
	page.whole(t, "the page", []byte(strings.ReplaceAll(x.page, x.files.url+"/", "/files/http/"+x.files.addr+"/")))
	get(t, z.url+"/pypi/simple/sample-pkg/", "If-None-Match: "+page.Header.Get("Etag")).is(t, "the page by its tag", 304, "HIT")
	inJSON := get(t, z.url+"/pypi/simple/sample-pkg/", "Accept: application/vnd.pypi.simple.v1+json")
	if want := `"url":"` + wheel + `"`; !bytes.Contains(inJSON.Body, []byte(want)) {
		t.Errorf("the page as JSON = %s, want %s in it", clip(inJSON.Body), want)
	}
	if held, ok := z.held("pypi", "simple/sample-pkg/.zcache-index"); !ok || string(held) != x.page && !bytes.Contains(held, []byte(x.files.url)) {
		t.Errorf("stored is %s, want what the origin sent", clip(held))
	}
	z.stop()
	x.files.stop()
	x.pages.stop()
	z.again()
	get(t, z.url+wheel).whole(t, "after a restart and without the origins", x.wheel).is(t, "the wheel again", 200, "HIT")
	x.download(t, "warm, without the origins", z.url+"/pypi/simple")
	if a := get(t, z.url+"/files/http/"+x.pages.addr+"/simple/sample-pkg/"); a.Status != 403 {
		t.Errorf("a host that no index named = %d, want 403", a.Status)
	}
}

func TestPythonPackagesOfAHubWithAHostOfItsOwn(t *testing.T) {
	x := startIndex(t)
	z := start(t, "--proxy-allow-host", x.files.addr, settings(t, fmt.Sprintf("[[hub]]\nname = \"pypi\"\nhosts = [\"127.0.0.1\"]\nupstream = [%q]\n", x.pages.url+"/simple")))
	x.download(t, "the index at the top of a host", z.url)
}
