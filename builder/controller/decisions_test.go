package controller

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

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

func TestLastBytes(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"nothing":    {},
		"all of it":  {text: "abc", want: "abc"},
		"just fits":  {text: "abcd", want: "abcd"},
		"its end":    {text: "abcdefghij", want: "ghij"},
		"many times": {text: strings.Repeat("x", 1000) + "end!", want: "end!"},
	} {
		for _, from := range []io.Reader{strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text)), iotest.DataErrReader(strings.NewReader(c.text))} {
			if got, err := lastBytes(from, 4); string(got) != c.want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := lastBytes(iotest.ErrReader(broken), 4); !errors.Is(err, broken) {
		t.Errorf("a broken log gives %v", err)
	}
}
