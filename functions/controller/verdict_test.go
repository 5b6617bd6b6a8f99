package controller

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hello = subject{function: "hello", image: "r:5000/shop/hello@sha256:aa", listen: time.Minute}
)

// containerPod is a pod whose function's container is in a state.
func containerPod(status corev1.ContainerStatus) *corev1.Pod {
	status.Name = containerName
	proxy := corev1.ContainerStatus{Name: "queue-proxy", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}}
	return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{proxy, status}}}
}

func waitingPod(reason, message string) *corev1.Pod {
	return containerPod(corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}})
}

func endedPod(restarts int32, end corev1.ContainerStateTerminated) *corev1.Pod {
	return containerPod(corev1.ContainerStatus{RestartCount: restarts, State: corev1.ContainerState{Terminated: &end}})
}

func runningPod(since time.Duration) *corev1.Pod {
	return containerPod(corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon.Add(-since))}}})
}

func unscheduledPod(since time.Duration) *corev1.Pod {
	return &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient cpu.",
		LastTransitionTime: metav1.NewTime(noon.Add(-since)),
	}}}}
}

func TestWhatAPodSays(t *testing.T) {
	const pull = `failed to pull and unpack image "x": `
	cases := map[string]struct {
		pod    *corev1.Pod
		want   string // reason, or "" for none
		says   string
		reason string
	}{
		"new":                 {pod: &corev1.Pod{}, reason: "nothing is known yet"},
		"being made":          {pod: waitingPod("ContainerCreating", ""), reason: "the usual way"},
		"starting":            {pod: runningPod(time.Second), reason: "it may listen soon"},
		"silent":              {pod: runningPod(2 * time.Minute), want: "NotListening", says: "within 1m0s"},
		"not found":           {pod: waitingPod("ErrImagePull", pull+"r:5000/x: not found"), want: "ImageNotFound", says: hello.image},
		"back-off":            {pod: waitingPod("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: `+pull+"r:5000/x: not found"), want: "ImageNotFound", says: ": " + pull, reason: "the words of the try, not of the waiting"},
		"no login":            {pod: waitingPod("ErrImagePull", pull+"authorization failed: no basic auth credentials"), want: "ImageForbidden", says: "imagePullSecret"},
		"docker hub":          {pod: waitingPod("ErrImagePull", "pull access denied, repository does not exist or may require authorization"), want: "ImageForbidden", reason: "one of the two; the login is checked first"},
		"registry is off":     {pod: waitingPod("ErrImagePull", pull+"dial tcp 10.0.0.1:443: connect: connection refused"), want: "RegistryUnavailable", says: "check the registry"},
		"registry is not":     {pod: waitingPod("ErrImagePull", pull+"dial tcp: lookup r.example on 10.0.0.1:53: no such host"), want: "RegistryUnavailable"},
		"registry is sick":    {pod: waitingPod("ErrImagePull", pull+"unexpected status from GET request to https://r/v2/: 503 Service Unavailable"), want: "RegistryUnavailable"},
		"certificate":         {pod: waitingPod("ErrImagePull", pull+"tls: failed to verify certificate: x509: certificate signed by unknown authority"), want: "ImagePullFailed", says: "is not in its registry, or the registry's certificate", reason: "containerd 1.6 says it of an image that is not there"},
		"other machine":       {pod: waitingPod("ErrImagePull", pull+"no match for platform in manifest: not found"), want: "ImageWrongPlatform", reason: "before not found, which it says too"},
		"no image":            {pod: waitingPod("ErrImagePull", pull+"unsupported manifest media type"), want: "ImageInvalid"},
		"bad name":            {pod: waitingPod("InvalidImageName", `Failed to apply default image tag "A": couldn't parse image name`), want: "ImageInvalid"},
		"unheard of":          {pod: waitingPod("ErrImagePull", "out of luck"), want: "ImagePullFailed", says: "out of luck"},
		"key missing":         {pod: waitingPod("CreateContainerConfigError", `couldn't find key password in Secret shop/login`), want: "ReferenceInvalid", says: "couldn't find key password in Secret shop/login"},
		"cache not filled":    {pod: waitingPod("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"), reason: "the kubelet goes on by itself"},
		"no program":          {pod: waitingPod("CreateContainerError", `exec: "/nowhere": no such file or directory`), want: "CannotRun", says: "/nowhere"},
		"no entrypoint":       {pod: waitingPod("CreateContainerError", `failed to generate container "7e" spec: failed to generate spec: no command specified`), want: "ImageInvalid", says: "names no program; name another"},
		"ended once":          {pod: endedPod(0, corev1.ContainerStateTerminated{ExitCode: 1}), reason: "what it needs may come a moment later"},
		"ended twice":         {pod: endedPod(1, corev1.ContainerStateTerminated{ExitCode: 3, Message: "panic: x\n\ngoroutine 1"}), want: "Crashed", says: "exit code 3; correct it; see `knit logs hello --previous`\n  panic: x"},
		"ended well":          {pod: endedPod(1, corev1.ContainerStateTerminated{}), want: "Crashed", says: "a function is a server"},
		"killed":              {pod: endedPod(1, corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}), want: "OutOfMemory", says: "limits.memory"},
		"not runnable":        {pod: endedPod(1, corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: `exec: "/nowhere": stat /nowhere: no such file`}), want: "CannotRun", says: "entrypoint"},
		"foreign program":     {pod: endedPod(1, corev1.ContainerStateTerminated{ExitCode: 255, Message: "exec /app: exec format error"}), want: "ImageWrongPlatform"},
		"no room":             {pod: unscheduledPod(time.Minute), want: "Unschedulable", says: "Insufficient cpu"},
		"no room for a blink": {pod: unscheduledPod(time.Second), reason: "another pod is on its way out"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { checkFault(t, hello.judgePod(c.pod, noon), c.want, c.says, c.reason) })
	}
}

