package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

const (
	// queueDelay is how often a queued Build asks for its turn. A turn comes
	// by another's end, which no event of its own tells it.
	queueDelay = time.Second
	// platformDelay is the wait for something that a person must repair.
	platformDelay = 10 * time.Second
)

// start creates the pod when it is the Build's turn.
func (r *Reconciler) start(ctx context.Context, build *v1alpha1.Build, podName string) error {
	r.enqueue(build)
	platform, err := r.platform(ctx)
	if err != nil {
		return r.wait(build, v1alpha1.ReasonPlatformNotFound, err.Error(), platformDelay)
	}
	if err := incluster.Check(build, platform); err != nil {
		r.fail(build, v1alpha1.ReasonInvalid, err.Error())
		return reconcile.Terminal(err)
	}

	r.admit.Lock()
	defer r.admit.Unlock()
	message, err := r.mayStart(ctx, build, podName)
	if err != nil {
		return err
	}
	if message != "" {
		return r.wait(build, reasonQueued, message, queueDelay)
	}
	pod := incluster.MakePod(build, platform, podName)
	if err := r.client.Create(ctx, pod, reconcile.FieldOwner); err != nil && !apierrors.IsAlreadyExists(err) {
		return r.notCreated(build, err)
	}
	r.started(build, podName)
	return nil
}

// enqueue fills in the status of a Build that is seen for the first time.
func (r *Reconciler) enqueue(build *v1alpha1.Build) {
	if len(build.Status.Phases) > 0 {
		return
	}
	build.Status.SourceDigest = build.Spec.Source.Archive.Digest
	begin := metav1.NewMicroTime(build.CreationTimestamp.Time)
	build.Status.Phases = []v1alpha1.BuildPhase{{Name: v1alpha1.PhaseQueue, State: v1alpha1.PhaseRunning, StartTime: &begin}}
	for _, phase := range incluster.Phases {
		build.Status.Phases = append(build.Status.Phases, v1alpha1.BuildPhase{Name: phase, State: v1alpha1.PhasePending})
	}
	r.working(build, reasonQueued, "waits for its turn")
}

// wait reports what a Build waits for. Retrying stays the reason while it is
// one: it says which pod comes next.
func (r *Reconciler) wait(build *v1alpha1.Build, reason, message string, delay time.Duration) error {
	if reasonOf(build) == reasonRetrying {
		reason = reasonRetrying
	}
	r.working(build, reason, message)
	return reconcile.Wait(message, delay)
}

func (r *Reconciler) started(build *v1alpha1.Build, podName string) {
	now := r.now()
	queue := &build.Status.Phases[0]
	if queue.State == v1alpha1.PhaseRunning {
		end := metav1.NewMicroTime(now)
		queue.State, queue.FinishTime = v1alpha1.PhaseSucceeded, &end
	}
	if build.Status.StartTime == nil {
		begin := metav1.NewTime(now)
		build.Status.StartTime = &begin
	}
	build.Status.PodName = podName
	r.working(build, reasonRunning, "the build pod was created")
}

// notCreated tells apart what can pass, what a person must repair, and what
// will never work.
func (r *Reconciler) notCreated(build *v1alpha1.Build, err error) error {
	failure := fmt.Errorf("create the build pod in namespace %s: %w", r.options.BuildNamespace, err)
	switch {
	case reconcile.Refused(err):
		r.fail(build, v1alpha1.ReasonInvalid, failure.Error())
		return reconcile.Terminal(failure)
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		// A quota, a policy or a missing namespace.
		return r.wait(build, reasonWaiting, failure.Error(), platformDelay)
	}
	return failure
}

// mayStart returns why the Build must still wait, or "". The cache answers
// for the many that wait; only who seems to have a turn asks the live API.
func (r *Reconciler) mayStart(ctx context.Context, build *v1alpha1.Build, podName string) (string, error) {
	var builds v1alpha1.BuildList
	if err := r.client.List(ctx, &builds, client.InNamespace(build.Namespace)); err != nil {
		return "", fmt.Errorf("list the Builds of namespace %s: %w", build.Namespace, err)
	}
	limits := queueLimits{perNamespace: r.options.PerNamespace, total: r.options.Total}
	for _, reader := range []client.Reader{r.client, r.live} {
		var pods corev1.PodList
		err := reader.List(ctx, &pods, client.InNamespace(r.options.BuildNamespace),
			client.MatchingLabels{incluster.LabelComponent: incluster.ComponentBuild})
		if err != nil {
			return "", fmt.Errorf("list the pods of namespace %s: %w", r.options.BuildNamespace, err)
		}
		if message := turn(build, podName, builds.Items, pods.Items, limits); message != "" {
			return message, nil
		}
	}
	return "", nil
}
