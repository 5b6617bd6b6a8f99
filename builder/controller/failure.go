package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// tailLines and tailBytes bound what is read of a log, messageLines and
	// messageBytes what of it goes into the Build's status.
	tailLines    = 100
	tailBytes    = 64 << 10
	messageLines = 20
	messageBytes = 2 << 10
)

// podLogs reads the logs of containers.
type podLogs struct{ pods typedcorev1.PodInterface }

// tail is the end of a container's log, for a message. The API would cut a
// limited answer at its end, where the reason of a failure stands; so the last
// lines are read to their end, and the last bytes of them are kept.
func (l podLogs) tail(ctx context.Context, pod, container string) (string, error) {
	stream, err := l.pods.GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: ptr.To(int64(tailLines))}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("read the log of phase %s: %w", container, err)
	}
	defer stream.Close()
	text, err := lastBytes(stream, tailBytes)
	if err != nil {
		return "", fmt.Errorf("read the log of phase %s: %w", container, err)
	}
	return string(text), nil
}

// lastBytes reads to the end and keeps at most the last size bytes.
func lastBytes(from io.Reader, size int) ([]byte, error) {
	kept := make([]byte, 0, 2*size)
	for {
		n, err := from.Read(kept[len(kept):cap(kept)])
		kept = kept[:len(kept)+n]
		if errors.Is(err, io.EOF) {
			return kept[max(0, len(kept)-size):], nil
		}
		if err != nil {
			return nil, err
		}
		if len(kept) == cap(kept) {
			kept = kept[:copy(kept, kept[len(kept)-size:])]
		}
	}
}

// explain is the message of a failure: what failed, and the last lines of the
// log. When the log is gone, the kubelet has kept its last lines in the status.
func (r *Reconciler) explain(ctx context.Context, pod *corev1.Pod, v verdict) string {
	message := v.message
	if hint := hints[v.reason]; hint != "" {
		message += ": " + hint
	}
	if v.phase == "" {
		return message
	}
	last := terminationMessage(pod, v.phase.Container())
	// fetch leaves its reason as the message itself; there is no more in its log.
	if v.phase != v1alpha1.PhaseFetch || last == "" {
		if log, err := r.tail(ctx, pod.Name, string(v.phase.Container())); err == nil && strings.TrimSpace(log) != "" {
			last = log
		}
	}
	if last = lastLines(last); last != "" {
		message += "\n" + last
	}
	return message
}

// hints are what to do about the failures that people meet first.
var hints = map[string]string{
	reasonOfPhase(v1alpha1.PhaseDetect): "no buildpack recognises the source; check source.path, or name the language in spec.language",
	reasonOfPhase(v1alpha1.PhaseExport): "the image could not be written; check the registry",
	reasonOfPhase(v1alpha1.PhaseRebase): "the image could not be put on the other base; check the registry, or build again",
	reasonOutOfMemory:                   "build less at once or ask for a higher limit",
}

// noise are lines with which the lifecycle ends every failure; they push out
// the ones that say something.
var noise = regexp.MustCompile(`^(Timer: .*|ERROR: failed to build: exit status \d+|ERROR: No buildpack groups passed detection\.|ERROR: Please check that you are running against the correct path\.)$`)

// control are characters that would do something to a terminal. Tab stays.
var control = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]`)

// lastLines picks the lines of a log that matter: the last ones that are not
// noise, within the bounds, without what would upset a terminal.
func lastLines(log string) string {
	lines := strings.Split(strings.ToValidUTF8(log, "\uFFFD"), "\n")
	var kept []string
	size := 0
	for i := len(lines) - 1; i >= 0 && len(kept) < messageLines; i-- {
		line := strings.TrimRight(control.ReplaceAllString(lines[i], ""), " \t")
		if line == "" || noise.MatchString(line) {
			continue
		}
		if size += len(line) + 1; size > messageBytes {
			if len(kept) == 0 {
				kept = append(kept, cut(line, messageBytes))
			}
			break
		}
		kept = append(kept, line)
	}
	slices.Reverse(kept)
	return strings.Join(kept, "\n")
}

// cut keeps the end of a line that is too long.
func cut(line string, size int) string {
	line = line[len(line)-size+len("…"):]
	for len(line) > 0 && !utf8.RuneStart(line[0]) {
		line = line[1:]
	}
	return "…" + line
}
