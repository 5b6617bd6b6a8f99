package clone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/gitsource"
)

// gitlink plants a commit with a file .gitmodules and a submodule at sub.
func (w work) gitlink(modules, commit string) {
	w.t.Helper()
	w.plant(entry{"100644", ".gitmodules", w.file(modules)}, entry{"100644", "f", w.file("x")}, entry{"160000", "sub", commit})
}

func moduleAt(url string) string { return "[submodule \"s\"]\n\tpath = sub\n\turl = " + url + "\n" }

func TestSubmodules(t *testing.T) {
	s := newHTTPSServer(t)
	leaf := newWork(t, s.root, "leaf").write(map[string]string{"leaf": "l"}).commit()
	lib := newWork(t, s.root, "org/lib.git")
	lib.write(map[string]string{"old": "o"}).commit()
	lib.plant(entry{"100644", ".gitmodules", lib.file(moduleAt(s.URL + "/leaf"))}, entry{"100644", "lib.go", lib.file("lib")}, entry{"160000", "sub", leaf})
	at := git(t, lib.dir, "rev-parse", "main")
	repo := newWork(t, s.root, "org/repo.git")
	repo.write(map[string]string{"f": "x"}).commit()
	repo.gitlink(moduleAt("../lib.git"), at)

	r := s.request(t, "org/repo.git")
	if _, files := clone(t, r); len(files) != 2 {
		t.Errorf("without being asked for: %v", files)
	}
	r.Submodules = true
	result, files := clone(t, r)
	want := map[string]string{
		"f": "x", ".gitmodules": moduleAt("../lib.git"),
		"sub/lib.go": "lib", "sub/.gitmodules": moduleAt(s.URL + "/leaf"), "sub/sub/leaf": "l",
	}
	if diff := cmp.Diff(want, files); diff != "" || result.Files != len(want) {
		t.Errorf("%d files (-want +got):\n%s", result.Files, diff)
	}
}

func TestHostileSubmodules(t *testing.T) {
	s := newHTTPSServer(t)
	ssh := newSSHServer(t)
	newWork(t, ssh.root, "lib").write(map[string]string{"f": "x"}).commit()
	repo := newWork(t, s.root, "repo")
	commit := repo.write(map[string]string{"f": "x"}).commit()
	cases := map[string]struct {
		modules, commit string
		kind            error
		words           string
	}{
		"file":              {moduleAt("file:///etc"), commit, ErrRefused, "file://"},
		"a folder":          {moduleAt("/etc"), commit, ErrRefused, "none of"},
		"metadata":          {moduleAt("https://169.254.169.254/x"), commit, ErrRefused, "metadata"},
		"localhost":         {moduleAt("https://localhost/x"), commit, ErrRefused, "machine itself"},
		"office":            {moduleAt("https://10.1.2.3/x"), commit, ErrRefused, "not public"},
		"helper":            {moduleAt("ext::sh"), commit, ErrRefused, "transport helper"},
		"option":            {moduleAt("--upload-pack=id"), commit, ErrRefused, "option"},
		"another's ssh":     {moduleAt("ssh://git@" + ssh.endpoint + "/lib"), commit, ErrRefused, "no key for"},
		"no address":        {"", commit, ErrRefused, "no address"},
		"not readable":      {"[submodule", commit, ErrRefused, ".gitmodules"},
		"path out":          {strings.Replace(moduleAt("../lib"), "path = sub", "path = ../sub", 1), commit, ErrRefused, "no address"},
		"unknown commit":    {moduleAt(s.URL + "/repo"), strings.Repeat("1", 40), ErrRefused, "in no branch"},
		"unknown host name": {moduleAt("https://nothing.invalid/x"), commit, ErrServer, "nothing.invalid"},
		"large file":        {strings.Repeat("#\n", maxModulesFile), commit, archive.ErrTooLarge, "bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			repo.gitlink(c.modules, c.commit)
			r := s.request(t, "repo")
			r.Submodules = true
			refused(t, r, c.kind, c.words)
		})
	}
	if n := ssh.commands.Load(); n > 0 {
		t.Errorf("the server of another was asked %d times", n)
	}
}

// Submodules without an end: each repository has the next one inside.
func TestSubmodulesInSubmodules(t *testing.T) {
	s := newHTTPSServer(t)
	next := newWork(t, s.root, "r0").write(map[string]string{"f": "x"}).commit()
	for i := 1; i <= maxModulesDepth+1; i++ {
		w := newWork(t, s.root, fmt.Sprintf("r%d", i))
		w.write(map[string]string{"f": "x"}).commit()
		w.gitlink(moduleAt(fmt.Sprintf("../r%d", i-1)), next)
		next = git(t, w.dir, "rev-parse", "main")
	}
	r := s.request(t, fmt.Sprintf("r%d", maxModulesDepth+1))
	r.Submodules = true
	refused(t, r, ErrRefused, "inside of each other")

	// Many beside each other.
	w := newWork(t, s.root, "wide")
	w.write(map[string]string{"f": "x"}).commit()
	leaf := git(t, s.root+"/r0", "rev-parse", "main")
	var modules strings.Builder
	entries := []entry{}
	for i := range maxModules + 1 {
		fmt.Fprintf(&modules, "[submodule \"s%d\"]\n\tpath = s%02d\n\turl = ../r0\n", i, i)
		entries = append(entries, entry{"160000", fmt.Sprintf("s%02d", i), leaf})
	}
	w.plant(append([]entry{{"100644", ".gitmodules", w.file(modules.String())}}, entries...)...)
	r = s.request(t, "wide")
	r.Submodules = true
	refused(t, r, ErrRefused, fmt.Sprintf("more than %d submodules", maxModules))
}

// A submodule gets the login only when it is on a host that the login is for.
func TestLoginOfSubmodules(t *testing.T) {
	s, other := newHTTPSServer(t), newHTTPSServer(t)
	commit := newWork(t, other.root, "lib").write(map[string]string{"f": "x"}).commit()
	w := newWork(t, s.root, "repo")
	w.write(map[string]string{"f": "x"}).commit()
	w.gitlink(moduleAt(other.URL+"/lib"), commit)
	s.private = true
	r := s.request(t, "repo")
	r.Submodules = true
	r.Login = &Login{Hosts: gitsource.CredentialHosts{strings.TrimPrefix(s.URL, "https://")}, Username: user, Password: password, CA: append(s.ca(), other.ca()...)}
	if _, files := clone(t, r); files["sub/f"] != "x" {
		t.Errorf("files %v", files)
	}
	if other.logins.Load() > 0 {
		t.Error("the login was sent to the submodule's server")
	}
}
