package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/archive"
)

const registryPassword = "s3cret-password"

type keychainFunc func() (authn.Authenticator, error)

func (f keychainFunc) Resolve(authn.Resource) (authn.Authenticator, error) { return f() }

func login() (authn.Authenticator, error) {
	return &authn.Basic{Username: "knit", Password: registryPassword}, nil
}

// testRegistry counts what is asked of it.
type testRegistry struct {
	*httptest.Server
	// uploads gets a value when an upload's bytes begin to come.
	uploads  chan struct{}
	mu       sync.Mutex
	requests []string
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	r := &testRegistry{uploads: make(chan struct{}, 100)}
	inner := registry.New()
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, p, _ := req.BasicAuth(); p != registryPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "login", http.StatusUnauthorized)
			return
		}
		r.mu.Lock()
		r.requests = append(r.requests, req.Method+" "+req.URL.Path)
		r.mu.Unlock()
		if req.Method == http.MethodPatch {
			// The registry in memory holds a lock while it reads: one slow
			// upload would stop all others. The real one does not.
			r.uploads <- struct{}{}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				http.Error(w, "broken body", http.StatusBadRequest)
				return
			}
			req.Body = io.NopCloser(bytes.NewReader(body))
		}
		if req.Method == http.MethodDelete {
			untag(inner, req.URL.Path)
		}
		inner.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

// untag does what registries do besides when a manifest is deleted by its
// digest, and the one in memory does not: its tags go with it.
func untag(inner http.Handler, manifest string) {
	base, digest := path.Split(manifest)
	ask := func(method, at string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, httptest.NewRequest(method, at, nil))
		return answer
	}
	var list struct{ Tags []string }
	_ = json.Unmarshal(ask(http.MethodGet, strings.TrimSuffix(base, "manifests/")+"tags/list").Body.Bytes(), &list)
	for _, tag := range list.Tags {
		if ask(http.MethodHead, base+tag).Header().Get("Docker-Content-Digest") == digest {
			ask(http.MethodDelete, base+tag)
		}
	}
}

func (r *testRegistry) host() string { return strings.TrimPrefix(r.URL, "https://") }

func (r *testRegistry) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.requests {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func (r *testRegistry) store() *store {
	return &store{registry: r.host(), prefix: "team", keychain: keychainFunc(login), transport: r.Client().Transport}
}

// withPaths reads paths as the generic server does.
func withPaths(h http.Handler) http.Handler {
	return filters.WithRequestInfo(h, &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")})
}

func (r *testRegistry) serve(t *testing.T, max int64, uploads int) *httptest.Server {
	t.Helper()
	a := &api{sources: &sourceHandler{store: r.store(), now: time.Now, max: max, uploads: newSlots(uploads)}}
	s := httptest.NewServer(withPaths(a))
	t.Cleanup(s.Close)
	return s
}

func gzipped(t *testing.T, size int) ([]byte, string) {
	t.Helper()
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(noise); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), "sha256:" + hex.EncodeToString(sum[:])
}

func sourcePath(namespace, digest string) string {
	return "/apis/service.knit.dev/v1alpha1/namespaces/" + namespace + "/sources/" + digest
}

func do(t *testing.T, c *http.Client, method, url string, body io.Reader, length int64) (*http.Response, metav1.Status) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	answer, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), registryPassword) {
		t.Error("the registry's password is shown")
	}
	var status metav1.Status
	if method != http.MethodHead {
		if err := json.Unmarshal(raw, &status); err != nil {
			t.Fatalf("%s %s answered %q: %v", method, url, raw, err)
		}
	}
	return answer, status
}

func TestUploadThenFind(t *testing.T) {
	r := newRegistry(t)
	s := r.serve(t, 1<<20, 4)
	content, digest := gzipped(t, 300_000)
	url := s.URL + sourcePath("alice", digest)
	length := int64(len(content))

	if got, _ := do(t, s.Client(), http.MethodHead, url, nil, 0); got.StatusCode != http.StatusNotFound {
		t.Fatalf("HEAD of an unknown source: %s", got.Status)
	}
	if got, status := do(t, s.Client(), http.MethodPut, url, bytes.NewReader(content), length); got.StatusCode != http.StatusCreated || status.Kind != "Source" {
		t.Fatalf("PUT: %s %+v", got.Status, status)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if got, _ := do(t, s.Client(), method, url, nil, 0); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", method, got.Status)
		}
	}
	if got, _ := do(t, s.Client(), http.MethodGet, s.URL+sourcePath("bob", digest), nil, 0); got.StatusCode != http.StatusNotFound {
		t.Errorf("another namespace sees it: %s", got.Status)
	}
	before := r.count("PATCH")
	if got, _ := do(t, s.Client(), http.MethodPut, url, bytes.NewReader(content), length); got.StatusCode != http.StatusOK || r.count("PATCH") != before {
		t.Errorf("PUT of a known source: %s, sent to the registry again: %v", got.Status, r.count("PATCH") != before)
	}
	checkArtifact(t, r, digest, content)
}

