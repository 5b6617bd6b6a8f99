//go:build e2e

package functions

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// kill ends the control plane at once, without a word, and takes its lease away,
// so that nobody has to wait for it to run out.
func (s *stage) kill() {
	s.t.Helper()
	ctx, system := s.t.Context(), client.InNamespace(v1alpha1.NamespaceSystem)
	now := &client.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}
	if err := s.api.DeleteAllOf(ctx, &corev1.Pod{}, system, &client.DeleteAllOfOptions{DeleteOptions: *now}); err != nil {
		s.t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.NamespaceSystem, Name: "knit-controlplane"}}
	if err := client.IgnoreNotFound(s.api.Delete(ctx, lease)); err != nil {
		s.t.Fatal(err)
	}
}

// build is the Build of a Function; nil before there is one. A second one ends
// the test.
func (s *stage) build(function string) *v1alpha1.Build {
	s.t.Helper()
	var builds v1alpha1.BuildList
	if err := s.api.List(s.t.Context(), &builds, client.InNamespace(s.namespace), client.MatchingLabels{v1alpha1.LabelFunction: function}); err != nil {
		s.t.Fatal(err)
	}
	if len(builds.Items) > 1 {
		s.t.Fatalf("%d Builds of one source", len(builds.Items))
	}
	if len(builds.Items) == 0 {
		return nil
	}
	return &builds.Items[0]
}

// there reports whether an object can be read.
func (s *stage) there(name string, o client.Object) bool {
	s.t.Helper()
	err := s.api.Get(s.t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, o)
	if client.IgnoreNotFound(err) != nil {
		s.t.Fatal(err)
	}
	return err == nil
}

// stops are the phases of a deployment at which the control plane is killed, in
// their order: what is to be seen when it comes to each.
func (s *stage) stops() []struct {
	phase string
	seen  func() bool
} {
	running := func() bool {
		b := s.build("hello")
		return b != nil && b.Status.PodName != "" && len(b.Status.Phases) > 0
	}
	built := func() bool {
		b := s.build("hello")
		return b != nil && meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionSucceeded)
	}
	return []struct {
		phase string
		seen  func() bool
	}{
		{"pushed", func() bool { return s.there("hello", &v1alpha1.Function{}) }},
		{"build created", func() bool { return s.build("hello") != nil }},
		{"building", running},
		{"built", built},
		{"service applied", func() bool { return s.there("hello", &servingv1.Service{}) }},
		{"wired", func() bool {
			var triggers eventingv1.TriggerList
			err := s.api.List(s.t.Context(), &triggers, client.InNamespace(s.namespace))
			return err == nil && len(triggers.Items) > 0
		}},
	}
}

// The control plane is killed at every phase of a deployment. The command that
// waits for it ends well all the same; there is one Build with one pod, and the
// status has everything that an undisturbed deployment leaves.
//
// It runs alone: other tests would not see the control plane for a while.
func TestTheControlPlaneIsKilledAtEveryPhase(t *testing.T) {
	p := newProject(t, "hello")
	s := newStage(t)
	s.namespace = p.namespace
	watched := s.watch("hello")
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KNIT_BIN"), "knit"), "deploy", p.folder, "-n", s.namespace)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, stop := range s.stops() {
		s.within(2*time.Minute, stop.phase, func() (bool, string) { return stop.seen(), stderr.String() })
		s.kill()
		t.Logf("killed after %v: %s", time.Since(begin).Round(time.Millisecond), stop.phase)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the command that waits: %v\n%s", err, stderr.String())
	}
	t.Logf("ready after %v", time.Since(begin).Round(time.Millisecond))
	fn := s.read("hello")
	if answer, err := askPath(t.Context(), fn.Status.URL, "/"); err != nil || !strings.Contains(answer, oldAnswer) {
		t.Errorf("%q %v", answer, err)
	}
	b := s.build("hello")
	if pods := s.buildPods(); len(pods) != 1 || pods[0].Name != b.Status.PodName {
		t.Errorf("%d build pods, want the one that the Build names, %q", len(pods), b.Status.PodName)
	}
	complete := fn.Status.Image == b.Status.Image && fn.Status.SourceDigest == b.Spec.Source.Archive.Digest && fn.Status.BuildRef == b.Name &&
		fn.Status.LatestReadyRevision == "hello-00001" && fn.Status.Decision != nil && fn.Status.Address != nil
	if !complete || strings.TrimSpace(stdout.String()) != fn.Status.URL {
		t.Errorf("printed %q, status %+v", stdout.String(), fn.Status)
	}
	for _, state := range watched.seen(s, "hello") {
		if strings.Contains(state, "False") {
			t.Errorf("a state that nobody should see: %q", watched.states)
			break
		}
	}
	for _, phase := range b.Status.Phases {
		if phase.State != v1alpha1.PhaseSucceeded || phase.StartTime == nil || phase.FinishTime == nil {
			t.Errorf("phase %s: %s", phase.Name, fmt.Sprint(phase))
		}
	}
}
