package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/knit-dev/knit/builder/fetch/clone"
	"github.com/knit-dev/knit/functions/api/gitsource"
)

// gitServer serves one private repository, "repo", by git's own http-backend.
func gitServer(t *testing.T) (server *httptest.Server, commit string) {
	t.Helper()
	root := t.TempDir()
	work := filepath.Join(root, "repo")
	write(t, filepath.Join(work, "fn", "f.go"), "package function")
	write(t, filepath.Join(work, "shared", "s.go"), "package shared")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", work, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+root, "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "x")
	backend := &cgi.Handler{
		Path: filepath.Join(git("--exec-path"), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root},
	}
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			http.Error(w, "login", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, git("rev-parse", "HEAD")
}

// loginFolder is the folder that a Secret is mounted at.
func loginFolder(t *testing.T, server *httptest.Server, hosts string) string {
	t.Helper()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string]string{
		clone.FileUsername: user, clone.FilePassword: password, clone.FileCA: string(ca), clone.FileHosts: hosts,
	} {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func gitProgram(t *testing.T, args ...string) outcome {
	t.Helper()
	return program(t, []string{"KNIT_FETCH_AS_PROGRAM=1", "TMPDIR=" + t.TempDir()}, "", args...)
}

func TestFetchFromGit(t *testing.T) {
	server, commit := gitServer(t)
	login := loginFolder(t, server, strings.TrimPrefix(server.URL, "https://"))
	o := gitProgram(t, "-git-url="+server.URL+"/repo", "-git-revision=main", "-git-path=fn", "-git-include=shared", "-git-login="+login, "-git-allowed-cidrs=127.0.0.1/32")
	var left gitsource.Outcome
	if err := json.Unmarshal([]byte(o.message), &left); err != nil || o.code != 0 || left.Revision != commit || !strings.HasPrefix(left.Digest, "sha256:") {
		t.Fatalf("%+v, %v", o, err)
	}
	if raw, err := os.ReadFile(filepath.Join(o.workspace, "fn", "f.go")); err != nil || string(raw) != "package function" {
		t.Errorf("f.go: %q, %v", raw, err)
	}
	if strings.Contains(o.output+o.message, password) {
		t.Error("the password is shown")
	}
}

func TestGitRefusals(t *testing.T) {
	server, _ := gitServer(t)
	url, host := "-git-url="+server.URL+"/repo", strings.TrimPrefix(server.URL, "https://")
	login := "-git-login=" + loginFolder(t, server, host)
	open := "-git-allowed-cidrs=127.0.0.1/32"
	cases := map[string]struct {
		args    []string
		code    int
		message string
	}{
		"loopback":               {[]string{url, login}, exitRefused, "not public"},
		"another host only":      {[]string{url, login, open, "-git-allowed-hosts=github.com"}, exitRefused, "git-allowed-hosts"},
		"file":                   {[]string{"-git-url=file:///etc"}, exitUsage, "knit deploy"},
		"setting that cannot be": {[]string{url, "-git-allowed-cidrs=169.254.0.0/16"}, exitUsage, "never allowed"},
		"path out":               {[]string{url, open, "-git-path=../x"}, exitUsage, "leads out"},
		"login without hosts":    {[]string{url, open, "-git-login=" + loginFolder(t, server, "")}, exitRefused, gitsource.HostsAnnotation},
		"login for another":      {[]string{url, open, "-git-login=" + loginFolder(t, server, "github.com")}, exitRegistry, "another login"},
		"no such branch":         {[]string{url, open, login, "-git-revision=nothing"}, exitRefused, `the branches "main"`},
		"no such folder":         {[]string{url, open, login, "-git-path=nothing"}, exitRefused, "git.path"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := gitProgram(t, c.args...)
			if o.code != c.code || !strings.Contains(o.message, c.message) {
				t.Errorf("code %d, want %d; message %q, want %q", o.code, c.code, o.message, c.message)
			}
			if strings.Contains(o.output+o.message, password) {
				t.Error("the password is shown")
			}
		})
	}
}
