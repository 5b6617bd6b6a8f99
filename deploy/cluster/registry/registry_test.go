package registry

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestContentSurvivesARestart(t *testing.T) {
	root := t.TempDir()
	h := serve(t, root)
	img := image(t, 3)
	h.push(t, "a/b/c:v1", img)
	if got, want := digestOf(t, h.mustPull(t, "a/b/c:v1")), digestOf(t, img); got != want {
		t.Fatalf("pulled %s, pushed %s", got, want)
	}
	h.push(t, "a/b/c:v1", image(t, 1)) // the tag moves, the first image stays by digest
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}

	h = serve(t, root)
	h.mustPull(t, "a/b/c:v1")
	if got := digestOf(t, h.mustPull(t, "a/b/c@"+digestOf(t, img))); got != digestOf(t, img) {
		t.Errorf("after the restart: %s", got)
	}
	tags, err := remote.List(h.ref(t, "a/b/c:v1").Context(), h.options(t)...)
	if err != nil || len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags after the restart: %v, %v", tags, err)
	}
}

func TestAnIndexServesEveryPlatform(t *testing.T) {
	h := serve(t, t.TempDir())
	index := v1.ImageIndex(empty.Index)
	want := map[string]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		img := image(t, 2)
		want[arch] = digestOf(t, img)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	if err := remote.WriteIndex(h.ref(t, "multi:v1"), index, h.options(t)...); err != nil {
		t.Fatal(err)
	}
	for arch, digest := range want {
		img, err := remote.Image(h.ref(t, "multi:v1"), append(h.options(t), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))...)
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if got := digestOf(t, img); got != digest {
			t.Errorf("%s: got %s, want %s", arch, got, digest)
		}
	}
}

func TestEveryRequestNeedsTheUser(t *testing.T) {
	h := serve(t, t.TempDir())
	h.push(t, "secret:v1", image(t, 1))
	cases := map[string]struct {
		method, path, user, password string
		want                         int
	}{
		"the user":                 {http.MethodGet, "/v2/", testUser, testPassword, http.StatusOK},
		"anonymous":                {http.MethodGet, "/v2/", "", "", http.StatusUnauthorized},
		"wrong password":           {http.MethodGet, "/v2/", testUser, "guess", http.StatusUnauthorized},
		"wrong user":               {http.MethodGet, "/v2/", "root", testPassword, http.StatusUnauthorized},
		"empty password":           {http.MethodGet, "/v2/", testUser, "", http.StatusUnauthorized},
		"anonymous catalog":        {http.MethodGet, "/v2/_catalog", "", "", http.StatusUnauthorized},
		"anonymous manifest":       {http.MethodGet, "/v2/secret/manifests/v1", "", "", http.StatusUnauthorized},
		"anonymous upload":         {http.MethodPost, "/v2/secret/blobs/uploads/", "", "", http.StatusUnauthorized},
		"anonymous delete":         {http.MethodDelete, "/v2/secret/manifests/v1", "", "", http.StatusUnauthorized},
		"anonymous, outside of v2": {http.MethodGet, "/debug/vars", "", "", http.StatusNotFound},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, "https://"+h.addr+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				r.SetBasicAuth(c.user, c.password)
			}
			res, err := h.transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("status %d, want %d", res.StatusCode, c.want)
			}
			if challenge := res.Header.Get("WWW-Authenticate"); c.want == http.StatusUnauthorized && !strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
		})
	}
	if !h.has(t, "secret:v1") {
		t.Error("the image is gone")
	}
}

func TestDeleteTakesTheTagsAlong(t *testing.T) {
	h := serve(t, t.TempDir())
	img := image(t, 1)
	h.push(t, "app:v1", img)
	h.push(t, "app:latest", img)
	h.push(t, "app:other", image(t, 1))
	h.remove(t, "app@"+digestOf(t, img))
	for tag, want := range map[string]bool{"app:v1": false, "app:latest": false, "app:other": true} {
		if got := h.has(t, tag); got != want {
			t.Errorf("%s there: %t, want %t", tag, got, want)
		}
	}
}

