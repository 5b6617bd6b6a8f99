//go:build e2e

package functions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// stage is a namespace of its own and what looks into it.
type stage struct {
	t         *testing.T
	api       client.WithWatch
	kube      kubernetes.Interface
	namespace string
}

func newStage(t *testing.T, labels ...string) *stage {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, servingv1.AddToScheme, eventingv1.AddToScheme, messagingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "life-", Labels: map[string]string{}}}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		ns.Labels[key] = value
	}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.Background(), ns) })
	return &stage{t: t, api: api, kube: kubernetes.NewForConfigOrDie(config), namespace: ns.Name}
}

// probe is the image of deploy/e2e/probe, by digest.
var probe = sync.OnceValues(func() (string, error) {
	const name = "knit/e2e-probe"
	cmd := exec.Command(filepath.Join(os.Getenv("KNIT_BIN"), "knit-cluster"), "images", "--state-dir", os.Getenv("KNIT_STATE_DIR"), "--dir", "../../..",
		name+"=github.com/knit-dev/knit/deploy/e2e/probe")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the probe's image: %w", err)
	}
	var refs map[string]string
	if err := json.Unmarshal(out, &refs); err != nil {
		return "", err
	}
	return refs[name], nil
})

func (s *stage) probe() string {
	s.t.Helper()
	image, err := probe()
	if err != nil {
		s.t.Fatal(err)
	}
	return image
}

func (s *stage) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

// function is one of the probe that does what the words say.
func (s *stage) function(name string, words ...string) *v1alpha1.Function {
	fn := &v1alpha1.Function{ObjectMeta: s.named(name), Spec: v1alpha1.FunctionSpec{Source: v1alpha1.Source{Image: s.probe()}}}
	if len(words) > 0 {
		fn.Spec.Env = []corev1.EnvVar{{Name: "PROBE", Value: strings.Join(words, " ")}}
	}
	return fn
}

func (s *stage) create(objects ...client.Object) {
	s.t.Helper()
	for _, o := range objects {
		o.SetNamespace(s.namespace)
		if err := s.api.Create(s.t.Context(), o); err != nil {
			s.t.Fatal(err)
		}
	}
}

// change changes a stored Function as a person would, whoever writes beside.
func (s *stage) change(name string, edit func(*v1alpha1.Function)) {
	s.t.Helper()
	s.within(time.Minute, "change Function "+name, func() (bool, string) {
		fn := s.read(name)
		edit(fn)
		err := s.api.Update(s.t.Context(), fn)
		return err == nil, fmt.Sprint(err)
	})
}

func (s *stage) read(name string) *v1alpha1.Function {
	s.t.Helper()
	var fn v1alpha1.Function
	if err := s.api.Get(s.t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, &fn); err != nil {
		s.t.Fatal(err)
	}
	return &fn
}

// within asks until it holds.
func (s *stage) within(patience time.Duration, what string, holds func() (ok bool, state string)) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		ok, state := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s; last: %s", patience, what, state)
		}
		select {
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		case <-tick.C:
		}
	}
}

// ready waits until a Function is ready and returns it.
func (s *stage) ready(name string) (fn *v1alpha1.Function) {
	s.t.Helper()
	s.within(3*time.Minute, name+" is ready", func() (bool, string) {
		fn = s.read(name)
		return fn.Holds(v1alpha1.ConditionReady), fmt.Sprint(fn.Status.Conditions)
	})
	return fn
}

// knit runs a command and returns its exit code and what it wrote.
func (s *stage) knit(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(os.Getenv("KNIT_BIN"), "knit"), append(args, "-n", s.namespace)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String()), errs.String()
}

// manifest writes a Function into a folder's knit.yaml.
func manifest(t *testing.T, fn *v1alpha1.Function) (folder string) {
	t.Helper()
	written := fn.DeepCopy()
	written.Namespace = ""
	written.APIVersion, written.Kind = v1alpha1.GroupVersion.String(), v1alpha1.KindFunction
	raw, err := yaml.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "knit.yaml"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// watcher notes every state of the condition Ready that anybody could see.
type watcher struct {
	mu     sync.Mutex
	states []string
	stop   func()
}

// watch notes the states of a Function's Ready, each as "generation status
// reason", equal neighbours once.
func (s *stage) watch(name string) *watcher {
	s.t.Helper()
	events, err := s.api.Watch(s.t.Context(), &v1alpha1.FunctionList{}, client.InNamespace(s.namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		s.t.Fatal(err)
	}
	w := &watcher{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if fn, ok := event.Object.(*v1alpha1.Function); ok {
				w.note(fn)
			}
		}
	}()
	w.stop = sync.OnceFunc(func() { events.Stop(); <-done })
	s.t.Cleanup(w.stop)
	return w
}

func (w *watcher) note(fn *v1alpha1.Function) {
	c := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	state := fmt.Sprintf("%d %s %s", c.ObservedGeneration, c.Status, c.Reason)
	if n := len(w.states); n == 0 || w.states[n-1] != state {
		w.states = append(w.states, state)
	}
}

// seen ends the watch, once it has noted what is ready now, and returns what it
// noted.
func (w *watcher) seen(s *stage, name string) []string {
	s.t.Helper()
	last := fmt.Sprintf("%d True ", s.read(name).Generation)
	s.within(time.Minute, "the watch comes to "+last, func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := len(w.states)
		return n > 0 && strings.HasPrefix(w.states[n-1], last), fmt.Sprint(w.states)
	})
	w.stop()
	return w.states
}
