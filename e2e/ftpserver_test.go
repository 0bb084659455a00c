package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An ftpd is one of the real FTP servers, with a tree of its own for anonymous users and TLS for those who ask for it.
type ftpd struct {
	t    testing.TB
	name string
	addr string
	tree string
	dir  string
	cert string // the certificate that it shows, of 127.0.0.1 and its own CA
	args []string

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// ftpServers are the servers that every claim about FTP is held against.
var ftpServers = []string{"vsftpd", "proftpd", "pure-ftpd"}

// ftpdHome is where scripts/deps.sh puts the servers.
func ftpdHome() string {
	if home := os.Getenv("ZCACHE_FTPD"); home != "" {
		return home
	}
	return "/var/cache/zcache-tests/ftpd"
}

// startFTP starts a server over an empty tree. With a rate above 0, it sends no more than so many bytes a second to each client.
func startFTP(t testing.TB, name string, rate int) *ftpd {
	t.Helper()
	dir, err := os.MkdirTemp("", "ftp-") // short and open to the user that the server becomes, which t.TempDir is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &ftpd{t: t, name: name, addr: freeAddr(t), dir: dir, tree: filepath.Join(dir, "tree"), cert: filepath.Join(dir, "cert.pem")}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{s.tree, filepath.Join(dir, "empty")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.writeCert()
	s.configure(rate)
	t.Cleanup(s.stop)
	s.start()
	return s
}

func (s *ftpd) url() string { return "ftp://" + s.addr }

// passive are the ports for data, apart from those that freeAddr gives and the kernel uses.
func (s *ftpd) passive() (first, last int) {
	first = 10000 + 3000*slices.Index(ftpServers, s.name) + os.Getpid()%2900
	return first, first + 60
}

func (s *ftpd) configure(rate int) {
	host, port, _ := net.SplitHostPort(s.addr)
	first, last := s.passive()
	bin := filepath.Join(ftpdHome(), s.name, "usr/sbin", s.name)
	r := strings.NewReplacer("@DIR@", s.dir, "@HOST@", host, "@PORT@", port, "@FIRST@", strconv.Itoa(first), "@LAST@", strconv.Itoa(last),
		"@MODULES@", filepath.Join(ftpdHome(), "proftpd/usr/lib/proftpd"), "@RATE@", strconv.Itoa(rate), "@KRATE@", strconv.Itoa(rate/1000))
	conf := filepath.Join(s.dir, "conf")
	var text string
	switch s.name {
	case "vsftpd":
		text, s.args = vsftpdConf, []string{bin, conf}
	case "proftpd":
		text, s.args = proftpdConf, []string{bin, "-n", "-c", conf}
		if rate > 0 {
			text += "TransferRate RETR " + strconv.Itoa(rate/1000) + "\n"
		}
	case "pure-ftpd":
		// It serves the home of the user ftp and nothing else, and machines without the package have no such user: it gets an /etc/passwd of
		// its own.
		passwd, err := os.ReadFile("/etc/passwd")
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(passwd) + "ftp:x:65534:65534::" + s.tree + ":/bin/false\n"
		run := r.Replace("mount --bind @DIR@/conf /etc/passwd && exec " + bin +
			" -S @HOST@,@PORT@ -e -M -H -p @FIRST@:@LAST@ -P @HOST@ -Y 1 -2 @DIR@/both.pem -g @DIR@/pid")
		if rate > 0 {
			run += " -T " + strconv.Itoa(rate/1000)
		}
		s.args = []string{"unshare", "-m", "sh", "-c", run}
	}
	if err := os.WriteFile(conf, []byte(r.Replace(text)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

const vsftpdConf = `listen=YES
listen_ipv6=NO
listen_address=@HOST@
listen_port=@PORT@
background=NO
anonymous_enable=YES
no_anon_password=YES
local_enable=NO
ftp_username=bin
nopriv_user=nobody
anon_root=@DIR@/tree
anon_max_rate=@RATE@
secure_chroot_dir=@DIR@/empty
connect_from_port_20=NO
pasv_address=@HOST@
pasv_min_port=@FIRST@
pasv_max_port=@LAST@
ssl_enable=YES
allow_anon_ssl=YES
force_anon_data_ssl=NO
force_anon_logins_ssl=NO
rsa_cert_file=@DIR@/both.pem
rsa_private_key_file=@DIR@/both.pem
`

const proftpdConf = `ModulePath @MODULES@
LoadModule mod_tls.c
ServerType standalone
DefaultAddress @HOST@
SocketBindTight on
Port @PORT@
UseIPv6 off
UseReverseDNS off
UseFtpUsers off
User nobody
Group nogroup
PidFile @DIR@/pid
ScoreboardFile @DIR@/score
SystemLog @DIR@/log
DelayEngine off
WtmpLog off
PassivePorts @FIRST@ @LAST@
AllowRetrieveRestart on
TLSEngine on
TLSRequired off
TLSECCertificateFile @DIR@/both.pem
TLSECCertificateKeyFile @DIR@/both.pem
<Anonymous @DIR@/tree>
  User nobody
  Group nogroup
  UserAlias anonymous nobody
  RequireValidShell off
  <Limit WRITE>
    DenyAll
  </Limit>
</Anonymous>
`

// writeCert makes the server's certificate, which is its own CA.
func (s *ftpd) writeCert() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "ftp under test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both := append(slices.Clone(cert), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(s.cert, cert, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "both.pem"), both, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the server and waits until it greets. What a server that was killed a moment ago left behind may still hold the port; then it ends at
// once and is started again.
func (s *ftpd) start() {
	s.t.Helper()
	var ended chan struct{}
	eventually(s.t, waitShort, s.name+" greets", func() (bool, string) {
		if ended == nil {
			ended = s.run()
		}
		select {
		case <-ended:
			ended = nil
			out, _ := os.ReadFile(filepath.Join(s.dir, "out"))
			return false, string(out)
		default:
		}
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			return false, err.Error()
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		code := make([]byte, 3)
		_, err = io.ReadFull(conn, code)
		return string(code) == "220", fmt.Sprintf("%q, %v", code, err)
	})
}

// run starts the process. What it returns is closed when that has ended.
func (s *ftpd) run() chan struct{} {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := spawn(cmd); err != nil {
		s.t.Fatalf("these tests need real FTP servers; make deps fetches them: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, most of the time
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
	return ended
}

// stop ends the server as a crash would, with every process that serves a client.
func (s *ftpd) stop() {
	if s.cmd == nil {
		return
	}
	all := descendants(s.cmd.Process.Pid)
	_ = s.cmd.Process.Kill()
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.ended
	s.cmd = nil
}

// descendants are the processes that pid started, and those that they started.
func descendants(pid int) (all []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(stat), ") ") // behind the program's name: the state and the parent
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			all = append(append(all, child), descendants(child)...)
		}
	}
	return all
}

// put writes a file of the tree.
func (s *ftpd) put(path string, body []byte) {
	s.t.Helper()
	name := filepath.Join(s.tree, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chtimes(name, modified, modified); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ftpd) link(target, path string) {
	s.t.Helper()
	if err := os.Symlink(target, filepath.Join(s.tree, path)); err != nil {
		s.t.Fatal(err)
	}
}
