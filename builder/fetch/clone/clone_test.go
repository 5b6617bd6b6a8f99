package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
)

// read returns the files of a folder; links begin with "->", what is executable
// with "x:".
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, file)
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(file)
			files[name] = "->" + target
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(file)
		if files[name] = string(raw); info.Mode()&0o111 != 0 {
			files[name] = "x:" + string(raw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// clone fails the test when it does not work.
func clone(t testing.TB, r Request) (Result, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	result, err := Clone(t.Context(), r, dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Scratch, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return result, read(t, dir)
}

// refused wants an error with the kind and the words.
func refused(t testing.TB, r Request, kind error, words string) {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Clone(t.Context(), r, dir)
	if !errors.Is(err, kind) || err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("error %v, want %v with %q", err, kind, words)
	}
	if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "PRIVATE KEY")) {
		t.Errorf("the error shows a secret: %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(parent, "*")); len(names) != 1 {
		t.Errorf("something was written outside: %v", names)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Scratch, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRevisions(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	old := w.write(map[string]string{"f": "old"}).commit()
	git(t, w.dir, "tag", "-a", "v1", "-m", "first")
	git(t, w.dir, "tag", "light")
	between := w.write(map[string]string{"f": "between"}).commit()
	head := w.write(map[string]string{"f": "new"}).commit()
	git(t, w.dir, "checkout", "-q", "-b", "feature/x")
	branch := w.write(map[string]string{"f": "branch"}).commit()
	git(t, w.dir, "tag", "feature/x", old) // a tag of the same name
	git(t, w.dir, "checkout", "-q", "main")

	cases := map[string]struct{ revision, commit, content string }{
		"default branch":   {"", head, "new"},
		"branch":           {"main", head, "new"},
		"branch and tag":   {"feature/x", branch, "branch"},
		"full name of tag": {"refs/tags/feature/x", old, "old"},
		"annotated tag":    {"v1", old, "old"},
		"light tag":        {"light", old, "old"},
		"tip by hash":      {branch, branch, "branch"},
		"tag by hash":      {old, old, "old"},
		"in the history":   {between, between, "between"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "repo")
			r.Revision = c.revision
			result, files := clone(t, r)
			if result.Commit != c.commit || files["f"] != c.content || len(files) != 1 {
				t.Errorf("commit %s with %v, want %s with %q", result.Commit, files, c.commit, c.content)
			}
		})
	}
	t.Run("a server that gives any commit", func(t *testing.T) {
		git(t, w.dir, "config", "uploadpack.allowReachableSHA1InWant", "true")
		r := s.request(t, "repo")
		r.Revision = between
		if result, files := clone(t, r); result.Commit != between || files["f"] != "between" {
			t.Errorf("commit %s with %v", result.Commit, files)
		}
	})
	unknown := strings.Repeat("1", 40)
	t.Run("a server that gives any commit, not this", func(t *testing.T) {
		r := s.request(t, "repo")
		r.Revision = unknown
		refused(t, r, ErrServer, unknown)
	})
	t.Run("a tree", func(t *testing.T) {
		r := s.request(t, "repo")
		r.Revision = git(t, w.dir, "rev-parse", "HEAD^{tree}")
		refused(t, r, ErrRefused, "no commit")
	})
	git(t, w.dir, "config", "uploadpack.allowReachableSHA1InWant", "false")
	for name, c := range map[string]struct{ revision, words string }{
		"unknown branch": {"nothing", `there are the branches "feature/x", "main"`},
		"short commit":   {between[:12], "all of its 40 digits"},
		"unknown commit": {unknown, "in no branch and no tag"},
		"SHA-256":        {strings.Repeat("1", 64), "not supported"},
		"an option":      {"--upload-pack=id", "no branch"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "repo")
			r.Revision = c.revision
			refused(t, r, ErrRefused, c.words)
		})
	}
	t.Run("empty", func(t *testing.T) {
		newWork(t, s.root, "empty")
		refused(t, s.request(t, "empty"), ErrRefused, "empty")
	})
	t.Run("no such repository", func(t *testing.T) {
		refused(t, s.request(t, "nothing"), ErrServer, "no such repository")
	})
}

