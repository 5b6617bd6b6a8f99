//go:build e2e

package builds

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/knit-dev/knit/builder/images"
)

const hostileOrder = "[[order]]\n  [[order.group]]\n    id = \"evil/hostile\"\n    version = \"1.0.0\"\n"

const hostileDescriptor = "api = \"0.10\"\n[buildpack]\n  id = \"evil/hostile\"\n  version = \"1.0.0\"\n[[targets]]\n  os = \"linux\"\n"

// hostileEnv is what a builder image would set if its words had weight: where
// logins and certificates are, a proxy, a library for every program.
var hostileEnv = []string{
	"LD_PRELOAD=/evil.so", "DOCKER_CONFIG=/cnb/evil", "CNB_REGISTRY_AUTH={\"evil.example\":\"Basic eDp5\"}", "CNB_PLATFORM_API=0.3",
	"HTTPS_PROXY=http://203.0.113.1:3128", "SSL_CERT_FILE=/cnb/evil/ca.crt",
	"CNB_INSECURE_REGISTRIES=198.18.0.1:5000", "CNB_ANALYZED_PATH=/layers/analyzed.toml", "CNB_RUN_IMAGE=knit/controlplane", "CNB_REPORT_PATH=/layers/report.toml",
}

// makeHostileBuilder puts the hostile program over the platform's builder: as
// the only buildpack, and in place of those phases that would hold the login.
func (s *stand) makeHostileBuilder(ctx context.Context) (string, error) {
	scratch, err := os.MkdirTemp("", "knit-hostile-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	program := filepath.Join(scratch, "hostile")
	if err := images.Program(ctx, "../../..", "github.com/knit-dev/knit/deploy/e2e/builds/hostile", program); err != nil {
		return "", err
	}
	layer, err := hostileLayer(program)
	if err != nil {
		return "", err
	}
	return s.pushBuilder(ctx, "hostile", func(config *v1.Config) {
		config.User, config.Entrypoint, config.Env = "root", []string{"/cnb/lifecycle/exporter"}, append(config.Env, hostileEnv...)
		config.Labels["evil"] = strings.Repeat("x", 1<<20)
		config.Labels["io.buildpacks.lifecycle.metadata"] = "{"
	}, layer)
}

// pushBuilder pushes a changed copy of the platform's builder to e2e/builder-<name>.
func (s *stand) pushBuilder(ctx context.Context, name string, change func(*v1.Config), layers ...v1.Layer) (string, error) {
	base, done, err := s.pull(ctx, s.settings["builder-image"])
	if err != nil {
		return "", err
	}
	defer done()
	img, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return "", err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	config := *file.Config.DeepCopy()
	change(&config)
	if img, err = mutate.Config(img, config); err != nil {
		return "", err
	}
	pushed, err := s.registry.Push(ctx, "e2e/builder-"+name, img, "latest")
	return pushed.String(), err
}

func hostileLayer(program string) (v1.Layer, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	const buildpack = "cnb/buildpacks/evil_hostile/1.0.0/"
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	add := func(header tar.Header, content []byte) {
		header.Size = int64(len(content))
		if err == nil {
			err = w.WriteHeader(&header)
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	add(tar.Header{Name: "cnb/order.toml", Mode: 0o644}, []byte(hostileOrder))
	add(tar.Header{Name: buildpack + "buildpack.toml", Mode: 0o644}, []byte(hostileDescriptor))
	add(tar.Header{Name: buildpack + "bin/build", Mode: 0o755}, content)
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: buildpack + "bin/detect", Linkname: "build", Mode: 0o777}, nil)
	for _, phase := range []string{"analyzer", "restorer", "exporter", "creator"} {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "cnb/lifecycle/" + phase, Linkname: "/" + buildpack + "bin/build", Mode: 0o777}, nil)
	}
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
}

// pull reads an image; the connection must stay until its layers are read.
func (s *stand) pull(ctx context.Context, reference string) (img v1.Image, done func(), err error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, nil, err
	}
	options, done := s.registry.Remote(ctx)
	img, err = remote.Image(ref, options...)
	if err != nil {
		done()
		return nil, nil, err
	}
	return img, done, nil
}
