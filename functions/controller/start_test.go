package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// knative is Knative's part by hand: the newest revision of the Service "hello"
// and what is said of it.
type knative struct{ *world }

// says writes Ready of the Service and, unless the revision is to be gone, of
// its newest revision, which was made that long ago.
func (k knative) says(age time.Duration, service corev1.ConditionStatus, ready *apis.Condition, more ...apis.Condition) {
	k.t.Helper()
	ctx := k.t.Context()
	s := k.service()
	s.Status.LatestCreatedRevisionName = "hello-00001"
	s.Status.Conditions = duckv1.Conditions{
		{Type: apis.ConditionReady, Status: service, Reason: "RevisionFailed"},
		{Type: servingv1.ServiceConditionConfigurationsReady, Status: service, Reason: "RevisionFailed"},
	}
	k.must(k.Status().Update(ctx, s))
	revision := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hello-00001"}}
	k.must(client.IgnoreNotFound(k.Delete(ctx, revision)))
	if ready == nil {
		return
	}
	revision = &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "hello-00001", UID: "revision-1",
		CreationTimestamp: metav1.NewTime(k.now.Add(-age))}}
	revision.Status.Conditions = append(duckv1.Conditions{*ready}, more...)
	k.must(k.Create(ctx, revision))
}

func readiness(status corev1.ConditionStatus, reason, message string) *apis.Condition {
	return &apis.Condition{Type: apis.ConditionReady, Status: status, Reason: reason, Message: message}
}

// deploying is a world in which the Knative Service was just applied.
func deploying(t *testing.T) knative {
	k := knative{newWorld(t, function(withImage("i")))}
	_, _, err := k.reconcile(reconciletest.Crash{})
	k.must(err)
	return k
}

// want looks once and compares the condition Ready.
func (k knative) want(when, want string) metav1.Condition {
	k.t.Helper()
	_, _, err := k.reconcile(reconciletest.Crash{})
	k.must(err)
	c := meta.FindStatusCondition(k.function().Status.Conditions, v1alpha1.ConditionReady)
	if got := string(c.Status) + " " + c.Reason; got != want {
		k.t.Errorf("%s: Ready is %s, want %s (%s)", when, got, want, c.Message)
	}
	return *c
}

func TestAFaultStaysUntilItIsMended(t *testing.T) {
	k := deploying(t)
	quota := readiness("False", "FailedCreate", "exceeded quota: small")
	k.says(time.Second, "Unknown", readiness("Unknown", "Deploying", ""))
	k.want("at first", "Unknown Deploying")
	k.says(time.Second, "False", quota)
	first := k.want("the quota is met", "False QuotaExceeded")
	k.says(0, "Unknown", nil)
	k.want("the revision is being made again", "False QuotaExceeded")
	k.says(time.Second, "Unknown", readiness("Unknown", "Deploying", ""))
	if c := k.want("it starts again", "False QuotaExceeded"); !c.LastTransitionTime.Equal(&first.LastTransitionTime) || c.Message != first.Message {
		t.Errorf("the status flapped: %+v, then %+v", first, c)
	}
	k.says(time.Second, "False", readiness("False", "ExitCode1", "x"))
	k.want("another fault comes to light", "False Crashed")
	k.change(func(fn *v1alpha1.Function) { fn.Spec.Source.Image = "j" })
	k.says(time.Second, "Unknown", readiness("Unknown", "Deploying", ""))
	k.want("another spec", "Unknown Deploying")
	k.says(time.Minute, "True", readiness("True", "", ""))
	k.want("it started", "True Ready")
}

// Knative's Service learns after its Revision that a fault is over.
func TestAFaultThatIsOverIsNotRepeated(t *testing.T) {
	k := deploying(t)
	k.says(time.Second, "False", readiness("False", "ExitCode1", "x"))
	k.want("it crashes", "False Crashed")
	k.says(time.Second, "False", readiness("True", "", ""))
	k.want("the revision starts and the Service is behind", "Unknown Deploying")
	k.says(time.Second, "True", readiness("True", "", ""))
	k.want("the Service knows", "True Ready")
}

