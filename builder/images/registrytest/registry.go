// Package registrytest starts an OCI registry on loopback for tests, with what
// a cluster's registry has: TLS by a CA of its own, and basic auth. It is
// go-containerregistry's registry with blobs on disk. Only tests import it.
package registrytest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/knit-dev/knit/builder/images"
)

const (
	username = "knit"
	password = "not a secret"
)

// Registry is a running registry and the files by which others reach it.
type Registry struct {
	images.Registry
	CAFile    string // PEM
	LoginFile string // docker's config.json
}

// Start runs a registry until the test ends.
func Start(t testing.TB) Registry {
	t.Helper()
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir())))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, secret, ok := r.BasicAuth(); !ok || user != username || secret != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	host := server.Listener.Addr().String()
	login, err := json.Marshal(map[string]any{"auths": map[string]any{
		host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(username + ":" + password))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := Registry{
		Registry:  images.Registry{Host: host, Username: username, Password: password, CA: pool},
		CAFile:    filepath.Join(dir, "ca.crt"),
		LoginFile: filepath.Join(dir, "config.json"),
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string][]byte{r.CAFile: certificate, r.LoginFile: login} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// CacheDir is the build cache that tests of the real builder share, so that
// only a new Go or new sources cost time: $KNIT_CACHE_DIR or Knit's own.
func CacheDir() string {
	if dir := os.Getenv("KNIT_CACHE_DIR"); dir != "" {
		return dir
	}
	return "/var/cache/knit"
}
