package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/knit-dev/knit/functions/api/archive"
)

// TestMain lets the test binary be the program, so that environment, exit code
// and certificates are the real ones.
func TestMain(m *testing.M) {
	if os.Getenv("KNIT_FETCH_AS_PROGRAM") == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const user, password = "knit", "s3cret-password"

// testRegistry is a registry with TLS and a login; tamper changes blobs on
// their way out.
type testRegistry struct {
	*httptest.Server
	tamper atomic.Pointer[func([]byte) []byte]
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	r := &testRegistry{}
	inner := registry.New()
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if u, p, ok := req.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "login", http.StatusUnauthorized)
			return
		}
		tamper := r.tamper.Load()
		if tamper == nil || req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") {
			inner.ServeHTTP(w, req)
			return
		}
		record := httptest.NewRecorder()
		inner.ServeHTTP(record, req)
		body := (*tamper)(record.Body.Bytes())
		w.WriteHeader(record.Code)
		_, _ = w.Write(body)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *testRegistry) host() string { return strings.TrimPrefix(r.URL, "https://") }

func (r *testRegistry) keychain() authn.Keychain {
	return keychainFunc(func() (authn.Authenticator, error) { return &authn.Basic{Username: user, Password: password}, nil })
}

type keychainFunc func() (authn.Authenticator, error)

func (f keychainFunc) Resolve(authn.Resource) (authn.Authenticator, error) { return f() }

// push stores an archive and returns its reference.
func (r *testRegistry) push(t *testing.T, content []byte) string {
	t.Helper()
	repository, err := name.NewRepository(r.host() + "/alice/sources")
	if err != nil {
		t.Fatal(err)
	}
	layer := static.NewLayer(content, archive.MediaType)
	if err := remote.WriteLayer(repository, layer, remote.WithAuthFromKeychain(r.keychain()), remote.WithTransport(r.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return repository.Name() + "@sha256:" + hex.EncodeToString(sum[:])
}

// environment is that of the pod: a folder with config.json, one with ca.crt.
func (r *testRegistry) environment(t *testing.T, pass string) []string {
	t.Helper()
	dir := t.TempDir()
	login := base64.StdEncoding.EncodeToString([]byte(user + ":" + pass))
	write(t, filepath.Join(dir, "config", "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host(), login))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	write(t, filepath.Join(dir, "ca", "ca.crt"), string(ca))
	return []string{"KNIT_FETCH_AS_PROGRAM=1", "DOCKER_CONFIG=" + filepath.Join(dir, "config"), "SSL_CERT_DIR=" + filepath.Join(dir, "ca")}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

type outcome struct {
	code            int
	output, message string
	workspace       string
}

func program(t *testing.T, env []string, source string, more ...string) outcome {
	t.Helper()
	o := outcome{workspace: t.TempDir()}
	message := filepath.Join(t.TempDir(), "termination-log")
	write(t, message, "")
	args := []string{"-dir", o.workspace, "-message", message}
	if source != "" {
		args = append(args, "-source", source)
	}
	command := exec.CommandContext(t.Context(), os.Args[0], append(args, more...)...)
	command.Env = env
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	o.output, o.message = string(output), string(raw)
	return o
}

func packed(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), "package main")
	write(t, filepath.Join(dir, "sub", "a.txt"), strings.Repeat("a", 100_000))
	var out bytes.Buffer
	if _, err := archive.Pack(dir, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFetch(t *testing.T) {
	r := newRegistry(t)
	o := program(t, r.environment(t, password), r.push(t, packed(t)))
	if o.code != 0 || o.message != "" {
		t.Fatalf("%+v", o)
	}
	if raw, err := os.ReadFile(filepath.Join(o.workspace, "main.go")); err != nil || string(raw) != "package main" {
		t.Errorf("main.go: %q, %v", raw, err)
	}
}

func TestRefusals(t *testing.T) {
	r := newRegistry(t)
	good := packed(t)
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 1}
	}
	cases := map[string]struct {
		content []byte
		tamper  func([]byte) []byte
		source  string
		env     []string
		code    int
		message string
	}{
		"up and out":      {content: tarOf(t, file("../x")), code: exitRefused, message: "../x"},
		"absolute":        {content: tarOf(t, file("/etc/x")), code: exitRefused, message: "/etc/x"},
		"link out":        {content: tarOf(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/registry-credentials"}), code: exitRefused, message: "registry-credentials"},
		"below a link":    {content: tarOf(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "d"}, file("l/x")), code: exitRefused, message: "l/x"},
		"hard link":       {content: tarOf(t, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "x"}), code: exitRefused, message: `"l"`},
		"device":          {content: tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), code: exitRefused, message: "null"},
		"twice":           {content: tarOf(t, file("x"), file("x")), code: exitRefused, message: "twice"},
		"no archive":      {content: []byte("hello"), code: exitRefused, message: "gzip"},
		"bomb":            {content: tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Mode: 0o644, Size: 600 << 20}), code: exitRefused, message: "larger than the platform takes"},
		"changed bytes":   {content: good, tamper: func(b []byte) []byte { return tarOf(t, file("evil")) }, code: exitRegistry, message: "sent something else"},
		"cut":             {content: good, tamper: func(b []byte) []byte { return b[:len(b)/2] }, code: exitRegistry, message: "broke off"},
		"more":            {content: good, tamper: func(b []byte) []byte { return append(bytes.Clone(b), 0) }, code: exitRegistry},
		"unknown":         {source: r.host() + "/alice/sources@sha256:" + strings.Repeat("0", 64), code: exitRegistry, message: "knit deploy"},
		"by tag":          {source: r.host() + "/alice/sources:latest", code: exitUsage, message: "sha256"},
		"wrong password":  {content: good, env: r.environment(t, "other"), code: exitRegistry, message: "registry-credentials"},
		"unknown CA":      {content: good, env: append(r.environment(t, password), "SSL_CERT_DIR=/nowhere"), code: exitRegistry, message: "certificate"},
		"nobody listens":  {source: "127.0.0.1:1/alice/sources@sha256:" + strings.Repeat("0", 64), code: exitRegistry, message: "refused"},
		"not a reference": {source: "?", code: exitUsage},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.content != nil {
				c.source = r.push(t, c.content)
			}
			if c.env == nil {
				c.env = r.environment(t, password)
			}
			if c.tamper != nil {
				r.tamper.Store(&c.tamper)
				defer r.tamper.Store(nil)
			}
			o := program(t, c.env, c.source)
			if o.code != c.code || o.message == "" || !strings.Contains(o.message, c.message) {
				t.Errorf("code %d, want %d; message %q, want %q", o.code, c.code, o.message, c.message)
			}
			if strings.Contains(o.output+o.message, password) {
				t.Error("the password is shown")
			}
		})
	}
}

func TestUsage(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{nil, {"-source", "x", "more"}, {"-what"}, {"-source", "x", "-git-url", "y"}} {
		if code := run(t.Context(), args, &out, &out); code != exitUsage {
			t.Errorf("%q: code %d", args, code)
		}
	}
}

func TestUnwritableWorkspace(t *testing.T) {
	r := newRegistry(t)
	o := program(t, r.environment(t, password), r.push(t, packed(t)), "-dir", "/nowhere")
	if o.code != exitDisk || !strings.Contains(o.message, "/nowhere") {
		t.Errorf("%+v", o)
	}
}
