package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/api/archive"
)

var listOptions = metav1.ListOptions{}

// measurePack builds the same changes in turns in the cluster and with pack's
// library and an engine, with the same builder and into the same registry.
func (b *bench) measurePack(ctx context.Context) ([]figure, error) {
	s, err := b.knit(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	registry, builder, err := s.platform(ctx, dir)
	if err != nil {
		return nil, err
	}
	engine, stop, err := startEngine(ctx, filepath.Join(dir, "engine"))
	if err != nil {
		return nil, err
	}
	defer stop()
	p, err := newProject(filepath.Join(dir, "source"), "go")
	if err != nil {
		return nil, err
	}
	var ours, packs samples
	for n := range b.samples + 1 {
		if n > 0 {
			if err := p.change(n-1, n); err != nil {
				return nil, err
			}
		}
		took, err := s.build(ctx, "bench-pack", p)
		if err != nil {
			return nil, err
		}
		built, packTook, err := packBuild(ctx, engine, registry, builder, filepath.Join(dir, "ca.crt"), p)
		if err != nil {
			return nil, err
		}
		if want := took.image[len(took.image)-len(built.Digest):]; built.Digest != want {
			return nil, fmt.Errorf("pack made %s of what the cluster made %s", built.Digest, want)
		}
		if n > 0 {
			ours.add(took.total)
			packs.add(packTook)
		}
	}
	return []figure{
		{"one line of Go changed, in the cluster, in turns with the row below", "not slower", ours},
		{"the same source and builder with pack and Docker, same image digest", "", packs},
	}, nil
}

func packBuild(ctx context.Context, engine buildpacks.Engine, registry images.Registry, builder, ca string, p project) (buildpacks.BuildResult, time.Duration, error) {
	var packed, log bytes.Buffer
	if _, err := archive.Pack(p.dir, &packed); err != nil {
		return buildpacks.BuildResult{}, 0, err
	}
	begin := time.Now()
	built, err := buildpacks.Build(ctx, buildpacks.BuildOptions{
		Engine: engine, Source: &packed, Builder: builder, Registry: registry, CAFile: ca,
		Image: "bench/packed", Publish: true, Env: map[string]string{"KNIT_LANGUAGE": p.language}, Log: &log,
	})
	if err != nil {
		return built, 0, fmt.Errorf("%w\n%s", err, log.Bytes())
	}
	return built, time.Since(begin), nil
}

// platform reads registry and builder of the installation, and leaves the
// registry's CA in dir.
func (s *builds) platform(ctx context.Context, dir string) (images.Registry, string, error) {
	settings, err1 := s.kube.CoreV1().ConfigMaps("knit-system").Get(ctx, "knit-platform", metav1.GetOptions{})
	login, err2 := s.kube.CoreV1().Secrets("knit-builds").Get(ctx, "registry-credentials", metav1.GetOptions{})
	authorities, err3 := s.kube.CoreV1().ConfigMaps("knit-builds").Get(ctx, "registry-ca", metav1.GetOptions{})
	if err := errors.Join(err1, err2, err3); err != nil {
		return images.Registry{}, "", err
	}
	registry := images.Registry{Host: settings.Data["registry"], Prefix: settings.Data["registry-prefix"], CA: x509.NewCertPool()}
	var logins struct {
		Auths map[string]struct{ Auth []byte }
	}
	if err := json.Unmarshal(login.Data[".dockerconfigjson"], &logins); err != nil {
		return images.Registry{}, "", err
	}
	user, password, _ := bytes.Cut(logins.Auths[registry.Host].Auth, []byte(":"))
	registry.Username, registry.Password = string(user), string(password)
	var pem []byte
	for _, content := range authorities.Data {
		pem = append(pem, content...)
	}
	if !registry.CA.AppendCertsFromPEM(pem) {
		return images.Registry{}, "", errors.New("ConfigMap knit-builds/registry-ca holds no certificate")
	}
	return registry, settings.Data["builder-image"], os.WriteFile(filepath.Join(dir, "ca.crt"), pem, 0o644)
}

// startEngine runs dockerd without a bridge and without firewall rules, in a
// mount namespace of its own: builds use the machine's network.
func startEngine(ctx context.Context, dir string) (buildpacks.Engine, func(), error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return buildpacks.Engine{}, nil, err
	}
	socket := filepath.Join(dir, "docker.sock")
	var log bytes.Buffer
	daemon := exec.Command("dockerd", "-H", "unix://"+socket, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false")
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Unshareflags: syscall.CLONE_NEWNS}
	if err := daemon.Start(); err != nil {
		return buildpacks.Engine{}, nil, fmt.Errorf("start dockerd (Debian's package docker.io): %w", err)
	}
	stop := func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		engine, err := buildpacks.FindEngine(ctx, "unix://"+socket)
		if err == nil {
			return engine, stop, nil
		}
		if waited := sleep(ctx, 50*time.Millisecond); waited != nil {
			stop()
			return buildpacks.Engine{}, nil, fmt.Errorf("dockerd does not answer: %w\n%s", err, log.Bytes())
		}
	}
}

// measureSizes builds one function in each language that the builder knows and
// adds up what its image has unpacked.
func (b *bench) measureSizes(ctx context.Context) ([]figure, error) {
	s, err := b.knit(ctx)
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "knit-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(root) }()
	registry, _, err := s.platform(ctx, root)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, l := range []struct{ language, aim string }{{"go", "≤ 12 MB"}, {"python", "≤ 60 MB"}, {"node", "≤ 130 MB"}} {
		p, err := newProject(filepath.Join(root, l.language), l.language)
		if err != nil {
			return nil, err
		}
		took, err := s.build(ctx, "bench-size-"+l.language, p)
		if err != nil {
			return nil, err
		}
		size, err := unpacked(ctx, registry, took.image)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{"image of a " + l.language + " function, unpacked", l.aim, samples{values: []float64{size}, unit: "MiB"}})
	}
	return figures, nil
}

// unpacked is the size of an image's files, in MiB.
func unpacked(ctx context.Context, registry images.Registry, image string) (float64, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return 0, err
	}
	options, done := registry.Remote(ctx)
	defer done()
	img, err := remote.Image(ref, options...)
	if err != nil {
		return 0, err
	}
	flat := mutate.Extract(img)
	defer func() { _ = flat.Close() }()
	size, err := fileBytes(flat)
	return size / (1 << 20), err
}