func TestTheLogIsQuietAndHasNoPassword(t *testing.T) {
	h := serve(t, t.TempDir())
	h.push(t, "app:v1", image(t, 3))
	h.mustPull(t, "app:v1")
	if h.has(t, "app:none") {
		t.Error("app:none exists")
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.addr+"/v2/", nil)
	r.SetBasicAuth(testUser, "guess")
	res, err := h.transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	log := h.log.String()
	if n := strings.Count(log, "\n"); n > 5 {
		t.Errorf("%d lines for one push, one pull and a wrong password:\n%s", n, log)
	}
	for _, want := range []string{"method=PUT path=/v2/app/manifests/v1 status=201", "status=401"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, testPassword) || strings.Contains(log, "guess") {
		t.Errorf("the log tells a password:\n%s", log)
	}
}

func TestServeLetsARunningUploadFinish(t *testing.T) {
	h := serve(t, t.TempDir())
	start, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.addr+"/v2/app/blobs/uploads/", nil)
	if err != nil {
		t.Fatal(err)
	}
	start.SetBasicAuth(testUser, testPassword)
	res, err := h.transport.RoundTrip(start)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	body, feed := io.Pipe()
	patch, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, "https://"+h.addr+res.Header.Get("Location"), body)
	if err != nil {
		t.Fatal(err)
	}
	patch.SetBasicAuth(testUser, testPassword)
	patched := make(chan int, 1)
	go func() {
		res, err := h.transport.RoundTrip(patch)
		if err != nil {
			t.Error(err)
			patched <- 0
			return
		}
		res.Body.Close()
		patched <- res.StatusCode
	}()
	if _, err := feed.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	for written := int64(0); written == 0; { // until the server has some of it
		data, err := filepath.Glob(filepath.Join(h.root, "docker/registry/v2/repositories/app/_uploads/*/data"))
		if err != nil || t.Context().Err() != nil {
			t.Fatal(err)
		}
		if len(data) == 1 {
			if info, err := os.Stat(data[0]); err == nil {
				written = info.Size()
			}
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	for { // until new connections are refused, so Serve knows that it is over
		c, err := net.DialTimeout("tcp", h.addr, time.Second)
		if err != nil {
			break
		}
		c.Close()
	}
	if _, err := feed.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if status := <-patched; status != http.StatusAccepted {
		t.Errorf("the upload ended with %d", status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAStalledBodyIsCut(t *testing.T) {
	ended := make(chan error, 1)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	cert, pool := certificate(t)
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			log := newLog(io.Discard)
			server := newServer(&tls.Config{Certificates: []tls.Certificate{cert}}, app, &disk{}, log)
			server.Handler.(*front).stall = 50 * time.Millisecond
			go func() { _ = server.ServeTLS(listener, "", "") }()
			defer server.Close()

			body, feed := io.Pipe()
			defer feed.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+listener.Addr().String(), body)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
			defer transport.CloseIdleConnections()
			go func() {
				if res, err := transport.RoundTrip(r); err == nil {
					res.Body.Close()
				}
			}()
			for range 5 { // slower than the limit altogether, but it moves
				time.Sleep(20 * time.Millisecond)
				if _, err := feed.Write([]byte("byte")); err != nil {
					t.Fatalf("cut while it moved: %v", err)
				}
			}
			select {
			case err := <-ended:
				if err == nil {
					t.Error("a body without end was read to its end")
				}
			case <-time.After(10 * time.Second):
				t.Error("the stalled body is still waited for")
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	cert, _ := certificate(t)
	good := func(t *testing.T) Options {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return Options{Root: t.TempDir(), Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Username: "u", Password: "p", Log: io.Discard}
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*Options)
		want   string
	}{
		"complete":             {func(*Options) {}, ""},
		"no certificate":       {func(o *Options) { o.TLS = &tls.Config{} }, "certificate"},
		"no password":          {func(o *Options) { o.Password = "" }, "anonymous"},
		"password too long":    {func(o *Options) { o.Password = strings.Repeat("x", 73) }, "72 bytes"},
		"user with a colon":    {func(o *Options) { o.Username = "a:b" }, "colon"},
		"the folder is a file": {func(o *Options) { o.Root = file }, file},
	}
	for reason, c := range cases {
		t.Run(reason, func(t *testing.T) {
			o := good(t)
			c.change(&o)
			_, err := New(context.Background(), o)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
