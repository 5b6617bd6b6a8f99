//go:build e2e

package builds

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// commands are how the processes of the phases are called.
var commands = map[v1alpha1.PhaseName]string{
	v1alpha1.PhaseFetch:   "/app/fetch ",
	v1alpha1.PhaseAnalyze: "/cnb/lifecycle/analyzer ",
	v1alpha1.PhaseDetect:  "/cnb/lifecycle/detector ",
	v1alpha1.PhaseRestore: "/cnb/lifecycle/restorer ",
	v1alpha1.PhaseBuild:   "/cnb/lifecycle/builder ",
	v1alpha1.PhaseExport:  "/cnb/lifecycle/exporter ",
}

// held is a Build whose phase is stopped as soon as its process began.
type held struct {
	build *v1alpha1.Build
	phase v1alpha1.PhaseName
	pid   int
}

func (h held) goOn() { _ = syscall.Kill(h.pid, syscall.SIGCONT) }

// hold starts a Build and stops it in a phase. A phase that was over before it
// was seen makes another Build.
func (s *stand) hold(t *testing.T, o order, phase v1alpha1.PhaseName) held {
	t.Helper()
	for range 5 {
		b := s.start(t, o)
		if pid := s.stopPhase(t, b, phase); pid > 0 {
			h := held{build: b, phase: phase, pid: pid}
			t.Cleanup(h.goOn)
			return h
		}
		s.deleted(t, b)
	}
	t.Fatalf("phase %s was never seen", phase)
	return held{}
}

// stopPhase looks for the process of a phase in the control group of the pod.
// It returns 0 when the Build ended without it.
func (s *stand) stopPhase(t *testing.T, b *v1alpha1.Build, phase v1alpha1.PhaseName) int {
	t.Helper()
	group := ""
	for look := 0; ; look++ {
		if group == "" {
			if pod := s.pod(t.Context(), b); pod != nil {
				group = filepath.Join("/sys/fs/cgroup/pids", s.cluster, "kubepods", "*", "pod"+string(pod.UID), "*", "cgroup.procs")
			}
		}
		if pid := processIn(group, commands[phase]); pid > 0 {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				return 0
			}
			return pid
		}
		if look%500 == 499 {
			var now v1alpha1.Build
			if err := s.api.Get(t.Context(), client.ObjectKeyFromObject(b), &now); err == nil {
				if ended, _ := now.Done(); ended {
					return 0
				}
			}
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the test ended before the phase began")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// processIn finds the process whose command begins with the words.
func processIn(groups, words string) int {
	files, _ := filepath.Glob(groups)
	for _, file := range files {
		members, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for member := range strings.FieldsSeq(string(members)) {
			command, err := os.ReadFile("/proc/" + member + "/cmdline")
			if err == nil && strings.HasPrefix(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})), words) {
				pid, _ := strconv.Atoi(member)
				return pid
			}
		}
	}
	return 0
}

// holdEvery holds one Build in each phase, all at once, two in a namespace.
// They make the same image when they are let go.
func (s *stand) holdEvery(t *testing.T) []held {
	t.Helper()
	builds := make([]held, len(incluster.Phases))
	var all sync.WaitGroup
	ns := ""
	for i, phase := range incluster.Phases {
		if i%2 == 0 {
			ns = s.Namespace(t)
		}
		o := order{namespace: ns, function: "at-" + string(phase), hostile: true}
		all.Go(func() {
			if phase == v1alpha1.PhaseRestore {
				// There is something to restore after another build only, and
				// a build with the same inputs would not be made at all.
				before := o
				before.env = map[string]string{"ROUND": "1"}
				first := s.start(t, before)
				s.mustSucceed(t, first)
				s.deleted(t, first)
			}
			builds[i] = s.hold(t, o, phase)
		})
	}
	all.Wait()
	return builds
}

// running waits until the status says that the phase runs.
func (s *stand) running(t *testing.T, h held) {
	t.Helper()
	s.Eventually(t, fmt.Sprintf("Build %s in phase %s", h.build.Name, h.phase), func(ctx context.Context) (bool, error) {
		pod := s.pod(ctx, h.build)
		if pod == nil {
			return false, nil
		}
		for _, c := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
			if c.Name == string(h.phase.Container()) && c.State.Running != nil {
				return true, nil
			}
		}
		return false, nil
	})
}

// sameImage wants one digest of all of them, and removes them without a trace.
func (s *stand) sameImage(t *testing.T, builds []*v1alpha1.Build) {
	t.Helper()
	first := ""
	for _, b := range builds {
		digest := s.mustSucceed(t, b)
		if first == "" {
			first = digest
		}
		if digest != first {
			t.Errorf("Build %s made the image %s, the others %s", b.Name, digest, first)
		}
	}
	for _, b := range builds {
		s.deleted(t, b)
	}
}

func buildsOf(all []held) []*v1alpha1.Build {
	var builds []*v1alpha1.Build
	for _, h := range all {
		builds = append(builds, h.build)
	}
	return builds
}

// Everything that can be killed, at every phase. The rounds come one after the
// other: each holds as many builds as the cluster runs at once.
func TestKillsAtEveryPhase(t *testing.T) {
	t.Parallel()
	t.Run("the pod is deleted", func(t *testing.T) {
		builds := s.holdEvery(t)
		for _, h := range builds {
			s.running(t, h)
			name := s.pod(t.Context(), h.build).Name
			if err := s.Kube.CoreV1().Pods(v1alpha1.NamespaceBuilds).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		s.sameImage(t, buildsOf(builds))
	})
	t.Run("the process is killed", func(t *testing.T) {
		builds := s.holdEvery(t)
		var again []*v1alpha1.Build
		for _, h := range builds {
			s.running(t, h)
			if err := syscall.Kill(h.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			phase := string(h.phase)
			s.mustFail(t, h.build, strings.ToUpper(phase[:1])+phase[1:]+"Failed", "phase "+phase)
			s.deleted(t, h.build)
			again = append(again, s.start(t, order{namespace: h.build.Namespace, function: h.build.Spec.Function, hostile: true}))
		}
		s.sameImage(t, again)
	})
	t.Run("the control plane is killed", func(t *testing.T) {
		builds := s.holdEvery(t)
		pid := processIn(filepath.Join("/sys/fs/cgroup/pids", s.cluster, "kubepods", "*", "pod*", "*", "cgroup.procs"), "/app/controlplane ")
		if pid == 0 {
			t.Fatal("the control plane's process is not found")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for _, h := range builds {
			h.goOn()
		}
		s.sameImage(t, buildsOf(builds))
	})
}
