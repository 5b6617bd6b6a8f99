package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

var buildResource = schema.GroupVersionResource{Group: "knit.dev", Version: "v1alpha1", Resource: "builds"}

// buildNamespace is where the Builds of the benchmark live.
const buildNamespace = "default"

// buildTimeout is the longest that one build may take here.
const buildTimeout = 10 * time.Minute

// builds makes Builds and times them.
type builds struct {
	bench   *bench
	kube    *kubernetes.Clientset
	objects *dynamic.DynamicClient
	started int64 // in Unix seconds, and the number of
	number  int   // the last Build, for its name
}

// timed is one build as a client saw it.
type timed struct {
	image  string // by digest
	begin  time.Time
	total  time.Duration   // Build created → the image's digest is in its status
	stages []time.Duration // of buildStages, when the build ran alone
}

// knit installs Knit into the benchmark's cluster, once.
func (b *bench) knit(ctx context.Context) (*builds, error) {
	if !b.installed {
		if err := b.command(ctx, "install", "--from", "."); err != nil {
			return nil, err
		}
		b.installed = true
	}
	kube, objects, err := b.clients()
	if err != nil {
		return nil, err
	}
	return &builds{bench: b, kube: kube, objects: objects, started: time.Now().Unix()}, nil
}

// command runs knit against the benchmark's cluster.
func (b *bench) command(ctx context.Context, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "knit"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(b.state, "kubeconfig"))
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("knit %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return nil
}

// push stores a folder as the source of a function and returns its digest.
func (s *builds) push(ctx context.Context, dir string) (string, error) {
	var packed bytes.Buffer
	info, err := archive.Pack(dir, &packed)
	if err != nil {
		return "", err
	}
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/sources/%s", buildNamespace, info.Digest)
	if err := s.kube.RESTClient().Put().AbsPath(path).Body(packed.Bytes()).Do(ctx).Error(); err != nil {
		return "", fmt.Errorf("push %s: %w", dir, err)
	}
	return info.Digest, nil
}

// build creates a Build of a folder and waits for its image. The push is not
// part of the time.
func (s *builds) build(ctx context.Context, function string, p project) (timed, error) {
	digest, err := s.push(ctx, p.dir)
	if err != nil {
		return timed{}, err
	}
	s.number++
	listening, stop := context.WithCancel(ctx)
	defer stop()
	var trace buildTrace
	if err := trace.listen(listening, s.bench); err != nil {
		return timed{}, err
	}
	took, err := s.run(ctx, fmt.Sprintf("bench-%d-%d", s.started, s.number), function, p, digest)
	if err != nil {
		return timed{}, err
	}
	took.stages, err = trace.stages(took.begin, took.begin.Add(took.total))
	return took, err
}

func (s *builds) run(ctx context.Context, name, function string, p project, digest string) (timed, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	client := s.objects.Resource(buildResource).Namespace(buildNamespace)
	w, err := client.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return timed{}, err
	}
	defer w.Stop()
	begin := time.Now()
	if _, err := client.Create(ctx, makeBuild(name, function, p, digest), metav1.CreateOptions{}); err != nil {
		return timed{}, err
	}
	defer func() {
		_ = client.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{PropagationPolicy: &background})
	}()
	for event := range w.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		var seen v1alpha1.Build
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &seen); err != nil {
			return timed{}, err
		}
		for _, c := range seen.Status.Conditions {
			if c.Type != v1alpha1.ConditionSucceeded || c.Status == metav1.ConditionUnknown {
				continue
			}
			if c.Status == metav1.ConditionFalse {
				return timed{}, fmt.Errorf("build %s failed: %s: %s", name, c.Reason, c.Message)
			}
			return timed{image: seen.Status.Image, begin: begin, total: time.Since(begin)}, nil
		}
	}
	return timed{}, fmt.Errorf("build %s did not end within %s", name, buildTimeout)
}

func makeBuild(name, function string, p project, digest string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "knit.dev/v1alpha1", "kind": "Build", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"function": function, "language": p.language,
			"source": map[string]any{"archive": map[string]any{"digest": digest}},
		},
	}}
}