func checkFault(t *testing.T, f *fault, want, says, reason string) {
	t.Helper()
	got, message := "", ""
	if f != nil {
		got, message = f.reason, f.about("hello-00001")
	}
	if got != want || !strings.Contains(message, says) {
		t.Errorf("%s: %q, want %s with %q (%s)", got, message, want, says, reason)
	}
	if f != nil && (f.next == "" || !strings.HasPrefix(message, "revision hello-00001: ")) {
		t.Errorf("it does not name the revision and what to do: %q", message)
	}
}

func revisionThatIs(ready corev1.ConditionStatus, reason, message string, more ...apis.Condition) *servingv1.Revision {
	r := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: "hello-00001", CreationTimestamp: metav1.NewTime(noon)}}
	r.Status.Conditions = append(duckv1.Conditions{{Type: apis.ConditionReady, Status: ready, Reason: reason, Message: message}}, more...)
	return r
}

func TestWhatARevisionSays(t *testing.T) {
	cases := map[string]struct {
		revision *servingv1.Revision
		want     string
		says     string
		reason   string
	}{
		"new":          {revision: &servingv1.Revision{}},
		"under way":    {revision: revisionThatIs("Unknown", "Deploying", "")},
		"out of time":  {revision: revisionThatIs("False", "ProgressDeadlineExceeded", "Initial scale was never achieved"), reason: "Knative does not know why"},
		"tag":          {revision: revisionThatIs("False", "ContainerMissing", `Unable to fetch image "x:v1": failed to resolve image to digest: HEAD https://r/v2/x/manifests/v1: unexpected status code 404 Not Found`), want: "ImageNotFound"},
		"crash":        {revision: revisionThatIs("False", "ExitCode2", "Container failed with: no database\n"), want: "Crashed", says: "exit code 2; correct it; see `knit logs hello --previous`\n  no database"},
		"quota":        {revision: revisionThatIs("False", "FailedCreate", `pods "hello-00001-deployment-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0`), want: "QuotaExceeded", says: "pod of it: exceeded quota: small", reason: "the pod's random name is left out"},
		"pod security": {revision: revisionThatIs("False", "FailedCreate", `pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`), want: "PodRefused", says: "violates PodSecurity"},
		"no room":      {revision: revisionThatIs("False", "Unschedulable", "0/1 nodes are available"), want: "Unschedulable"},
		"pull":         {revision: revisionThatIs("False", "ImagePullBackOff", "not found"), want: "ImageNotFound"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { checkFault(t, hello.judgeRevision(c.revision), c.want, c.says, c.reason) })
	}
}

