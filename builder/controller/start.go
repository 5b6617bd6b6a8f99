package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/decision"
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

// start creates the pod when it is the Build's turn, unless there is an image
// of the same inputs already.
func (r *Reconciler) start(ctx context.Context, build *v1alpha1.Build, podName string) error {
	r.enqueue(build)
	s, err := r.settings(ctx)
	if err != nil {
		return r.unready(build, err)
	}
	if err := incluster.Check(build, s.cluster); err != nil {
		r.fail(build, v1alpha1.ReasonInvalid, err.Error())
		return reconcile.Terminal(err)
	}
	reused, err := r.decide(ctx, build, s)
	if err != nil || reused {
		return err
	}
	// Asked twice: who must wait asks no registry, and who asks a registry
	// keeps nobody else from starting.
	message, err := r.mayStart(ctx, build, podName, s.limits())
	if err != nil {
		return err
	}
	if message != "" {
		return r.wait(build, reasonQueued, message, queueDelay)
	}
	ready, err := r.prepare(ctx, build, &s)
	if err != nil || !ready {
		return err
	}
	login, outcome := r.gitLogin(ctx, build, s.cluster)
	if outcome != nil {
		return outcome
	}
	return r.admitted(ctx, build, podName, s, login)
}

// admitted creates the pod if it is still the Build's turn.
func (r *Reconciler) admitted(ctx context.Context, build *v1alpha1.Build, podName string, s settings, login map[string][]byte) error {
	r.admit.Lock()
	defer r.admit.Unlock()
	message, err := r.mayStart(ctx, build, podName, s.limits())
	if err != nil {
		return err
	}
	if message != "" {
		return r.wait(build, reasonQueued, message, queueDelay)
	}
	pod := incluster.MakePod(build, s.cluster, podName)
	if err := r.client.Create(ctx, pod, reconcile.FieldOwner); err != nil && !apierrors.IsAlreadyExists(err) {
		return r.notCreated(build, err)
	}
	r.started(build, podName)
	if pod.UID == "" {
		return nil // It was there already; observe sees to its login.
	}
	return r.giveLogin(ctx, pod, login)
}

// enqueue fills in the status of a Build that is seen for the first time.
func (r *Reconciler) enqueue(build *v1alpha1.Build) {
	if len(build.Status.Phases) > 0 {
		return
	}
	build.Status.SourceDigest = build.Spec.Source.Archive.Digest
	begin := metav1.NewMicroTime(build.CreationTimestamp.Time)
	build.Status.Phases = []v1alpha1.BuildPhase{{Name: v1alpha1.PhaseQueue, State: v1alpha1.PhaseRunning, StartTime: &begin}}
	for _, phase := range incluster.PhasesOf(build) {
		build.Status.Phases = append(build.Status.Phases, v1alpha1.BuildPhase{Name: phase, State: v1alpha1.PhasePending})
	}
	r.working(build, reasonQueued, "waits for its turn")
}

// decide writes down the inputs and why the Build is there. It reports true
// when it took over the image of an earlier Build.
func (r *Reconciler) decide(ctx context.Context, build *v1alpha1.Build, s settings) (reused bool, err error) {
	if build.Status.Inputs != nil {
		return false, nil
	}
	siblings, err := r.siblings(ctx, build)
	if err != nil {
		return false, err
	}
	want := decision.Inputs(build.Spec, s.images.BuilderImage)
	build.Status.Inputs = &want
	if build.Spec.Rebase != nil {
		return false, nil
	}
	if same := decision.Same(build, want, siblings); same != nil && !build.Spec.Force {
		d := decision.Reuse(same, want)
		build.Status.Decision = &d
		r.reuse(build, same)
		return true, nil
	}
	d := decision.Why(decision.Before(build, siblings), want)
	build.Status.Decision = &d
	return false, nil
}

// siblings are the Builds of the same function.
func (r *Reconciler) siblings(ctx context.Context, build *v1alpha1.Build) ([]v1alpha1.Build, error) {
	var builds v1alpha1.BuildList
	if err := r.client.List(ctx, &builds, client.InNamespace(build.Namespace)); err != nil {
		return nil, fmt.Errorf("list the Builds of namespace %s: %w", build.Namespace, err)
	}
	var siblings []v1alpha1.Build
	for _, b := range builds.Items {
		if b.Spec.Function == build.Spec.Function && b.DeletionTimestamp.IsZero() {
			siblings = append(siblings, b)
		}
	}
	return siblings, nil
}

// reuse ends a Build with the image of an earlier one.
func (r *Reconciler) reuse(build, from *v1alpha1.Build) {
	build.Status.Image, build.Status.ReusedFrom = from.Status.Image, from.Name
	build.Status.SourceDigest, build.Status.Revision = from.Status.SourceDigest, from.Status.Revision
	build.Status.BuilderImage, build.Status.RunImage = from.Status.BuilderImage, from.Status.RunImage
	// There was no phase but the decision.
	now := metav1.NewMicroTime(r.now())
	build.Status.Phases = build.Status.Phases[:1]
	build.Status.Phases[0].State, build.Status.Phases[0].FinishTime = v1alpha1.PhaseSucceeded, &now
	r.finish(build, v1alpha1.True(v1alpha1.ConditionSucceeded, v1alpha1.ReasonReused, "nothing changed since build "+from.Name+": "+from.Status.Image))
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
func (r *Reconciler) mayStart(ctx context.Context, build *v1alpha1.Build, podName string, limits queueLimits) (string, error) {
	var builds v1alpha1.BuildList
	if err := r.client.List(ctx, &builds); err != nil {
		return "", fmt.Errorf("list the Builds of all namespaces: %w", err)
	}
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

// invalid ends a Build that its author must change.
func (r *Reconciler) invalid(build *v1alpha1.Build, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	r.fail(build, v1alpha1.ReasonInvalid, message)
	return reconcile.Terminal(errors.New(message))
}