// checkArtifact reads the artifact as any OCI client does.
func checkArtifact(t *testing.T, r *testRegistry, digest string, content []byte) {
	t.Helper()
	reference, err := name.ParseReference(r.host() + "/team/alice/sources:sha256-" + strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(reference, remote.WithAuthFromKeychain(keychainFunc(login)), remote.WithTransport(r.Client().Transport))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	// OCI image specification 1.1, "Guidelines for Artifact Usage".
	raw, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	var artifact struct{ ArtifactType string }
	if err := json.Unmarshal(raw, &artifact); err != nil || artifact.ArtifactType != "application/vnd.knit.source.v1" {
		t.Errorf("artifact type %q, %v", artifact.ArtifactType, err)
	}
	if config, err := image.RawConfigFile(); err != nil || string(config) != "{}" {
		t.Errorf("config %q, %v", config, err)
	}
	if manifest.Config.MediaType != "application/vnd.oci.empty.v1+json" || len(manifest.Layers) != 1 || manifest.Layers[0].Annotations["org.opencontainers.image.title"] == "" ||
		manifest.Layers[0].MediaType != archive.MediaType || manifest.Layers[0].Digest.String() != digest {
		t.Errorf("manifest %+v", manifest)
	}
	layer, err := image.LayerByDigest(manifest.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	body, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the layer is not what was sent: %v", err)
	}
}

func TestRefusedUploads(t *testing.T) {
	r := newRegistry(t)
	s := r.serve(t, 100_000, 4)
	content, digest := gzipped(t, 50_000)
	_, other := gzipped(t, 10)
	large, largeDigest := gzipped(t, 200_000)
	plain := []byte("hello, not gzip")
	plainSum := sha256.Sum256(plain)
	cases := map[string]struct {
		method, digest string
		body           []byte
		length         int64 // 0: that of the body
		code           int
		message        string
	}{
		"wrong digest":   {digest: other, body: content, code: 400, message: "the body's digest is " + digest},
		"no digest":      {digest: "latest", body: content, code: 400, message: "sha256:"},
		"sha512":         {digest: "sha512:" + strings.Repeat("0", 128), body: content, code: 400, message: "sha256:"},
		"too large":      {digest: largeDigest, body: large, code: 413, message: ".knitignore"},
		"unknown length": {digest: digest, body: content, length: -1, code: 411, message: "Content-Length"},
		"empty":          {digest: digest, code: 400, message: "empty"},
		"not gzip":       {digest: "sha256:" + hex.EncodeToString(plainSum[:]), body: plain, code: 400, message: "not gzip"},
		"method":         {method: http.MethodDelete, digest: digest, code: 405, message: "GET, HEAD, PUT"},
		"unknown":        {method: http.MethodGet, digest: digest, code: 404, message: "not found"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodPut
			}
			if c.length == 0 {
				c.length = int64(len(c.body))
			}
			var body io.Reader
			if len(c.body) > 0 {
				body = io.NopCloser(bytes.NewReader(c.body)) // hides the length from net/http
			}
			answer, status := do(t, s.Client(), c.method, s.URL+sourcePath("alice", c.digest), body, c.length)
			if answer.StatusCode != c.code || status.Kind != "Status" || int(status.Code) != c.code || !strings.Contains(status.Message, c.message) {
				t.Errorf("%s %+v, want %d %q", answer.Status, status, c.code, c.message)
			}
		})
	}
	if n := r.count("PUT /v2/team/alice/sources/manifests"); n != 0 {
		t.Errorf("%d refused sources have a manifest", n)
	}
}

// The last bytes of a wrong archive never leave: the registry cannot store it
// even under its right digest.
func TestWrongArchiveIsNeverCommitted(t *testing.T) {
	r := newRegistry(t)
	content, _ := gzipped(t, 500_000)
	wrong, err := v1.NewHash("sha256:" + strings.Repeat("1", 64))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store().put(t.Context(), "alice", wrong, int64(len(content)), bytes.NewReader(content), time.Now()); err == nil {
		t.Fatal("a wrong archive was taken")
	}
	if n := r.count("PUT "); n != 0 {
		t.Errorf("the registry got %d commits", n)
	}
}

