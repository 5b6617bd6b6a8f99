package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func openTestCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hello(w *layerWriter) error {
	if err := w.file("/etc/hello", 0o644, "hello"); err != nil {
		return err
	}
	return w.symlink("/etc/link", "hello")
}

func digestOf(t *testing.T, x interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// checkLayer compares what a layer says of itself with its bytes; the
// validator of go-containerregistry reads gzip only.
func checkLayer(t *testing.T, l v1.Layer) {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(readAll(t, l.Compressed)))
	if err != nil {
		t.Fatal(err)
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(readAll(t, l.Uncompressed)))
	if err != nil {
		t.Fatal(err)
	}
	saidDiffID, err := l.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	saidSize, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	if digest != digestOf(t, l) || diffID != saidDiffID || size != saidSize {
		t.Errorf("layer says %v %v %d, is %v %v %d", digestOf(t, l), saidDiffID, saidSize, digest, diffID, size)
	}
}

func checkImage(t *testing.T, img v1.Image) {
	t.Helper()
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		checkLayer(t, l)
	}
}

func TestLayerIsTheSameInEveryCacheAndValid(t *testing.T) {
	for name, comp := range map[string]compression{"gzip": gzipped, "zstd": zstandard} {
		t.Run(name, func(t *testing.T) {
			var digests []v1.Hash
			for range 2 {
				l, err := openTestCache(t).layer(t.Context(), "k", comp, hello)
				if err != nil {
					t.Fatal(err)
				}
				checkLayer(t, l)
				digests = append(digests, digestOf(t, l))
				time.Sleep(5 * time.Millisecond) // a clock in the content would show
			}
			if digests[0] != digests[1] {
				t.Errorf("two caches made %v and %v", digests[0], digests[1])
			}
		})
	}
}

func TestLayerIsWrittenOnceByManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var writes atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		c, err := OpenCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			_, err := c.layer(context.Background(), "k", zstandard, func(w *layerWriter) error {
				writes.Add(1)
				time.Sleep(20 * time.Millisecond)
				return hello(w)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := writes.Load(); n != 1 {
		t.Errorf("layer was written %d times, want 1", n)
	}
}

func TestLayerIsMadeAgainWhenItsBlobIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"deleted":   os.Remove,
		"cut short": func(p string) error { return os.Truncate(p, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			c := openTestCache(t)
			l, err := c.layer(t.Context(), "k", gzipped, hello)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(c.path("blobs", "sha256", digestOf(t, l).Hex)); err != nil {
				t.Fatal(err)
			}
			if l, err = c.layer(t.Context(), "k", gzipped, hello); err != nil {
				t.Fatal(err)
			}
			checkLayer(t, l)
		})
	}
}

func TestFailedLayerLeavesNothing(t *testing.T) {
	c := openTestCache(t)
	broken := errors.New("broken")
	_, err := c.layer(t.Context(), "k", gzipped, func(*layerWriter) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	for _, sub := range []string{"tmp", "layers", "blobs/sha256"} {
		entries, err := os.ReadDir(c.path(sub))
		if err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v (%v), want nothing", sub, entries, err)
		}
	}
}

func TestCacheMayBeDeletedBetweenCalls(t *testing.T) {
	c := openTestCache(t)
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if c, err := OpenCache(c.dir); err != nil {
		t.Fatal(err)
	} else if _, err := c.layer(t.Context(), "k", gzipped, hello); err != nil {
		t.Fatal(err)
	}
}

func TestPruneDropsOnlyWhatNobodyUsed(t *testing.T) {
	c := openTestCache(t)
	old := time.Now().Add(-2 * cacheMaxAge)
	for _, name := range []string{"tmp/crashed", "debs/sha256-0"} {
		if err := os.WriteFile(c.path(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(c.path(name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.layer(t.Context(), "k", gzipped, hello); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(c.dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(c.path("*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range left {
		if base := filepath.Base(p); base == "crashed" || base == "sha256-0" {
			t.Errorf("%s was kept", p)
		}
	}
	if _, ok := c.get("k", gzipped); !ok {
		t.Error("a layer in use was dropped")
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	c := openTestCache(t)
	unlock, err := c.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.lock(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want deadline exceeded", err)
	}
}

func TestLayerRefusesOneNameTwice(t *testing.T) {
	_, err := openTestCache(t).layer(t.Context(), "k", gzipped, func(w *layerWriter) error {
		return errors.Join(w.file("a", 0o644, "1"), w.file("/x/../a", 0o644, "2"))
	})
	if err == nil {
		t.Error("no error")
	}
}

func readAll(t *testing.T, open func() (io.ReadCloser, error)) []byte {
	t.Helper()
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
