package images

import (
	"archive/tar"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// imageFiles reads every entry of the flattened image.
func imageFiles(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	files, _ := readImage(t, img, "")
	return files
}

func readImage(t *testing.T, img v1.Image, want string) (map[string]*tar.Header, []byte) {
	t.Helper()
	rc := mutate.Extract(img)
	defer func() { _ = rc.Close() }()
	files, content := map[string]*tar.Header{}, []byte(nil)
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, content
		}
		if err != nil {
			t.Fatal(err)
		}
		files["/"+h.Name] = h
		if "/"+h.Name == want {
			if content, err = io.ReadAll(tr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStaticBase(t *testing.T) {
	needApt(t)
	c := openTestCache(t)
	img, err := Static(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
	files, bundle := readImage(t, img, certificatesPath)
	if !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		t.Error("the bundle holds no certificate")
	}
	for name, mode := range map[string]int64{
		"/tmp": 0o1777, "/etc/passwd": 0o644, "/etc/group": 0o644, "/home/nonroot": 0o700, "/usr/share/zoneinfo/Europe/Paris": 0o644,
	} {
		if h := files[name]; h == nil || h.Mode != mode {
			t.Errorf("%s is %+v, want mode %o", name, h, mode)
		}
	}
	if h := files["/home/nonroot"]; h != nil && h.Uid != 65532 {
		t.Errorf("/home/nonroot belongs to %d", h.Uid)
	}
	size := int64(0)
	for _, h := range files {
		size += h.Size
	}
	if size > 4<<20 {
		t.Errorf("static base is %d bytes, want at most 4 MiB", size)
	}

	// A second cache, with the same packages, gives the same image.
	again := openTestCache(t)
	if err := os.CopyFS(again.path("debs"), os.DirFS(c.path("debs"))); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	img2, err := Static(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, img), digestOf(t, img2); a != b {
		t.Errorf("two caches made %v and %v", a, b)
	}
}