func TestOneCommitIsReceivedWithoutItsHistory(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	for i := range 5 {
		noise := make([]byte, 200_000)
		for j := range noise {
			noise[j] = byte((j*7919 + i*104729) >> (j % 7))
		}
		w.write(map[string]string{"data": string(noise)}).commit()
	}
	w.write(map[string]string{"data": "small"}).commit()
	if result, _ := clone(t, s.request(t, "repo")); result.Received > 20_000 {
		t.Errorf("%d bytes for one small file", result.Received)
	}
}

func TestWhatIsWritten(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	w.write(map[string]string{
		"go.mod": "module shop", "order/f.go": "o", "order/run.sh": "#!/bin/sh", "order/link": "->../shared/lib.go", "payment/f.go": "p", "shared/lib.go": "s",
		".gitattributes": "*.txt eol=crlf\n*.big filter=lfs\n", "order/a.txt": "a\nb\n", "order/x.big": "version https://git-lfs.github.com/spec/v1\n",
		"order/ü": "u",
	})
	w.commit()
	cases := map[string]struct {
		path    string
		include []string
		want    map[string]string
		reason  string
	}{
		"a folder": {
			path: "payment", want: map[string]string{"f.go": "p"}, reason: "the folder is the root",
		},
		"a folder and what it shares": {
			path: "order", include: []string{"shared"},
			want: map[string]string{
				"order/f.go": "o", "order/run.sh": "x:#!/bin/sh", "order/link": "->../shared/lib.go", "order/a.txt": "a\nb\n",
				"order/x.big": "version https://git-lfs.github.com/spec/v1\n", "order/ü": "u", "shared/lib.go": "s",
			}, reason: "no filter changes a file, and nothing is fetched from elsewhere",
		},
		"a folder and a file": {
			path: "payment", include: []string{"go.mod"}, want: map[string]string{"payment/f.go": "p", "go.mod": "module shop"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "repo")
			r.Layout = at(t, c.path, c.include...)
			_, files := clone(t, r)
			if diff := cmp.Diff(c.want, files); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
	for name, c := range map[string]struct {
		path    string
		include []string
	}{
		"no such folder":           {path: "nothing"},
		"only what it includes":    {path: "nothing", include: []string{"shared"}},
		"a link and nothing in it": {path: "order/link/x"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.request(t, "repo")
			r.Layout = at(t, c.path, c.include...)
			refused(t, r, ErrRefused, "check git.path")
		})
	}
}

// The digest is that of the files: what else a commit holds makes no other.
func TestDigestIsThatOfTheFiles(t *testing.T) {
	s := newHTTPSServer(t)
	w := newWork(t, s.root, "repo")
	digest := func(path string, include ...string) string {
		t.Helper()
		r := s.request(t, "repo")
		r.Layout = at(t, path, include...)
		result, _ := clone(t, r)
		return result.Digest
	}
	w.write(map[string]string{"order/f.go": "o", "payment/f.go": "p", "shared/s": "s"}).commit()
	order, shared := digest("order"), digest("order", "shared")
	w.write(map[string]string{"payment/f.go": "changed"}).commit()
	if digest("order") != order || digest("order", "shared") != shared {
		t.Error("a change beside the function changes its digest")
	}
	w.write(map[string]string{"shared/s": "changed"}).commit()
	if digest("order") != order || digest("order", "shared") == shared {
		t.Error("a change of what it shares must change the digest of who includes it, and of nobody else")
	}
	seen := []string{order}
	for _, files := range []map[string]string{{"order/f.go": "#!o"}, {"order/f.go": "->x"}, {"order/f.go": "o", "order/g": ""}} {
		w.write(files).commit()
		if d := digest("order"); slices.Contains(seen, d) {
			t.Errorf("%v has the digest of something else", files)
		} else {
			seen = append(seen, d)
		}
	}
}

func TestHTTPSLogin(t *testing.T) {
	s := newHTTPSServer(t)
	newWork(t, s.root, "repo").write(map[string]string{"f": "x"}).commit()
	s.private = true
	host := strings.TrimPrefix(s.URL, "https://")
	good := Login{Hosts: gitsource.CredentialHosts{host}, Username: user, Password: password, CA: s.ca()}
	with := func(change func(*Login)) Request {
		login := good
		change(&login)
		r := s.request(t, "repo")
		r.Login = &login
		return r
	}
	if _, files := clone(t, with(func(*Login) {})); files["f"] != "x" {
		t.Errorf("files %v", files)
	}
	refused(t, with(func(l *Login) { l.Password = "other" }), ErrServer, "another login (401)")
	refused(t, s.request(t, "repo"), ErrServer, "git.secretName")
	s.logins.Store(0)
	refused(t, with(func(l *Login) { l.Hosts = gitsource.CredentialHosts{"git.example.com"} }), ErrServer, "401")
	if n := s.logins.Load(); n != 0 {
		t.Errorf("the login was sent to a host that it is not for: %d times", n)
	}
	refused(t, with(func(l *Login) { l.CA = nil }), ErrServer, "certificate")
	refused(t, with(func(l *Login) { l.CA = []byte("x") }), ErrRefused, "PEM")
}

func TestSSH(t *testing.T) {
	s := newSSHServer(t)
	w := newWork(t, s.root, "it's a repo")
	old := w.write(map[string]string{"f": "old"}).commit()
	head := w.write(map[string]string{"f": "x"}).commit()
	// Such a path cannot stand in a manifest unescaped.
	escaped := func(t *testing.T) Request {
		r := request(t, "ssh://git@"+s.endpoint+s.root+"/it%27s%20a%20repo")
		r.Login = s.login(t)
		return r
	}
	result, files := clone(t, escaped(t))
	if result.Commit != head || files["f"] != "x" {
		t.Errorf("commit %s with %v", result.Commit, files)
	}
	r := escaped(t)
	r.Revision = old
	if result, files := clone(t, r); result.Commit != old || files["f"] != "old" {
		t.Errorf("commit %s with %v", result.Commit, files)
	}
	other := newSSHServer(t)
	cases := map[string]struct {
		change func(*Request)
		kind   error
		words  string
	}{
		"no login":         {func(r *Request) { r.Login = nil }, ErrRefused, "kubernetes.io/ssh-auth"},
		"another host":     {func(r *Request) { r.Login.Hosts = gitsource.CredentialHosts{"127.0.0.1"} }, ErrRefused, "no key for"},
		"no known hosts":   {func(r *Request) { r.Login.KnownHosts = "" }, ErrRefused, "ssh-keyscan"},
		"another key":      {func(r *Request) { r.Login.Key = other.key }, ErrServer, "does not take the key"},
		"no key":           {func(r *Request) { r.Login.Key = []byte("-----BEGIN PRIVATE KEY-----") }, ErrRefused, "no private key"},
		"unknown server":   {func(r *Request) { r.Login.KnownHosts = other.login(t).KnownHosts }, ErrServer, "has no key of"},
		"another server":   {func(r *Request) { *r = escaped(t); r.Login.KnownHosts = forged(t, s, other) }, ErrServer, "somebody may stand in between"},
		"no repository":    {func(r *Request) { r.Address.Path += "-not" }, ErrServer, "does not appear to be a git repository"},
		"nobody listens":   {func(r *Request) { r.Address.Port = "1"; r.Login.Hosts = gitsource.CredentialHosts{"127.0.0.1:1"} }, ErrServer, "refused"},
		"address not open": {func(r *Request) { r.Policy = gitsource.Policy{} }, ErrRefused, "not public"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := escaped(t)
			c.change(&r)
			refused(t, r, c.kind, c.words)
		})
	}
}

