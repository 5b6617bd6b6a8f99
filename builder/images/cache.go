// Package images makes container images without a container engine: small
// bases from Debian packages, Go commands compiled on this machine, and the
// push of both into a registry. The embedded cluster calls it for Knative's
// commands, the builder for Knit's own images and bases.
//
// Everything is reproducible: the same input gives the same digest, with no
// time, user or host name in it. The package never runs what it builds,
// but for Debian's Python, which compiles its own library, and never pulls from
// a foreign registry.
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// cacheMaxAge is how long an entry stays that nobody asked for. Every use
// renews it.
const cacheMaxAge = 30 * 24 * time.Hour

// Cache keeps compressed layers, Debian packages and linked programs on disk.
// Processes share it: an entry appears by rename only when it is complete,
// and work on one key is done by one process while others wait. It can be
// deleted whenever no process uses it; what is missing is made again.
//
//	blobs/sha256/<hex>   compressed layers, named by their digest
//	layers/<hex>.json    key → layer
//	debs/<algo>-<hex>    Debian packages, named by the sum that apt vouches for
//	npm/<hex>[.tgz]      npm packages, named by the sum in the source, and programs out of them
//	bin/<hex>/           linked programs of a module folder, so that go links only what changed
//	locks/  tmp/
type Cache struct{ dir string }

// OpenCache makes the folder when it is missing and drops what has not been
// used for 30 days.
func OpenCache(dir string) (*Cache, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open image cache %q: %w", dir, err)
	}
	c := &Cache{dir: abs}
	for _, sub := range []string{"blobs/sha256", "layers", "debs", "npm", "bin", "locks", "tmp"} {
		if err := os.MkdirAll(c.path(sub), 0o755); err != nil {
			return nil, fmt.Errorf("open image cache %q: %w; name a folder that can be written", dir, err)
		}
	}
	if err := c.prune(time.Now().Add(-cacheMaxAge)); err != nil {
		return nil, fmt.Errorf("clean image cache %q: %w", dir, err)
	}
	return c, nil
}

func (c *Cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// prune removes entries last used before the given time. A removed entry is
// only slower next time, so a race with another process does no harm.
func (c *Cache) prune(before time.Time) error {
	for _, sub := range []string{"blobs/sha256", "layers", "debs", "npm", "bin", "tmp"} {
		entries, err := os.ReadDir(c.path(sub))
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if info.ModTime().Before(before) {
				if err := os.RemoveAll(c.path(sub, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// touch marks an entry as used now.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// lock waits until no other process or goroutine works on the key.
func (c *Cache) lock(ctx context.Context, key string) (unlock func(), err error) {
	name := c.path("locks", hashStrings(key))
	if err := os.MkdirAll(c.path("locks"), 0o755); err != nil {
		return nil, fmt.Errorf("lock image cache: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock image cache: %w", err)
	}
	// flock has no deadline, so it is asked again until the context ends.
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that uses the image cache %s: %w", c.dir, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tempDir makes a folder inside the cache, so that a rename out of it never
// crosses file systems.
func (c *Cache) tempDir(prefix string) (string, error) {
	if err := os.MkdirAll(c.path("tmp"), 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(c.path("tmp"), prefix)
}

// layerRecord is what the cache knows of a stored layer.
type layerRecord struct {
	Digest    v1.Hash `json:"digest"`
	DiffID    v1.Hash `json:"diffID"`
	Size      int64   `json:"size"`
	MediaType string  `json:"mediaType"`
}

// lookup returns the layer stored under the key, or false when there is none
// or its blob is gone or cut short.
func (c *Cache) lookup(key string) (*storedLayer, bool) {
	path := c.path("layers", hashStrings(key)+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	var rec layerRecord
	if json.Unmarshal(data, &rec) != nil || rec.Digest.Algorithm != "sha256" {
		return nil, false
	}
	l := &storedLayer{record: rec, path: c.path("blobs", "sha256", rec.Digest.Hex)}
	if info, err := os.Stat(l.path); err != nil || info.Size() != rec.Size {
		return nil, false
	}
	if touch(path) != nil || touch(l.path) != nil {
		return nil, false
	}
	return l, true
}

// record stores what the key stands for.
func (c *Cache) record(key string, rec layerRecord) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(c.path("tmp"), "record-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err := tmp.Write(data); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), c.path("layers", hashStrings(key)+".json"))
}

// hashStrings is the hex SHA-256 of the parts, each ended by a zero byte so
// that no two lists of parts run together.
func hashStrings(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}
