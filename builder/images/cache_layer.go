package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression is how a layer is stored and sent.
type compression types.MediaType

const (
	// gzipped is understood by every engine; bases use it.
	gzipped = compression(types.OCILayer)
	// zstandard unpacks several times faster than gzip, which is most of the
	// time a node needs for a large Go program; containerd reads it since 1.5.
	zstandard = compression(types.OCILayerZStd)
)

// layer returns the layer stored under the key, or lets write fill a new one.
// The key must name everything that the content depends on.
func (c *Cache) layer(ctx context.Context, key string, comp compression, write func(*layerWriter) error) (v1.Layer, error) {
	if l, ok := c.get(key, comp); ok {
		return l, nil
	}
	full := string(comp) + " " + key
	unlock, err := c.lock(ctx, "layer "+full)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if l, ok := c.get(key, comp); ok {
		return l, nil
	}
	l, err := c.writeLayer(comp, write)
	if err != nil {
		return nil, err
	}
	if err := c.record(full, l.record); err != nil {
		return nil, fmt.Errorf("store layer in image cache: %w", err)
	}
	return partial.CompressedToLayer(l)
}

// get returns the layer stored under the key, if there is one.
func (c *Cache) get(key string, comp compression) (v1.Layer, bool) {
	l, ok := c.lookup(string(comp) + " " + key)
	if !ok {
		return nil, false
	}
	layer, err := partial.CompressedToLayer(l)
	return layer, err == nil
}

func (c *Cache) writeLayer(comp compression, write func(*layerWriter) error) (_ *storedLayer, err error) {
	dir, err := c.tempDir("layer-")
	if err != nil {
		return nil, fmt.Errorf("store layer in image cache: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f, err := os.Create(path.Join(dir, "blob"))
	if err != nil {
		return nil, fmt.Errorf("store layer in image cache: %w", err)
	}
	defer func() { _ = f.Close() }()

	digest, diffID, size := sha256.New(), sha256.New(), counter(0)
	z, err := compressor(comp, io.MultiWriter(f, digest, &size))
	if err != nil {
		return nil, err
	}
	lw := &layerWriter{tar: tar.NewWriter(io.MultiWriter(z, diffID)), seen: map[string]bool{}}
	if err := write(lw); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	for _, closer := range []io.Closer{lw.tar, z, f} {
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("store layer in image cache: %w; is the disk full?", err)
		}
	}
	l := &storedLayer{record: layerRecord{
		Digest:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(digest.Sum(nil))},
		DiffID:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(diffID.Sum(nil))},
		Size:      int64(size),
		MediaType: string(comp),
	}}
	l.path = c.path("blobs", "sha256", l.record.Digest.Hex)
	if err := os.Rename(f.Name(), l.path); err != nil {
		return nil, fmt.Errorf("store layer in image cache: %w", err)
	}
	return l, nil
}

// compressor uses one goroutine and a fixed level: the output must depend on
// the input alone, and layers are made in parallel anyway.
func compressor(comp compression, w io.Writer) (io.WriteCloser, error) {
	if comp == zstandard {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	}
	return gzip.NewWriterLevel(w, 6)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// storedLayer is a layer whose compressed bytes lie in the cache.
type storedLayer struct {
	record layerRecord
	path   string
}

func (l *storedLayer) Digest() (v1.Hash, error) { return l.record.Digest, nil }
func (l *storedLayer) DiffID() (v1.Hash, error) { return l.record.DiffID, nil }
func (l *storedLayer) Size() (int64, error)     { return l.record.Size, nil }
func (l *storedLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.record.MediaType), nil
}

func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("read layer from image cache: %w; was the cache deleted meanwhile? run the command again", err)
	}
	return f, nil
}

// layerWriter writes a tar stream that depends on names and contents only:
// no times, no user names, parents before children, each name once.
type layerWriter struct {
	tar  *tar.Writer
	seen map[string]bool
}

// add writes one entry; the header's times and owner names are dropped and
// missing parent folders are made (0755, root). A folder that was written
// before is left out; any other name written twice is an error.
func (w *layerWriter) add(hdr tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+hdr.Name), "/")
	if name == "" {
		return nil // the root folder belongs to the engine
	}
	dir := hdr.Typeflag == tar.TypeDir
	if w.seen[name] {
		if dir {
			return nil
		}
		return fmt.Errorf("image layer: /%s is written twice", name)
	}
	if parent := path.Dir(name); parent != "." && !w.seen[parent] {
		if err := w.dir(parent, 0o755); err != nil {
			return err
		}
	}
	w.seen[name] = true
	out := tar.Header{
		Typeflag: hdr.Typeflag, Name: name, Linkname: hdr.Linkname, Size: hdr.Size, Mode: hdr.Mode & 0o7777,
		Uid: hdr.Uid, Gid: hdr.Gid, ModTime: time.Unix(0, 0),
	}
	if dir {
		out.Name += "/"
	}
	if hdr.Typeflag == tar.TypeLink {
		out.Linkname = strings.TrimPrefix(path.Clean("/"+hdr.Linkname), "/")
	}
	if err := w.tar.WriteHeader(&out); err != nil {
		return fmt.Errorf("image layer: /%s: %w", name, err)
	}
	if hdr.Typeflag != tar.TypeReg || hdr.Size == 0 {
		return nil
	}
	if _, err := io.Copy(w.tar, content); err != nil {
		return fmt.Errorf("image layer: /%s: %w", name, err)
	}
	return nil
}

func (w *layerWriter) dir(name string, mode int64) error {
	return w.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

func (w *layerWriter) file(name string, mode int64, content string) error {
	return w.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, strings.NewReader(content))
}

func (w *layerWriter) symlink(name, target string) error {
	return w.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// diskFile copies a regular file from this machine into the layer.
func (w *layerWriter) diskFile(name string, mode int64, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", from)
	}
	return w.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}, f)
}
