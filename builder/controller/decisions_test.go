package controller

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func TestTurn(t *testing.T) {
	pod := func(namespace string, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{v1alpha1.LabelBuildNamespace: namespace}},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	at := func(name string, age time.Duration, reason string) v1alpha1.Build {
		b := aBuild(name)
		b.CreationTimestamp = metav1.NewTime(begin.Add(-age))
		if reason != "" {
			b.Set(v1alpha1.Unknown(v1alpha1.ConditionSucceeded, reason, ""))
		}
		return *b
	}
	alice, bob := pod("alice", corev1.PodRunning), pod("bob", corev1.PodPending)
	cases := map[string]struct {
		builds []v1alpha1.Build
		pods   []corev1.Pod
		want   string // a part of the message; "" is a turn
		reason string
	}{
		"empty":                   {},
		"one place left":          {pods: []corev1.Pod{alice, bob, bob, bob}},
		"namespace full":          {pods: []corev1.Pod{alice, alice}, want: `namespace "alice" runs 2`},
		"cluster full":            {pods: []corev1.Pod{bob, bob, bob, bob, bob}, want: "the cluster runs 5"},
		"ended pods":              {pods: []corev1.Pod{pod("alice", corev1.PodFailed), pod("alice", corev1.PodSucceeded)}, reason: "they hold no place"},
		"older first":             {builds: []v1alpha1.Build{at("old", time.Minute, reasonQueued)}, pods: []corev1.Pod{alice}, want: "older builds"},
		"older and room for both": {builds: []v1alpha1.Build{at("old", time.Minute, reasonQueued)}},
		"older that waits for a repair": {builds: []v1alpha1.Build{at("old", time.Minute, v1alpha1.ReasonPlatformNotFound)}, pods: []corev1.Pod{alice},
			reason: "it must not keep others back"},
		"younger": {builds: []v1alpha1.Build{at("young", -time.Minute, reasonQueued)}, pods: []corev1.Pod{alice}},
		"its own pod": {pods: []corev1.Pod{alice, alice, {ObjectMeta: metav1.ObjectMeta{Name: "mine"}}},
			reason: "it was created before a restart"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			me := at("me", 0, reasonQueued)
			got := turn(&me, "mine", append(c.builds, me), c.pods, queueLimits{perNamespace: 2, total: 5})
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q: %s", got, c.want, c.reason)
			}
		})
	}
}

func TestReadReport(t *testing.T) {
	other := "sha256:" + strings.Repeat("f", 64)
	cases := map[string]struct {
		message, want string
		reason        string
	}{
		"plain":  {message: report, want: digest},
		"whole":  {message: "[build]\n[[build.bom]]\n  name = \"x\"\n  [build.bom.metadata]\n    digest = \"" + other + "\"\n\n" + report, want: digest, reason: "a buildpack's own digest is not the image's"},
		"forged": {message: "[build]\n  [build.bom.metadata]\n    note = \"[image]\\ndigest = '" + other + "'\"\n\n" + report, want: digest, reason: "a text with line breaks is one line in TOML"},
		"cut":    {message: "etadata]\n    half = \"line\n" + report, want: digest, reason: "the kubelet keeps the end"},
		"empty":  {message: ""},
		"short":  {message: "[image]\n  digest = \"sha256:abc\"\n"},
		"broken": {message: "[image]\n  digest = \"\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readReport(c.message)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v: %s", got, err, c.reason)
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	many := strings.Repeat("line\n", 50)
	cases := map[string]struct{ log, want, reason string }{
		"noise":   {log: "a\nERROR: failed to build: exit status 2\nTimer: Builder ran for 1s\n\n", want: "a"},
		"colours": {log: "\x1b[31;1mERROR: \x1b[0mx\r\n\x00y\x07", want: "ERROR: x\ny", reason: "a log must not steer a terminal"},
		"many":    {log: many, want: strings.TrimSpace(strings.Repeat("line\n", messageLines))},
		"long":    {log: strings.Repeat("ü", messageBytes), want: "…" + strings.Repeat("ü", (messageBytes-3)/2)},
		"bad":     {log: "a\xffb", want: "a\uFFFDb"},
		"empty":   {log: "\n\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := lastLines(c.log); got != c.want {
				t.Errorf("got %q, want %q: %s", got, c.want, c.reason)
			}
		})
	}
}

func TestJudgeRunning(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	pull := judge(&corev1.Pod{Status: after(v1alpha1.PhaseFetch, corev1.PodPending, waiting("ErrImagePull", "rpc error"))})
	back := judge(&corev1.Pod{Status: after(v1alpha1.PhaseFetch, corev1.PodPending, waiting("ImagePullBackOff", "Back-off"))})
	if pull != back || pull.reason != reasonWaiting || !strings.Contains(pull.message, "cannot be pulled") {
		t.Errorf("the status would flap between %+v and %+v", pull, back)
	}
	if got := judge(&corev1.Pod{Status: after(v1alpha1.PhaseFetch, corev1.PodPending, waiting("PodInitializing", ""))}); got.reason != reasonRunning {
		t.Errorf("the usual waiting counts as trouble: %+v", got)
	}
	now := metav1.Now()
	drained := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: after(v1alpha1.PhaseBuild, corev1.PodFailed, done(137, "Error", ""))}
	if got := judge(drained); got.kind != verdictLost {
		t.Errorf("a pod that somebody deleted counts as a failed build: %+v", got)
	}
}
