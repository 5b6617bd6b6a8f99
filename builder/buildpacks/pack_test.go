package buildpacks_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	docker "github.com/docker/docker/client"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/functions/api/archive"
)

// testPack: the same source and the same builder give the same image digest,
// with pack and an engine as in the containers of a build pod.
func testPack(t *testing.T) {
	engine := startEngine(t)
	b := newBuilder(t, tiny(t))
	tinySource := t.TempDir()
	writeFile(t, filepath.Join(tinySource, "tiny.txt"), nil)
	writeFile(t, filepath.Join(tinySource, "deep", "er", "file"), []byte("x"))
	cases := map[string]struct {
		source string
		env    map[string]string
	}{
		"a Go function":                    {source: helloSample},
		"a Go function that keeps files":   {source: helloSample, env: map[string]string{"BP_KEEP_FILES": "*.yaml"}},
		"a language on a base of its own":  {source: tinySource},
		"a Node function":                  {source: nodeTemplates + "/http-ts", env: map[string]string{"KNIT_LANGUAGE": "node"}},
		"a Python function":                {source: pythonTemplates + "/event"},
		"a language that the Function has": {source: helloSample, env: map[string]string{"KNIT_LANGUAGE": "go"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pod := b.mustBuild(t, "function", c.source, c.env)
			want := digestOf(t, pod).String()
			for _, publish := range []bool{true, false} {
				begun := time.Now()
				built := b.pack(t, engine, c.source, c.env, publish)
				t.Logf("pack built %s in %s", built.Image, time.Since(begun).Round(time.Millisecond))
				if built.Digest != want {
					t.Errorf("published %t: pack made %s, the build pod %s", publish, built.Digest, want)
				}
				if publish && t.Failed() {
					t.Log(difference(t, pod, b.pull(t, built.Image)))
				}
			}
		})
	}
	t.Run("the engine has the image", func(t *testing.T) {
		img := b.mustBuild(t, "function", helloSample, nil)
		want, err := img.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		built := b.pack(t, engine, helloSample, nil, false)
		client, err := docker.NewClientWithOpts(docker.WithHost(engine.Host), docker.WithAPIVersionNegotiation())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		if got, err := client.ImageInspect(t.Context(), built.Image); err != nil || got.ID != want.String() {
			t.Errorf("the engine has %s (%v), the registry %s", got.ID, err, want)
		}
	})
	t.Run("what fails is in the log", func(t *testing.T) {
		var log bytes.Buffer
		source := t.TempDir()
		writeFile(t, filepath.Join(source, "f.go"), []byte("package function\n\nfunc Handle() {}\n"))
		if _, err := b.packTo(t, engine, source, nil, false, &log); err == nil || !strings.Contains(log.String(), "f.go:3:1") {
			t.Errorf("%v:\n%s", err, log.String())
		}
	})
}

func (b builderFixture) pack(t *testing.T, engine buildpacks.Engine, source string, env map[string]string, publish bool) buildpacks.BuildResult {
	t.Helper()
	var log bytes.Buffer
	built, err := b.packTo(t, engine, source, env, publish, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return built
}

func (b builderFixture) packTo(t *testing.T, engine buildpacks.Engine, source string, env map[string]string, publish bool, log *bytes.Buffer) (buildpacks.BuildResult, error) {
	t.Helper()
	var packed bytes.Buffer
	if _, err := archive.Pack(source, &packed); err != nil {
		t.Fatal(err)
	}
	image := "knit.example/demo/packed"
	if publish {
		image = tenant + "/packed"
	}
	return buildpacks.Build(t.Context(), buildpacks.BuildOptions{
		Engine: engine, Source: &packed, Builder: b.ref.String(), Registry: b.registry.Registry, CAFile: b.registry.CAFile,
		Image: image, Publish: publish, Env: env, Log: log,
	})
}
