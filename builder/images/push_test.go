package images

import (
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// testRegistry is a TLS registry with basic auth; before sees every request
// and may answer it.
func testRegistry(t *testing.T, before func(http.ResponseWriter, *http.Request) (answered bool)) Registry {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "knit" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !before(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	ca := x509.NewCertPool()
	ca.AddCert(srv.Certificate())
	return Registry{Host: strings.TrimPrefix(srv.URL, "https://"), Prefix: "p", Username: "knit", Password: "secret", CA: ca}
}

func pull(t *testing.T, r Registry, ref string) v1.Image {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	transport := r.transport()
	defer transport.CloseIdleConnections()
	img, err := remote.Image(parsed, r.options(t.Context(), transport)...)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
	return img
}

func TestPushSendsOnceAndTags(t *testing.T) {
	var writes atomic.Int32
	r := testRegistry(t, func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			writes.Add(1)
		}
		return false
	})
	img := testBase(t, openTestCache(t))
	ref, err := r.Push(t.Context(), "a/b", img, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Host + "/p/a/b@" + digestOf(t, img).String(); ref.String() != want {
		t.Errorf("reference %s, want %s", ref, want)
	}
	pull(t, r, ref.String())
	if got := digestOf(t, pull(t, r, r.Host+"/p/a/b:v1")); got != digestOf(t, img) {
		t.Errorf("tag names %s", got)
	}
	writes.Store(0)
	if _, err := r.Push(t.Context(), "a/b", img, "v1"); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load(); n != 0 {
		t.Errorf("second push wrote %d times", n)
	}
}

func TestPushAllRetriesWhatPasses(t *testing.T) {
	var failures atomic.Int32
	r := testRegistry(t, func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet && req.Method != http.MethodHead && failures.Add(1) <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	img := testBase(t, openTestCache(t))
	refs, err := r.PushAll(t.Context(), map[string]v1.Image{"one": img, "two": img}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, repository := range []string{"one", "two"} {
		pull(t, r, refs[repository].String())
	}
	if failures.Load() <= 2 {
		t.Error("no request was made to fail")
	}
}

func TestPushSaysWhatToDo(t *testing.T) {
	pass := func(http.ResponseWriter, *http.Request) bool { return false }
	good := testRegistry(t, pass)
	for reason, in := range map[string]struct {
		change func(*Registry)
		want   string
	}{
		"wrong password": {func(r *Registry) { r.Password = "x" }, "user name and password"},
		"unknown CA":     {func(r *Registry) { r.CA = x509.NewCertPool() }, "CA certificate"},
		"nobody listens": {func(r *Registry) { r.Host = "127.0.0.1:1" }, "is the registry running"},
		"bad repository": {func(r *Registry) { r.Prefix = "UPPER" }, "repository"},
	} {
		r := good
		in.change(&r)
		_, err := r.Push(t.Context(), "a", testBase(t, openTestCache(t)))
		if err == nil || !strings.Contains(err.Error(), in.want) {
			t.Errorf("%s: error %v, want %q", reason, err, in.want)
		}
	}
}
