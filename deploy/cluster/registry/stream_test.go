package registry

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// noise is a layer of pseudo-random bytes that exist only while they are read.
type noise struct {
	seed byte
	size int64
	hash v1.Hash
}

func newNoise(t *testing.T, seed byte, size int64) noise {
	t.Helper()
	n := noise{seed: seed, size: size}
	sum := sha256.New()
	r, _ := n.Compressed()
	if _, err := io.Copy(sum, r); err != nil {
		t.Fatal(err)
	}
	n.hash = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return n
}

func (n noise) Digest() (v1.Hash, error)             { return n.hash, nil }
func (n noise) DiffID() (v1.Hash, error)             { return n.hash, nil }
func (n noise) Size() (int64, error)                 { return n.size, nil }
func (n noise) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (n noise) Uncompressed() (io.ReadCloser, error) { return n.Compressed() }
func (n noise) Compressed() (io.ReadCloser, error) {
	block, err := aes.NewCipher(append(make([]byte, 15), n.seed))
	if err != nil {
		return nil, err
	}
	stream := cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeroes{}}
	return io.NopCloser(io.LimitReader(stream, n.size)), nil
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The client runs in this process too, so the bound holds for both.
func TestALargeLayerIsNeverInMemory(t *testing.T) {
	const size, bound = 300 << 20, 32 << 20
	h := serve(t, t.TempDir())
	layer := newNoise(t, 1, size)
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory()
	before := heap()
	peak, stop := make(chan uint64), make(chan struct{})
	go func() {
		var most uint64
		for {
			most = max(most, heap())
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	h.push(t, "large:v1", img)
	pulled, err := h.pullLayer(t, "large:v1")
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	if grown := int64(<-peak) - int64(before); grown > bound {
		t.Errorf("the heap grew by %d MiB for a layer of %d MiB", grown>>20, size>>20)
	} else {
		t.Logf("the heap grew by %d KiB for a layer of %d MiB", grown>>10, size>>20)
	}
	if pulled != layer.hash.Hex {
		t.Errorf("pulled %s, pushed %s", pulled, layer.hash.Hex)
	}
}

func (h *harness) pullLayer(t *testing.T, ref string) (string, error) {
	t.Helper()
	img, err := remote.Image(h.ref(t, ref), h.options(t)...)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	r, err := layers[0].Compressed()
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, r)
	return hex.EncodeToString(sum.Sum(nil)), err
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
