// Command gitserver is a git server over HTTPS with one private repository,
// "/repo", for end-to-end tests. The repository begins with the files of a
// folder; a PUT to /files/<path> commits another content of one of them. It
// keeps everything in memory and speaks the oldest form of git's protocol that
// is still in use: no shallow clones, no side bands.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
	"github.com/go-git/go-git/v5/storage/memory"
)

func main() {
	listen := flag.String("listen", ":8443", "address")
	dir := flag.String("files", "/files", "folder with the first files; two underscores in a name stand for a slash")
	cert := flag.String("cert", "/tls", "folder with tls.crt and tls.key")
	user := flag.String("user", "alice", "who may read; the password is in $PASSWORD")
	flag.Parse()
	r, err := newRepository(*dir)
	if err != nil {
		log.Fatalf("make the repository: %v", err)
	}
	handler := withLogin(*user, os.Getenv("PASSWORD"), r.routes())
	log.Printf("serving on %s", *listen)
	log.Fatal(http.ListenAndServeTLS(*listen, filepath.Join(*cert, "tls.crt"), filepath.Join(*cert, "tls.key"), handler))
}

func withLogin(user, password string, to http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); r.URL.Path != "/healthz" && (u != user || p != password) {
			http.Error(w, "login", http.StatusUnauthorized)
			return
		}
		to.ServeHTTP(w, r)
	})
}

// repository is a repository with a working tree, both in memory.
type repository struct {
	mu     sync.Mutex
	git    *git.Repository
	server transport.Transport
}

func newRepository(dir string) (*repository, error) {
	store := memory.NewStorage()
	repo, err := git.InitWithOptions(store, memfs.New(), git.InitOptions{DefaultBranch: plumbing.Main})
	if err != nil {
		return nil, err
	}
	endpoint, err := transport.NewEndpoint("https://localhost/repo")
	if err != nil {
		return nil, err
	}
	r := &repository{git: repo, server: server.NewServer(server.MapLoader{endpoint.String(): store})}
	files := map[string][]byte{}
	// A mounted ConfigMap holds links and a folder beside them.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if strings.HasPrefix(e.Name(), "..") || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[strings.ReplaceAll(e.Name(), "__", "/")] = content
	}
	_, err = r.commit(files)
	return r, err
}

// commit writes files and returns the commit that has them.
func (r *repository) commit(files map[string][]byte) (plumbing.Hash, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tree, err := r.git.Worktree()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for name, content := range files {
		if err := util.WriteFile(tree.Filesystem, name, content, 0o644); err != nil {
			return plumbing.ZeroHash, err
		}
		if _, err := tree.Add(name); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	return tree.Commit("files", &git.CommitOptions{Author: &object.Signature{Name: "e2e", Email: "e2e@example.com", When: time.Now()}})
}

func (r *repository) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /repo/info/refs", r.refs)
	mux.HandleFunc("POST /repo/git-upload-pack", r.pack)
	mux.HandleFunc("PUT /files/{path...}", func(w http.ResponseWriter, req *http.Request) {
		content, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
		if err == nil {
			var hash plumbing.Hash
			if hash, err = r.commit(map[string][]byte{req.PathValue("path"): content}); err == nil {
				fmt.Fprintln(w, hash)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusInternalServerError)
	})
	return mux
}

func (r *repository) session() (transport.UploadPackSession, error) {
	endpoint, err := transport.NewEndpoint("https://localhost/repo")
	if err != nil {
		return nil, err
	}
	return r.server.NewUploadPackSession(endpoint, nil)
}

func (r *repository) refs(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	session, err := r.session()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	refs, err := session.AdvertisedReferencesContext(req.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	refs.Prefix = [][]byte{[]byte("# service=git-upload-pack"), pktline.Flush}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	if err := refs.Encode(w); err != nil {
		log.Printf("write the references: %v", err)
	}
}

func (r *repository) pack(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := packp.NewUploadPackRequest()
	if err := asked.Decode(req.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	session, err := r.session()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := session.UploadPack(req.Context(), asked)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	if err := answer.Encode(w); err != nil {
		log.Printf("write the pack: %v", err)
	}
}