// forged is a known_hosts file that has another key for the server.
func forged(t *testing.T, s, other *sshServer) string {
	t.Helper()
	copied := *s
	copied.hostKey = other.hostKey
	return copied.login(t).KnownHosts
}

func TestRedirects(t *testing.T) {
	s, other := newHTTPSServer(t), newHTTPSServer(t)
	newWork(t, s.root, "moved").write(map[string]string{"f": "x"}).commit()
	newWork(t, other.root, "repo").write(map[string]string{"f": "other"}).commit()
	to := map[string]string{
		"/old/":      s.URL + "/moved",
		"/away/":     other.URL + "/repo",
		"/metadata/": "https://169.254.169.254/latest",
		"/private/":  "https://10.0.0.1/x",
		"/plain/":    "http://127.0.0.1/x",
		"/file/":     "file:///etc",
		"/name/":     "https://localhost/x",
		"/login/":    "https://a:b@127.0.0.1/x",
		"/round/":    s.URL + "/round",
	}
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		for from, target := range to {
			if rest, ok := strings.CutPrefix(r.URL.Path, from); ok {
				http.Redirect(w, r, target+"/"+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
				return true
			}
		}
		return false
	}
	if _, files := clone(t, s.request(t, "old")); files["f"] != "x" {
		t.Errorf("files %v", files)
	}
	for from, c := range map[string]struct {
		kind  error
		words string
	}{
		"metadata": {ErrRefused, "metadata"}, "private": {ErrRefused, "not public"}, "plain": {ErrRefused, "whoever is on the way"},
		"file": {ErrRefused, "another address"}, "name": {ErrRefused, "machine itself"}, "login": {ErrRefused, "secretName"}, "round": {ErrServer, "too often"},
	} {
		t.Run(from, func(t *testing.T) { refused(t, s.request(t, from), c.kind, c.words) })
	}
	t.Run("the login stays behind", func(t *testing.T) {
		r := s.request(t, "away")
		r.Login = &Login{Hosts: gitsource.CredentialHosts{strings.TrimPrefix(s.URL, "https://")}, Username: user, Password: password, CA: append(s.ca(), other.ca()...)}
		if _, files := clone(t, r); files["f"] != "other" {
			t.Errorf("files %v", files)
		}
		if belongs, elsewhere := s.logins.Load(), other.logins.Load(); elsewhere != 0 || belongs == 0 {
			t.Errorf("logins: %d where it belongs, %d where it was sent on to", belongs, elsewhere)
		}
	})
}

