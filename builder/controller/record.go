package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/builder/registry"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// maxPhaseLog is the most that is read of a phase's log to find its end, in bytes.
const maxPhaseLog = 64 << 20

// record writes down what an ended Build leaves behind: its log in the
// registry, and in the status where that is, the image's base and the size of
// the cache. Nobody waits for it: the image was reported before.
func (r *Reconciler) record(ctx context.Context, build *v1alpha1.Build) error {
	if meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionRecorded) != nil {
		return nil
	}
	pod, err := r.findPod(ctx, build.Status.PodName)
	if err != nil {
		return err
	}
	s, err := r.settings(ctx)
	if err != nil {
		return err
	}
	before := build.DeepCopy()
	note := ""
	if _, succeeded := build.Done(); succeeded {
		if note, err = r.recordImage(ctx, build, s); err != nil {
			return err
		}
	}
	build.Set(v1alpha1.False(v1alpha1.ConditionRecorded, v1alpha1.ReasonPending, "its pod was gone before its log was kept"))
	if pod != nil {
		if err := r.recordLog(ctx, build, pod, s, note); err != nil {
			return err
		}
	}
	if err := r.client.Status().Patch(ctx, build, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("write the status of Build %s: %w", client.ObjectKeyFromObject(build), err))
	}
	return r.forgetOldLogs(ctx, build.Namespace, s.LogsPerNamespace)
}

// recordImage reads the base of the image and measures the cache. It returns a
// line for the log when it dropped the cache.
func (r *Reconciler) recordImage(ctx context.Context, build *v1alpha1.Build, s settings) (note string, err error) {
	base, err := r.registry.Base(ctx, build.Status.Image)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return "", err
	}
	if base.RunImage != "" {
		build.Status.RunImage = base.RunImage
	}
	if build.Spec.Rebase != nil {
		return "", nil
	}
	size, err := r.registry.Size(ctx, s.cluster.Cache(build))
	if errors.Is(err, registry.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if limit := s.CacheLimit.Value(); size > limit {
		if err := r.registry.Clear(ctx, s.cluster.Cache(build)); err != nil {
			return "", err
		}
		note = fmt.Sprintf("knit: the build's cache had %d bytes, more than the limit of %d (platform setting build-cache-limit), and was dropped; the next build begins without\n", size, limit)
		log.FromContext(ctx).Info("dropped a build cache over its limit", "function", build.Spec.Function, "bytes", size, "limit", limit)
		size = 0
	}
	build.Status.CacheBytes = &size
	return note, nil
}

// recordLog keeps the ends of the phases' logs within the limit, which they share.
func (r *Reconciler) recordLog(ctx context.Context, build *v1alpha1.Build, pod *corev1.Pod, s settings, note string) error {
	if s.LogsPerNamespace == 0 {
		build.Set(v1alpha1.True(v1alpha1.ConditionRecorded, v1alpha1.ReasonSucceeded, "the platform keeps no logs"))
		return nil
	}
	var phases []registry.PhaseLog
	kept := &v1alpha1.BuildLog{Reference: s.images.LogReference(build)}
	left := s.LogLimit.Value()
	// The last phase that ran says most about a failure: it gets its share first.
	for _, phase := range slices.Backward(incluster.PhasesOf(build)) {
		status := containerStatus(pod, phase)
		if phase.Container() != phase { // Its log is that of the phase whose container it shares.
			continue
		}
		if status == nil || status.State.Running == nil && status.State.Terminated == nil {
			continue
		}
		text, whole, err := r.end(ctx, pod.Name, string(phase), left)
		if err != nil {
			// The node may have lost it; the others are worth keeping.
			text, whole = fmt.Appendf(nil, "knit: %v\n", err), true
		}
		left -= min(left, int64(len(text)))
		if !whole {
			kept.Truncated = true
			text = append([]byte("knit: the beginning of this log was not kept\n"), text...)
		}
		phases = append(phases, registry.PhaseLog{Phase: phase, Text: text})
	}
	slices.Reverse(phases)
	if note != "" && len(phases) > 0 {
		last := &phases[len(phases)-1]
		last.Text = append(last.Text, note...)
	}
	for _, phase := range phases {
		kept.Bytes += int64(len(phase.Text))
	}
	if err := r.registry.WriteLog(ctx, kept.Reference, phases); err != nil {
		return err
	}
	build.Status.Log = kept
	build.Set(v1alpha1.True(v1alpha1.ConditionRecorded, v1alpha1.ReasonSucceeded, ""))
	return nil
}

// end is the end of a container's log, at most limit bytes, and whether that is
// all of it.
func (l podLogs) end(ctx context.Context, pod, container string, limit int64) (text []byte, whole bool, err error) {
	stream, err := l.pods.GetLogs(pod, &corev1.PodLogOptions{Container: container, LimitBytes: ptr.To(int64(maxPhaseLog))}).Stream(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("read the log of phase %s: %w", container, err)
	}
	defer stream.Close()
	end := tail{limit: int(limit)}
	if _, err := io.Copy(&end, stream); err != nil {
		return nil, false, fmt.Errorf("read the log of phase %s: %w", container, err)
	}
	return end.text(), end.dropped == 0, nil
}

// tail keeps the last bytes that are written to it, in at most twice their memory.
type tail struct {
	limit   int
	kept    []byte
	dropped int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.trim()
	}
	return len(p), nil
}

func (t *tail) trim() {
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.dropped += int64(extra)
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
}

func (t *tail) text() []byte {
	t.trim()
	return t.kept
}
