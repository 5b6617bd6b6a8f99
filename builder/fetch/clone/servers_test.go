package clone

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/layout"
)

// git runs the real git in a folder, without the machine's settings.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// work is a repository with a working tree below a folder that servers serve.
type work struct {
	t   testing.TB
	dir string
}

// newWork makes the repository name below root.
func newWork(t testing.TB, root, name string) work {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "config", "uploadpack.allowReachableSHA1InWant", "false")
	return work{t: t, dir: dir}
}

// write puts files into the working tree; a content that begins with "->" is a
// link, one that begins with "#!" is executable.
func (w work) write(files map[string]string) work {
	w.t.Helper()
	for name, content := range files {
		file := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			w.t.Fatal(err)
		}
		_ = os.Remove(file)
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, file)
		} else {
			mode := os.FileMode(0o644)
			if strings.HasPrefix(content, "#!") {
				mode = 0o755
			}
			err = os.WriteFile(file, []byte(content), mode)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return w
}

// commit commits everything and returns the hash.
func (w work) commit() string {
	w.t.Helper()
	git(w.t, w.dir, "add", "-A")
	git(w.t, w.dir, "commit", "-q", "-m", "x")
	return git(w.t, w.dir, "rev-parse", "HEAD")
}

const user, password = "alice", "s3cret-password"

// httpsServer serves the repositories below root by git's own http-backend, as
// git.example.com would.
type httpsServer struct {
	*httptest.Server
	root string
	// private asks for a login.
	private bool
	// before may answer in place of git.
	before func(w http.ResponseWriter, r *http.Request) (done bool)
	logins atomic.Int32 // how many requests brought a login
}

func newHTTPSServer(t testing.TB) *httpsServer {
	t.Helper()
	s := &httpsServer{root: t.TempDir()}
	backend := &cgi.Handler{
		Path: filepath.Join(git(t, s.root, "--exec-path"), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + s.root},
		// The working trees belong to who runs the test.
		InheritEnv: []string{"PATH"},
		Stderr:     io.Discard,
	}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.logins.Add(1)
		}
		if s.before != nil && s.before(w, r) {
			return
		}
		if u, p, _ := r.BasicAuth(); s.private && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "login", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *httpsServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// request asks for a repository, without a login but trusting the server.
func (s *httpsServer) request(t testing.TB, name string) Request {
	t.Helper()
	r := request(t, s.URL+"/"+name)
	r.Login = &Login{CA: s.ca()}
	return r
}

// request is for a server on loopback, which this platform allows.
func request(t testing.TB, url string) Request {
	t.Helper()
	address, err := gitsource.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := gitsource.ParsePolicy("", "127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	return Request{Address: address, Policy: policy, Layout: at(t, ""), Limits: archive.DefaultLimits(), Scratch: t.TempDir()}
}

func at(t testing.TB, path string, include ...string) layout.Layout {
	t.Helper()
	l, err := layout.New(path, include)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sshServer runs git-upload-pack for whoever has the key, as a server's shell
// would.
type sshServer struct {
	root     string
	endpoint string
	key      []byte // of the client, in PEM
	hostKey  ssh.PublicKey
	commands *atomic.Int32 // how many were run
}

func newSSHServer(t testing.TB) *sshServer {
	t.Helper()
	s := &sshServer{root: t.TempDir(), commands: &atomic.Int32{}}
	clientPublic, clientPEM := newKey(t)
	s.key = clientPEM
	hostPublic, hostPEM := newKey(t)
	s.hostKey = hostPublic
	signer, err := ssh.ParsePrivateKey(hostPEM)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "git" || string(key.Marshal()) != string(clientPublic.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s.endpoint = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

func newKey(t testing.TB) (ssh.PublicKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(block)
}

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			line := string(r.Payload[4:])
			s.commands.Add(1)
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir = s.root
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.root, "GIT_CONFIG_NOSYSTEM=1"}
			cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
			code := uint32(1)
			if in, err := cmd.StdinPipe(); err == nil && cmd.Start() == nil {
				go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
				if cmd.Wait() == nil {
					code = 0
				}
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			_ = channel.Close()
		}
	}
}

// login is the one that the server takes, for the server.
func (s *sshServer) login(t testing.TB) *Login {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(knownhosts.Line([]string{s.endpoint}, s.hostKey)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Login{Hosts: gitsource.CredentialHosts{s.endpoint}, Key: s.key, KnownHosts: file}
}
