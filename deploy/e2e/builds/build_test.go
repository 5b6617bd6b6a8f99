//go:build e2e

package builds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// order is a Build to make. The platform's builder builds a Go function, the
// hostile one attacks.
type order struct {
	namespace, function string
	hostile             bool
	builder             string // another one than these two
	env                 map[string]string
	files               map[string]string // of the source; goFunction when nil
	deadline            time.Duration     // 5 minutes when 0
}

// goFunction is a small function; the text makes it another one.
func goFunction(text string) map[string]string {
	return map[string]string{
		"go.mod":    "module example.com/function\n\ngo 1.24\n",
		"handle.go": fmt.Sprintf("package function\n\nimport \"net/http\"\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {\n\tw.Write([]byte(%q))\n}\n", text),
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// start pushes the source and creates the Build.
func (s *stand) start(t *testing.T, o order) *v1alpha1.Build {
	t.Helper()
	if o.files == nil {
		o.files = goFunction("hello")
	}
	if o.deadline == 0 {
		o.deadline = 5 * time.Minute
	}
	var packed bytes.Buffer
	info, err := archive.Pack(writeFiles(t, o.files), &packed)
	if err != nil {
		t.Fatal(err)
	}
	s.push(t, o.namespace, packed.Bytes(), info.Digest)
	seconds := int64(o.deadline.Seconds())
	b := &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, GenerateName: o.function + "-"},
		Spec: v1alpha1.BuildSpec{
			Function: o.function, DeadlineSeconds: &seconds,
			Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: info.Digest}},
		},
	}
	if o.hostile {
		b.Spec.BuilderImage = s.hostile
	}
	if o.builder != "" {
		b.Spec.BuilderImage = o.builder
	}
	for _, key := range slices.Sorted(maps.Keys(o.env)) {
		b.Spec.Env = append(b.Spec.Env, v1alpha1.BuildEnv{Name: key, Value: o.env[key]})
	}
	if err := s.api.Create(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// ended waits for the end of a Build.
func (s *stand) ended(t *testing.T, b *v1alpha1.Build) *v1alpha1.Build {
	t.Helper()
	return s.endedWithin(t, b, 4*time.Minute)
}

func (s *stand) endedWithin(t *testing.T, b *v1alpha1.Build, patience time.Duration) *v1alpha1.Build {
	t.Helper()
	var now v1alpha1.Build
	s.Within(t, patience, fmt.Sprintf("end of Build %s/%s", b.Namespace, b.Name), func(ctx context.Context) (bool, error) {
		// The API itself may be away for a moment.
		if err := s.api.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil {
			return false, nil
		}
		ended, _ := now.Done()
		return ended, nil
	})
	return &now
}

func condition(b *v1alpha1.Build) metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// mustSucceed waits for a good end and returns the image's digest.
func (s *stand) mustSucceed(t *testing.T, b *v1alpha1.Build) string {
	t.Helper()
	b = s.ended(t, b)
	if _, good := b.Done(); !good {
		t.Fatalf("Build %s/%s: %s: %s", b.Namespace, b.Name, condition(b).Reason, condition(b).Message)
	}
	_, digest, _ := strings.Cut(b.Status.Image, "@")
	return digest
}

// mustFail waits for a failure with a reason and words of its message.
func (s *stand) mustFail(t *testing.T, b *v1alpha1.Build, reason string, words ...string) *v1alpha1.Build {
	t.Helper()
	b = s.ended(t, b)
	c := condition(b)
	if c.Status != metav1.ConditionFalse || c.Reason != reason {
		t.Errorf("Build %s/%s ended with %s %s, want %s: %s", b.Namespace, b.Name, c.Status, c.Reason, reason, c.Message)
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			t.Errorf("the message of %s does not say %q: %s", reason, word, c.Message)
		}
	}
	return b
}

// pod is the one that works on a Build, or nil.
func (s *stand) pod(ctx context.Context, b *v1alpha1.Build) *corev1.Pod {
	var now v1alpha1.Build
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil || now.Status.PodName == "" {
		return nil
	}
	pod, err := s.Kube.CoreV1().Pods(v1alpha1.NamespaceBuilds).Get(ctx, now.Status.PodName, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return pod
}

// log is a phase's log as its tenant gets it.
func (s *stand) log(t *testing.T, b *v1alpha1.Build, phase v1alpha1.PhaseName) string {
	t.Helper()
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/builds/%s/log", b.Namespace, b.Name)
	var log []byte
	s.Eventually(t, "log of Build "+b.Name, func(ctx context.Context) (bool, error) {
		var err error
		log, err = s.Kube.Discovery().RESTClient().Get().AbsPath(path).Param("phase", string(phase)).DoRaw(ctx)
		return err == nil, nil
	})
	return string(log)
}

// deleted removes a Build and waits until nothing of it is left.
func (s *stand) deleted(t *testing.T, b *v1alpha1.Build) {
	t.Helper()
	if err := client.IgnoreNotFound(s.api.Delete(t.Context(), b)); err != nil {
		t.Fatal(err)
	}
	s.Eventually(t, "end of all that Build "+b.Name+" made", func(ctx context.Context) (bool, error) {
		if err := s.api.Get(ctx, client.ObjectKeyFromObject(b), &v1alpha1.Build{}); !apierrors.IsNotFound(err) {
			return false, nil
		}
		pods, err := s.Kube.CoreV1().Pods(v1alpha1.NamespaceBuilds).List(ctx, metav1.ListOptions{
			LabelSelector: v1alpha1.LabelBuildNamespace + "=" + b.Namespace + "," + v1alpha1.LabelFunction + "=" + b.Spec.Function,
		})
		return err == nil && len(pods.Items) == 0, nil
	})
}
