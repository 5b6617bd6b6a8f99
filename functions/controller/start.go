package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// started says whether the newest revision answers, or why it does not, and when
// to look again.
//
// Knative names the cause of some failures at once, of most only when its
// progress deadline is over, minutes later. Until then the pod says it.
func (r *Reconciler) started(ctx context.Context, fn *v1alpha1.Function, service *servingv1.Service) (metav1.Condition, time.Duration, error) {
	c := deployed(service)
	if c.Status == metav1.ConditionTrue || !propagated(service) {
		return c, 0, nil
	}
	revision, err := r.revision(ctx, fn.Namespace, service.Status.LatestCreatedRevisionName)
	if err != nil {
		return c, 0, err
	}
	if revision == nil {
		// It is being made, or made again after a failure.
		return said(fn, service.Status.LatestCreatedRevisionName, c), 0, nil
	}
	if revision.Status.GetCondition(apis.ConditionReady).IsTrue() {
		return routed(fn, service, c), 0, nil
	}
	return r.startedRevision(ctx, fn, service, revision)
}

func (r *Reconciler) startedRevision(ctx context.Context, fn *v1alpha1.Function, service *servingv1.Service, revision *servingv1.Revision) (metav1.Condition, time.Duration, error) {
	now := r.now()
	about := subject{function: fn.Name, image: fn.Status.Image, listen: fn.Spec.TimeToListen()}
	why := about.judgeRevision(revision)
	// Of a crash Knative tells the exit code, the pod also who ended it.
	unclear := why == nil || why.reason == v1alpha1.ReasonCrashed
	if unclear && now.Sub(revision.CreationTimestamp.Time) >= looksFrom {
		pod, err := r.podOf(ctx, revision)
		if err != nil {
			return metav1.Condition{}, 0, err
		}
		if pod != nil {
			why = cmp.Or(about.judgePod(pod, now), why)
		}
	}
	c := said(fn, revision.Name, v1alpha1.Unknown(v1alpha1.ConditionDeployed, v1alpha1.ReasonDeploying, revisionPrefix(revision.Name)+"starting"))
	switch {
	case why != nil:
		c = v1alpha1.False(v1alpha1.ConditionDeployed, why.reason, why.about(revision.Name))
	case c.Status == metav1.ConditionUnknown && gaveUp(revision):
		c = v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonStartTimeout, late(fn, revision).about(revision.Name))
	}
	if again := tryAgain(fn, service, revision); !again.IsZero() {
		if again.After(now) {
			return c, again.Sub(now), nil
		}
		return c, 0, r.remake(ctx, revision)
	}
	return c, lookAgain(now.Sub(revision.CreationTimestamp.Time)), nil
}

// late is the fault of a revision of which nothing else is known.
func late(fn *v1alpha1.Function, revision *servingv1.Revision) fault {
	ready := revision.Status.GetCondition(apis.ConditionReady)
	return fault{reason: v1alpha1.ReasonStartTimeout, cause: fmt.Sprintf("it did not get ready in time: %s: %s", ready.Reason, ready.Message),
		next: fmt.Sprintf("see `knit logs %s` and `kubectl get events`; it is tried again by itself", fn.Name)}
}

// propagated reports whether what a Service says of its newest revision is
// about its present spec.
func propagated(service *servingv1.Service) bool {
	c := service.Status.GetCondition(servingv1.ServiceConditionConfigurationsReady)
	return service.Status.ObservedGeneration == service.Generation && c != nil &&
		c.Reason != outOfDate && service.Status.LatestCreatedRevisionName != ""
}

// outOfDate is Knative's reason for what its Configuration does not know yet.
const outOfDate = "OutOfDate"

// said repeats what was found out about a revision: what failed once is not
// called unknown again while it is tried again, or the status would flap.
func said(fn *v1alpha1.Function, revision string, otherwise metav1.Condition) metav1.Condition {
	c := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionDeployed)
	if c == nil || c.Status != metav1.ConditionFalse || c.ObservedGeneration != fn.Generation || !strings.HasPrefix(c.Message, revisionPrefix(revision)) {
		return otherwise
	}
	return *c
}

// routed is the condition of a Service whose newest revision is ready and that
// is not ready itself: what is left is the traffic.
func routed(fn *v1alpha1.Function, service *servingv1.Service, c metav1.Condition) metav1.Condition {
	routes := service.Status.GetCondition(servingv1.ServiceConditionRoutesReady)
	if !routes.IsFalse() {
		if c.Status == metav1.ConditionFalse {
			// What the Service still repeats of its newest revision is over.
			return awaitsTraffic(service)
		}
		return c
	}
	if routes.Reason == revisionMissing && !slices.ContainsFunc(service.Spec.Traffic, func(t servingv1.TrafficTarget) bool { return t.RevisionName != "" }) {
		// The Route has not seen yet that its newest revision is ready.
		return awaitsTraffic(service)
	}
	if routes.Reason == revisionMissing {
		return v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonRevisionNotFound,
			fmt.Sprintf("traffic cannot be shared out: %s; name one that `knit revisions %s` lists in spec.traffic", strings.TrimSuffix(routes.Message, "."), fn.Name))
	}
	return v1alpha1.False(v1alpha1.ConditionDeployed, reason(routes.Reason, "NotReady"), routes.Message)
}

func awaitsTraffic(service *servingv1.Service) metav1.Condition {
	return v1alpha1.Unknown(v1alpha1.ConditionDeployed, v1alpha1.ReasonDeploying, "waiting for traffic to reach revision "+service.Status.LatestCreatedRevisionName)
}

// revisionMissing is Knative's reason of a Route without a revision to go to.
const revisionMissing = "RevisionMissing"

// revision reads a Revision; nil when there is none.
func (r *Reconciler) revision(ctx context.Context, namespace, name string) (*servingv1.Revision, error) {
	var revision servingv1.Revision
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if err := r.client.Get(ctx, key, &revision); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read Revision %s: %w", key, err)
	}
	return &revision, nil
}

// looksFrom is the age from which on a revision's pods are looked at; most
// revisions are ready before.
const looksFrom = 2 * time.Second

// podsLooked is how many pods of a revision are looked at: one of those that
// are not on their way out is as good as another.
const podsLooked = 5

// podOf is a pod of a revision that does not start, read from the API server:
// the pods of tenants are in no cache. nil when there is none.
func (r *Reconciler) podOf(ctx context.Context, revision *servingv1.Revision) (*corev1.Pod, error) {
	var pods corev1.PodList
	err := r.direct.List(ctx, &pods, client.InNamespace(revision.Namespace), client.Limit(podsLooked),
		client.MatchingLabels{serving.RevisionUID: string(revision.UID)})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Revision %s/%s: %w", revision.Namespace, revision.Name, err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.DeletionTimestamp.IsZero() {
			return pod, nil
		}
	}
	return nil, nil
}

// lookAgain is how soon the pod of a revision of that age is looked at again:
// often while a person waits, then less and less.
func lookAgain(age time.Duration) time.Duration {
	return min(max(age/4, looksFrom), time.Minute)
}
