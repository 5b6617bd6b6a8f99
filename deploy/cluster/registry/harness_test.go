package registry

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	testUser     = "knit"
	testPassword = "a generated password"
)

// harness is a served registry and a client that trusts it.
type harness struct {
	*Registry
	root      string
	addr      string
	log       *journal
	transport *http.Transport
	stop      func() error // ends Serve by its context
}

// journal is a log that may be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func serve(t *testing.T, root string, change ...func(*Options)) *harness {
	t.Helper()
	cert, pool := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{root: root, addr: listener.Addr().String(), log: &journal{}}
	o := Options{
		Root: root, Listener: listener, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Username: testUser, Password: testPassword, Log: h.log,
	}
	for _, c := range change {
		c(&o)
	}
	h.Registry, err = New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		h.transport.CloseIdleConnections()
		return <-done
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return h
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry under test"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (h *harness) options(t *testing.T) []remote.Option {
	return []remote.Option{
		remote.WithContext(t.Context()), remote.WithTransport(h.transport),
		remote.WithAuth(&authn.Basic{Username: testUser, Password: testPassword}),
	}
}

func (h *harness) ref(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(h.addr + "/" + s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (h *harness) push(t *testing.T, s string, img v1.Image) {
	t.Helper()
	if err := remote.Write(h.ref(t, s), img, h.options(t)...); err != nil {
		t.Fatalf("push %s: %v", s, err)
	}
}

// mustPull reads the whole image and checks every digest.
func (h *harness) mustPull(t *testing.T, s string) v1.Image {
	t.Helper()
	img, err := remote.Image(h.ref(t, s), h.options(t)...)
	if err == nil {
		err = validate.Image(img)
	}
	if err != nil {
		t.Fatalf("pull %s: %v", s, err)
	}
	return img
}

func (h *harness) has(t *testing.T, s string) bool {
	t.Helper()
	_, err := remote.Head(h.ref(t, s), h.options(t)...)
	return err == nil
}

func (h *harness) remove(t *testing.T, s string) {
	t.Helper()
	if err := remote.Delete(h.ref(t, s), h.options(t)...); err != nil {
		t.Fatalf("delete %s: %v", s, err)
	}
}

func (h *harness) collect(t *testing.T) int64 {
	t.Helper()
	freed, err := h.Collect(t.Context())
	if err != nil {
		t.Fatalf("collect: %v", err)
	}
	return freed
}

// request sends one with the right password and returns the status.
func (h *harness) request(t *testing.T, method, path string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+h.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	res, err := h.transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// grow old: everything stored was last asked for yesterday.
func (h *harness) age(t *testing.T) {
	t.Helper()
	yesterday := time.Now().Add(-24 * time.Hour)
	err := filepath.WalkDir(h.root, func(file string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(file, yesterday, yesterday)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func image(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(4096, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digestOf(t *testing.T, d interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}