func TestShortBody(t *testing.T) {
	r := newRegistry(t)
	content, digest := gzipped(t, 10_000)
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	err = uploadFailed(r.store().put(t.Context(), "alice", hash, int64(len(content))+5, bytes.NewReader(content), time.Now()))
	if err == nil || !strings.Contains(err.Error(), "send it again") {
		t.Errorf("got %v", err)
	}
}

func TestRegistryDown(t *testing.T) {
	r := newRegistry(t)
	s := r.serve(t, 1<<20, 4)
	r.Close()
	content, digest := gzipped(t, 10)
	answer, status := do(t, s.Client(), http.MethodPut, s.URL+sourcePath("alice", digest), bytes.NewReader(content), int64(len(content)))
	if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(status.Message, "check the registry") {
		t.Errorf("%s %+v", answer.Status, status)
	}
}

func TestTooManyUploads(t *testing.T) {
	r := newRegistry(t)
	s := r.serve(t, 1<<20, 4)
	content, digest := gzipped(t, 1000)
	// Two uploads of alice that do not end: half of the places.
	for range 2 {
		body, end := io.Pipe()
		t.Cleanup(func() { _ = end.Close() })
		_, slow := gzipped(t, 10)
		go func() {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, s.URL+sourcePath("alice", slow), body)
			if err != nil {
				return
			}
			req.ContentLength = 1000
			if answer, err := s.Client().Do(req); err == nil {
				_ = answer.Body.Close()
			}
		}()
		go func() { _, _ = end.Write(content[:10]) }()
		<-r.uploads
	}
	answer, status := do(t, s.Client(), http.MethodPut, s.URL+sourcePath("alice", digest), bytes.NewReader(content), int64(len(content)))
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" || status.Reason != metav1.StatusReasonTooManyRequests {
		t.Errorf("%s %v %+v", answer.Status, answer.Header, status)
	}
	if answer, _ := do(t, s.Client(), http.MethodPut, s.URL+sourcePath("bob", digest), bytes.NewReader(content), int64(len(content))); answer.StatusCode != http.StatusCreated {
		t.Errorf("alice's uploads lock out bob: %s", answer.Status)
	}
}

func TestConcurrentUploadsOfTheSameSource(t *testing.T) {
	r := newRegistry(t)
	s := r.serve(t, 1<<20, 32)
	content, digest := gzipped(t, 100_000)
	var group sync.WaitGroup
	codes := make(chan int, 8)
	for range 8 {
		group.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+sourcePath("alice", digest), bytes.NewReader(content))
			if err != nil {
				codes <- 0
				return
			}
			answer, err := s.Client().Do(req)
			if err != nil {
				codes <- 0
				return
			}
			_ = answer.Body.Close()
			codes <- answer.StatusCode
		})
	}
	group.Wait()
	close(codes)
	for code := range codes {
		if code != http.StatusCreated && code != http.StatusOK {
			t.Errorf("one of them was answered %d", code)
		}
	}
	checkArtifact(t, r, digest, content)
}

func TestUnknownPaths(t *testing.T) {
	s := newRegistry(t).serve(t, 1, 1)
	for _, path := range []string{
		"namespaces/alice/sources", "namespaces/alice/sources/x/y", "namespaces/alice/builds/x", "namespaces/alice/builds/x/log/y",
		"namespaces/alice/pods/x", "sources/x", "namespaces/alice",
	} {
		if answer, status := do(t, s.Client(), http.MethodGet, s.URL+"/apis/service.knit.dev/v1alpha1/"+path, nil, 0); answer.StatusCode != http.StatusNotFound || status.Kind != "Status" {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

func TestSlots(t *testing.T) {
	s := newSlots(3)
	var releases []func()
	for i, c := range []struct {
		namespace string
		want      bool
	}{{"a", true}, {"a", false}, {"b", true}, {"c", true}, {"d", false}} {
		release, ok := s.take(c.namespace)
		if ok != c.want {
			t.Errorf("step %d: %v, want %v", i, ok, c.want)
		}
		if ok {
			releases = append(releases, release)
		}
	}
	for _, release := range releases {
		release()
		release() // twice is once
	}
	if s.sum != 0 || len(s.taken) != 0 {
		t.Errorf("after all releases: %d %v", s.sum, s.taken)
	}
}

func TestVerifier(t *testing.T) {
	content, digest := gzipped(t, 100)
	hash, _ := v1.NewHash(digest)
	for _, chunk := range []int{1, 7, 4096} {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			v := newVerifier(bytes.NewReader(append(bytes.Clone(content), "more"...)), hash, int64(len(content)))
			var out bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{v}, make([]byte, chunk)); err != nil || !bytes.Equal(out.Bytes(), content) {
				t.Errorf("%d bytes, %v", out.Len(), err)
			}
		})
	}
}
