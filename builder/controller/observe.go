package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// startGrace is the time beyond the deadline after which a pod that no node
// stopped is given up: a pod that was never scheduled has no clock of its own.
const startGrace = time.Minute

// observe carries what happened to the pod into the Build's status.
func (r *Reconciler) observe(ctx context.Context, build *v1alpha1.Build) error {
	pod, err := r.findPod(ctx, build.Status.PodName)
	if err != nil {
		return err
	}
	if pod == nil {
		r.lost(build, "somebody deleted its pod")
		return nil
	}
	if err := r.ensureLogin(ctx, build, pod); err != nil {
		return err
	}
	observeSource(build, pod)
	build.Status.Phases = observePhases(build.Status.Phases, pod)
	switch verdict := judge(pod); verdict.kind {
	case verdictSucceeded:
		return r.exported(ctx, build, pod)
	case verdictLost:
		r.lost(build, verdict.message)
		return nil
	case verdictFailed:
		failRunning(build.Status.Phases, r.now())
		r.fail(build, verdict.reason, r.explain(ctx, pod, verdict))
		return nil
	default:
		return r.running(build, pod, verdict)
	}
}

// findPod returns nil when there is certainly no pod: the cache may not yet
// know one that was just created.
func (r *Reconciler) findPod(ctx context.Context, name string) (*corev1.Pod, error) {
	key := types.NamespacedName{Namespace: r.options.BuildNamespace, Name: name}
	var pod corev1.Pod
	err := r.client.Get(ctx, key, &pod)
	if apierrors.IsNotFound(err) {
		err = r.live.Get(ctx, key, &pod)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read build pod %s: %w", key, err)
	}
	return &pod, nil
}

// running reports what the pod is at, and gives up one that is overdue. The
// pod of a Build that was given up is removed by settle.
func (r *Reconciler) running(build *v1alpha1.Build, pod *corev1.Pod, verdict verdict) error {
	deadline := build.Spec.Deadline()
	if set := pod.Spec.ActiveDeadlineSeconds; set != nil {
		deadline = time.Duration(*set) * time.Second
	}
	if left := pod.CreationTimestamp.Add(deadline + startGrace).Sub(r.now()); left > 0 {
		r.working(build, verdict.reason, verdict.message)
		return reconcile.Wait(verdict.message, left)
	}
	failRunning(build.Status.Phases, r.now())
	r.fail(build, reasonDeadline, fmt.Sprintf(
		"the build did not end within %s; last seen: %s; give it more in deadlineSeconds or look at the nodes", deadline, verdict.message))
	return nil
}

// lost starts a build again whose pod the cluster took away, once. The write
// of the status brings the Build back here for it.
func (r *Reconciler) lost(build *v1alpha1.Build, why string) {
	if build.Status.PodName != incluster.PodName(build) {
		failRunning(build.Status.Phases, r.now())
		r.fail(build, reasonPodLost, "the cluster lost the build's pod twice, the last time because "+why+"; look at the nodes, then build again")
		return
	}
	resetPhases(build.Status.Phases)
	r.working(build, reasonRetrying, "the build starts again because "+why)
}

// exported ends a build whose pod succeeded.
func (r *Reconciler) exported(ctx context.Context, build *v1alpha1.Build, pod *corev1.Pod) error {
	s, err := r.settings(ctx)
	if err != nil {
		return r.unready(build, err)
	}
	phases := incluster.PhasesOf(build)
	last := phases[len(phases)-1]
	digest, err := readReport(terminationMessage(pod, last))
	if err != nil {
		r.fail(build, reasonOfPhase(last), err.Error())
		return nil
	}
	// What the restorer says is the only place where a used cache is seen. No
	// log, no claim: the image is what matters.
	if log, err := r.tail(ctx, pod.Name, string(v1alpha1.PhaseRestore.Container())); err == nil {
		build.Status.CacheUsed = strings.Contains(log, "from cache")
	}
	r.succeed(build, s.cluster.Repository(build)+"@"+digest)
	return nil
}