func TestAPodIsAskedOnlyWhenKnativeKnowsNothing(t *testing.T) {
	k := deploying(t)
	pod := waitingPod("ImagePullBackOff", "not found")
	pod.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "p", Labels: map[string]string{serving.RevisionUID: "revision-1"}}
	stranger := waitingPod("CreateContainerError", "x")
	stranger.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "a", Labels: map[string]string{serving.RevisionUID: "another"}}
	k.must(k.Create(t.Context(), pod))
	k.must(k.Create(t.Context(), stranger))
	k.says(time.Second, "Unknown", readiness("Unknown", "Deploying", ""))
	k.want("the usual second", "Unknown Deploying")
	k.says(5*time.Second, "Unknown", readiness("Unknown", "Deploying", ""))
	k.want("later", "False ImageNotFound")
	k.says(5*time.Second, "False", readiness("False", "FailedCreate", "exceeded quota"))
	k.want("Knative knows better", "False QuotaExceeded")
	killed := endedPod(2, corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"})
	killed.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "p", Labels: pod.Labels}
	k.must(k.Delete(t.Context(), pod))
	k.must(k.Create(t.Context(), killed))
	k.says(5*time.Second, "False", readiness("False", "ExitCode137", "Container failed with: "))
	k.want("the pod knows who killed it", "False OutOfMemory")
}

func TestARevisionThatKnativeGaveUpIsMadeAgain(t *testing.T) {
	k := deploying(t)
	given := apis.Condition{Type: servingv1.RevisionConditionActive, Status: corev1.ConditionFalse}
	late := readiness("False", "ProgressDeadlineExceeded", "Initial scale was never achieved")
	there := func() bool {
		t.Helper()
		err := k.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "hello-00001"}, &servingv1.Revision{})
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return !apierrors.IsNotFound(err)
	}
	k.says(time.Hour, "False", late)
	c := k.want("Knative still tries", "Unknown Deploying")
	if !there() {
		t.Fatal("it was deleted while Knative tries", c)
	}
	k.says(time.Hour, "False", late, given)
	if c := k.want("Knative gave up", "False StartTimeout"); there() || !strings.Contains(c.Message, "knit logs hello") {
		t.Errorf("it was not deleted, or what to do is not said: %s", c.Message)
	}
	// Killed after that write, it does nothing more.
	k.says(0, "Unknown", nil)
	k.want("meanwhile", "False StartTimeout")
}

func TestTrafficToARevisionThatIsNotThere(t *testing.T) {
	k := deploying(t)
	k.says(time.Second, "Unknown", readiness("True", "", ""))
	s := k.service()
	s.Status.Conditions = append(s.Status.Conditions, apis.Condition{
		Type: servingv1.ServiceConditionRoutesReady, Status: corev1.ConditionFalse, Reason: "RevisionMissing", Message: `Revision "hello-00007" referenced in traffic not found.`,
	})
	k.must(k.Status().Update(t.Context(), s))
	k.want("a Route that is behind", "Unknown Deploying")
	k.change(func(fn *v1alpha1.Function) { fn.Spec.Traffic = []v1alpha1.TrafficTarget{{Revision: "hello-00007"}} })
	if c := k.want("a Route without its revision", "False RevisionNotFound"); !strings.Contains(c.Message, "hello-00007") || !strings.Contains(c.Message, "knit revisions hello") {
		t.Errorf("message %q", c.Message)
	}
}

func TestWhatTheAPIServerRefusesIsShown(t *testing.T) {
	services := servingv1.Resource("services")
	cases := map[string]struct {
		err    error
		want   string
		heals  bool
		reason string
	}{
		"content": {apierrors.NewBadRequest("expected 0 <= 3600 <= 600: spec.template.spec.timeoutSeconds"), "False Invalid", false, "only a person can help"},
		"quota":   {apierrors.NewForbidden(services, "hello", errors.New("exceeded quota: small, requested: count/services.serving.knative.dev=1")), "False QuotaExceeded", true, "it may be raised"},
		"rights":  {apierrors.NewForbidden(services, "hello", errors.New("a policy says no")), "False Forbidden", true, "they may be given"},
		"webhook": {apierrors.NewInternalError(errors.New("failed calling webhook")), "Unknown Retrying", true, "it passes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, function(withImage("i")))
			refuses := interceptor.NewClient(w.WithWatch, interceptor.Funcs{
				Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					return c.err
				},
			})
			result, err := ctrl.AsReconciler(w.WithWatch, New(refuses, refuses, refuses, wiring)).Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "hello"}})
			fn := w.function()
			if got := condition(fn, "Ready"); got != c.want || (err != nil || result.RequeueAfter > 0) != c.heals {
				t.Errorf("Ready is %s, want %s; again %v %v: %s", got, c.want, result, err, c.reason)
			}
			if ready := meta.FindStatusCondition(fn.Status.Conditions, "Ready"); !strings.Contains(ready.Message, "; ") {
				t.Errorf("what to do is not said: %s", ready.Message)
			}
			w.settle()
			if !w.function().Holds("Ready") {
				t.Errorf("it does not heal: %s", condition(w.function(), "Ready"))
			}
		})
	}
}