func packet(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

func TestWhatIsNoGitServer(t *testing.T) {
	s := newHTTPSServer(t)
	answer := func(w http.ResponseWriter, body string) bool {
		w.Header().Set("Content-Type", refsType)
		_, _ = w.Write([]byte(body))
		return true
	}
	hash := strings.Repeat("a", 40)
	cases := map[string]struct {
		before func(w http.ResponseWriter, r *http.Request) bool
		kind   error
		words  string
	}{
		"a web page": {func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true }, ErrServer, "not as a git server"},
		"an error": {func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "x", http.StatusInternalServerError)
			return true
		}, ErrServer, "answered 500"},
		"nothing":   {func(w http.ResponseWriter, _ *http.Request) bool { return answer(w, "") }, ErrServer, "branches and tags"},
		"noise":     {func(w http.ResponseWriter, _ *http.Request) bool { return answer(w, strings.Repeat("\xff", 10_000)) }, ErrServer, "branches and tags"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) bool { return answer(w, "00ff"+hash) }, ErrServer, "branches and tags"},
		"references without an end": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", refsType)
			line := packet(hash + " refs/heads/aaaaaaaaaa\n")
			_, _ = w.Write([]byte(packet(hash + " HEAD\x00shallow ofs-delta side-band-64k\n")))
			for range maxRefs/len(line) + 10 {
				if _, err := w.Write([]byte(line)); err != nil {
					break
				}
			}
			return true
		}, archive.ErrTooLarge, "branches and tags"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s.before = c.before
			refused(t, s.request(t, "repo"), c.kind, c.words)
		})
	}
}