func TestAProgramsLastWordsAreBounded(t *testing.T) {
	told := lastLines(strings.Repeat("ä\x1b[31mred\x00\n", 10_000))
	if n := strings.Count(told, "\n") + 1; n > toldLines || len(told) > toldBytes+3*toldLines || strings.ContainsAny(told, "\x1b\x00\uFFFD") {
		t.Errorf("%d lines, %d bytes: %q", n, len(told), told)
	}
}

func TestWhenARevisionIsMadeAgain(t *testing.T) {
	const minute = time.Minute
	inactive := apis.Condition{Type: servingv1.RevisionConditionActive, Status: corev1.ConditionFalse}
	failed := func(ago time.Duration) *metav1.Condition {
		return &metav1.Condition{Type: v1alpha1.ConditionDeployed, Status: metav1.ConditionFalse, LastTransitionTime: metav1.NewTime(noon.Add(-ago))}
	}
	quota := revisionThatIs("False", "FailedCreate", "exceeded quota")
	cases := map[string]struct {
		revision *servingv1.Revision
		failed   *metav1.Condition // since when, before the revision was made at noon
		service  func(*servingv1.Service)
		want     time.Duration // after noon; negative is never
		reason   string
	}{
		"under way":      {revision: revisionThatIs("Unknown", "", ""), want: -1},
		"crashes":        {revision: revisionThatIs("False", "ExitCode1", "x"), want: -1, reason: "the kubelet tries, and its logs are there"},
		"given up":       {revision: revisionThatIs("False", "ExitCode1", "x", inactive), want: firstAgain},
		"no pod":         {revision: quota, want: firstAgain, reason: "the cause may be mended just now"},
		"second time":    {revision: quota, failed: failed(2 * minute), want: 2 * minute, reason: "as long as all tries before it"},
		"for days":       {revision: quota, failed: failed(48 * time.Hour), want: lastAgain, reason: "seldom, and not never"},
		"was ready once": {revision: quota, service: func(s *servingv1.Service) { s.Status.LatestReadyRevisionName = "hello-00001" }, want: -1, reason: "Knative starts it for the next request"},
		"wanted by name": {revision: quota, service: func(s *servingv1.Service) { s.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "hello-00001"}} }, want: -1},
		"is on its way": {revision: func() *servingv1.Revision {
			r := quota.DeepCopy()
			r.DeletionTimestamp = &metav1.Time{Time: noon}
			return r
		}(), want: -1},
		"tag not in time": {revision: revisionThatIs("False", "ContainerMissing", "x"), want: firstAgain, reason: "Knative would ask after a quarter of an hour"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fn, service := function(), &servingv1.Service{}
			if c.failed != nil {
				c.failed.ObservedGeneration = fn.Generation
				fn.Status.Conditions = []metav1.Condition{*c.failed}
			}
			if c.service != nil {
				c.service(service)
			}
			got := tryAgain(fn, service, c.revision)
			if c.want < 0 && !got.IsZero() || c.want >= 0 && !got.Equal(noon.Add(c.want)) {
				t.Errorf("at %v, want noon plus %v: %s", got, c.want, c.reason)
			}
		})
	}
}
