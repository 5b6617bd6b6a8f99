package buildpacks

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/imgutil"
	"github.com/buildpacks/imgutil/local"
	"github.com/buildpacks/pack/pkg/image"
	cerrdefs "github.com/containerd/errdefs"
	docker "github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/knit-dev/knit/builder/images"
)

// engineFetcher gives pack its images: from the registry, and what containers
// are made of through this process into the engine, which needs neither the
// registry's login nor its CA for that.
type engineFetcher struct {
	*fetcher
	engine *docker.Client
	caFile string // PEM; empty when the system's certificates are enough
}

// Fetch returns an image of the registry, or of the engine after it was loaded there.
func (f *engineFetcher) Fetch(ctx context.Context, reference string, options image.FetchOptions) (imgutil.Image, error) {
	if !options.Daemon {
		return f.fetcher.Fetch(ctx, reference, options)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, f.options...)
	if err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	if img, err = withCertificates(img, f.caFile); err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	tag, err := engineTag(img)
	if err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	if _, err := f.engine.ImageInspect(ctx, tag.Name()); cerrdefs.IsNotFound(err) {
		err = f.load(ctx, tag, img)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("look for image %s in the engine: %w", tag, err)
	}
	return local.NewImage(tag.Name(), f.engine, local.FromBaseImage(tag.Name()))
}

// lifecycle tells whether pack must run the phases in containers of their own,
// and of what image. One container for all of them is faster, but in it the
// lifecycle refuses a language that an extension puts on another run image.
func (f *engineFetcher) lifecycle(ctx context.Context, builder, language string) (apart bool, lifecycleImage string, err error) {
	img, err := f.fetcher.Fetch(ctx, builder, image.FetchOptions{})
	if err != nil {
		return false, "", err
	}
	lifecycleImage, err1 := img.Label(lifecycleImageLabel)
	order, err2 := img.Label("io.buildpacks.buildpack.order-extensions")
	if err := errors.Join(err1, err2); err != nil {
		return false, "", fmt.Errorf("read builder %s: %w", builder, err)
	}
	if language == "" {
		return strings.Contains(order, `"id"`), lifecycleImage, nil
	}
	return strings.Contains(order, `"knit/`+runBasePrefix+language+`"`), lifecycleImage, nil
}

// certificatePath is where Go programs in Knit's images look for more
// certificates besides the bundle.
const certificatePath = "etc/ssl/certs/knit-registry.pem"

// withCertificates adds the registry's CA, which the phases in the image need
// to trust it.
func withCertificates(img v1.Image, caFile string) (v1.Image, error) {
	if caFile == "" {
		return img, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var packed bytes.Buffer
		w := tar.NewWriter(&packed)
		err1 := w.WriteHeader(&tar.Header{Name: certificatePath, Mode: 0o644, Size: int64(len(pem))})
		_, err2 := w.Write(pem)
		return io.NopCloser(&packed), errors.Join(err1, err2, w.Close())
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layer)
}

// engineTag names an image in the engine by its digest: engines take no
// digests for images that they did not pull.
func engineTag(img v1.Image) (name.Tag, error) {
	digest, err := img.Digest()
	if err != nil {
		return name.Tag{}, err
	}
	return name.NewTag("knit.local/builder:" + digest.Hex[:32])
}

// load sends an image into the engine.
func (f *engineFetcher) load(ctx context.Context, tag name.Tag, img v1.Image) error {
	packed, to := io.Pipe()
	go func() { _ = to.CloseWithError(tarball.Write(tag, img, to)) }()
	defer func() { _ = packed.Close() }()
	answer, err := f.engine.ImageLoad(ctx, packed, docker.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load image %s into the engine: %w", tag, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := jsonmessage.DisplayJSONMessagesStream(answer.Body, io.Discard, 0, false, nil); err != nil {
		return fmt.Errorf("load image %s into the engine: %w", tag, err)
	}
	return nil
}

// goal is where pack publishes the image.
type goal struct {
	registry images.Registry
	image    name.Tag
	close    func()
}

func (o BuildOptions) goal(scratch string) (goal, error) {
	if !o.Publish {
		return loopbackRegistry(filepath.Join(scratch, "registry"))
	}
	repository, image1, tagged := o.Image, tag, false
	if i := strings.LastIndex(o.Image, ":"); i > strings.LastIndex(o.Image, "/") {
		repository, image1, tagged = o.Image[:i], o.Image[i+1:], true
	}
	if strings.Contains(o.Image, "@") || tagged && image1 == "" {
		return goal{}, fmt.Errorf("the image %q is not repository[:tag]", o.Image)
	}
	full, err := o.Registry.Repository(repository)
	if err != nil {
		return goal{}, err
	}
	return goal{registry: o.Registry, image: full.Tag(image1), close: func() {}}, nil
}

// loopbackRegistry keeps one image for the time of a build. Its name cannot be
// guessed, so that nobody else on the machine can put another image in its place.
func loopbackRegistry(dir string) (goal, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return goal{}, err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return goal{}, err
	}
	repository := "build/" + hex.EncodeToString(secret)
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return goal{}, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" && !strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/") {
			http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
			return
		}
		store.ServeHTTP(w, r)
	})}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			_ = listener.Close()
		}
	}()
	r := images.Registry{Host: listener.Addr().String()}
	full, err := r.Repository(repository)
	if err != nil {
		_ = server.Close()
		return goal{}, err
	}
	return goal{registry: r, image: full.Tag(tag), close: func() { _ = server.Close() }}, nil
}
