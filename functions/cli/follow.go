package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

// patience is how long a condition that is not about the build may be False
// before the command gives up: a controller that has just started may not see
// yet what stands beside.
const patience = 5 * time.Second

// follower tells how applied objects become ready.
type follower struct {
	cluster  *cmdline.Cluster
	progress *cmdline.Progress
	finished sets.Set[string] // builds that had ended before this deployment
}

func newFollower(c *cmdline.Cluster, p *cmdline.Progress) *follower {
	return &follower{cluster: c, progress: p, finished: sets.New[string]()}
}

// remember notes the builds that have ended already: their phases are no news.
func (f *follower) remember(ctx context.Context, m *project.Manifest) error {
	for _, doc := range m.Functions() {
		var builds v1alpha1.BuildList
		err := f.cluster.List(ctx, &builds, client.InNamespace(doc.Function.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: doc.Function.Name})
		if err != nil {
			return fmt.Errorf("list the builds of %s: %w", doc.Title(), err)
		}
		for _, build := range builds.Items {
			if ended, _ := build.Done(); ended {
				f.finished.Insert(string(build.UID))
			}
		}
	}
	return nil
}

// tracked is an object on its way to Ready.
type tracked struct {
	object client.Object
	shown  sets.Set[string] // conditions and phases that were told
	wrong  time.Time        // since when a condition is False
	done   bool
}

func (t *tracked) isFunction() bool {
	_, ok := t.object.(*v1alpha1.Function)
	return ok
}

func (t *tracked) isFunctionUnderWay() bool { return t.isFunction() && !t.done }

// follow returns when every object is ready, or with the first failure. It
// asks instead of watching: a few small reads a second need no recovery.
func (f *follower) follow(ctx context.Context, applied []client.Object) error {
	all := make([]*tracked, 0, len(applied))
	for _, object := range applied {
		all = append(all, &tracked{object: object, shown: sets.New[string]()})
	}
	state := "waiting"
	err := wait.PollUntilContextCancel(ctx, cmdline.PollEvery, true, func(ctx context.Context) (bool, error) {
		for _, t := range all {
			if t.done || !t.isFunction() && slices.ContainsFunc(all, (*tracked).isFunctionUnderWay) {
				continue // what sends to a function is not ready before it
			}
			now, err := f.look(ctx, t)
			if err != nil {
				return false, err
			}
			if !t.done {
				state = now
				f.progress.Doing("%s", now)
			}
		}
		return !slices.ContainsFunc(all, func(t *tracked) bool { return !t.done }), nil
	})
	if err != nil && late(ctx) {
		return cmdline.Timeout(fmt.Errorf("%w: %s", context.DeadlineExceeded, state))
	}
	return err
}

// late reports whether the time of a context is over. A request fails for it a
// moment before the context itself says so.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// look reads an object once, tells what is new, and returns what is under way.
func (f *follower) look(ctx context.Context, t *tracked) (string, error) {
	generation := t.object.GetGeneration()
	if err := f.cluster.Get(ctx, client.ObjectKeyFromObject(t.object), t.object); err != nil {
		return "", fmt.Errorf("watch %s: %w", t.object.GetName(), err)
	}
	if t.object.GetGeneration() != generation {
		return "", cmdline.Advise(fmt.Errorf("watch %s: somebody changed it meanwhile", t.object.GetName()), "run `knit deploy` again")
	}
	switch object := t.object.(type) {
	case *v1alpha1.Function:
		return f.lookAtFunction(ctx, t, object)
	case *v1alpha1.Schedule:
		return f.lookAtSchedule(t, object)
	case duckv1.KRShaped:
		return f.lookAtKnative(t, object)
	}
	return "", fmt.Errorf("watch %s: nobody knows when a %T is ready", t.object.GetName(), t.object)
}

// lookAtKnative is about one of Knative's objects that a manifest holds.
func (f *follower) lookAtKnative(t *tracked, object duckv1.KRShaped) (string, error) {
	kind, name := kindOf(f.cluster.Scheme(), t.object), t.object.GetName()
	status := object.GetStatus()
	c := v1alpha1.Unknown(v1alpha1.ConditionReady, v1alpha1.ReasonPending, "")
	if ready := status.GetCondition(apis.ConditionReady); ready != nil && status.ObservedGeneration == t.object.GetGeneration() {
		c = metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionStatus(ready.Status), Reason: ready.Reason, Message: ready.Message}
	}
	if c.Status == metav1.ConditionTrue {
		t.done = true
		f.progress.Done(v1alpha1.ConditionWired, "%s %s", kind, name)
		return "", nil
	}
	return waiting(name, c), t.patient(c, kind+" "+name, fmt.Sprintf("`knit %s describe %s -n %s`", kind, name, t.object.GetNamespace()))
}

func (f *follower) lookAtSchedule(t *tracked, s *v1alpha1.Schedule) (string, error) {
	ready := currentCondition(s.Status.Conditions, v1alpha1.ConditionReady, s.Generation)
	if ready.Status == metav1.ConditionTrue || ready.Reason == v1alpha1.ReasonSuspended {
		t.done = true
		next := "suspended"
		if s.Status.NextTime != nil {
			next = "next " + s.Status.NextTime.UTC().Format(time.RFC3339)
		}
		f.progress.Done("Scheduled", "%s: %s", s.Name, next)
		return "", nil
	}
	return waiting(s.Name, ready), t.patient(ready, s.Name, fmt.Sprintf("`knit schedule describe %s`", s.Name))
}

func (f *follower) lookAtFunction(ctx context.Context, t *tracked, fn *v1alpha1.Function) (string, error) {
	if fn.Annotations[v1alpha1.AnnotationRebuild] != fn.Status.ObservedRebuild {
		return fn.Name + ": waiting for another look at the source", nil
	}
	if err := f.tellBuild(ctx, t, fn); err != nil {
		return "", err
	}
	for _, kind := range []string{v1alpha1.ConditionBuilt, v1alpha1.ConditionDeployed, v1alpha1.ConditionWired, v1alpha1.ConditionReady} {
		c := currentCondition(fn.Status.Conditions, kind, fn.Generation)
		switch c.Status {
		case metav1.ConditionTrue:
			if !t.shown.Has(kind) {
				t.shown.Insert(kind)
				f.progress.Done(kind, "%s", fn.Name+remark(kind, fn))
			}
		case metav1.ConditionFalse:
			if kind == v1alpha1.ConditionBuilt {
				f.progress.Failed(kind, "%s: %s", fn.Name, c.Reason)
				return "", buildFailed(fn, c)
			}
			return waiting(fn.Name, c), t.patient(c, fn.Name, seeFunction(fn.Name))
		default:
			t.wrong = time.Time{}
			return waiting(fn.Name, c), nil
		}
	}
	t.done = true
	return "", nil
}

// tellBuild tells the phases of a build that runs because of this deployment.
func (f *follower) tellBuild(ctx context.Context, t *tracked, fn *v1alpha1.Function) error {
	if fn.Status.BuildRef == "" || fn.Status.ObservedGeneration != fn.Generation || t.shown.Has(v1alpha1.ConditionBuilt) {
		return nil
	}
	var build v1alpha1.Build
	err := f.cluster.Get(ctx, client.ObjectKey{Namespace: fn.Namespace, Name: fn.Status.BuildRef}, &build)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read build %s of function %s: %w", fn.Status.BuildRef, fn.Name, err)
	}
	if err != nil || f.finished.Has(string(build.UID)) {
		return nil
	}
	for _, phase := range build.Status.Phases {
		key := "phase " + string(phase.Name)
		if phase.State == v1alpha1.PhaseRunning {
			f.progress.Doing("%s: %s", fn.Name, phase.Name)
		}
		if phase.State == v1alpha1.PhaseSucceeded && !t.shown.Has(key) {
			t.shown.Insert(key)
			f.progress.Took("  "+string(phase.Name), took(phase), "%s", fn.Name)
		}
	}
	return nil
}

func took(phase v1alpha1.BuildPhase) time.Duration {
	if phase.StartTime == nil || phase.FinishTime == nil {
		return 0
	}
	return phase.FinishTime.Sub(phase.StartTime.Time)
}

// patient returns an error once a condition has been False for too long, and how
// to see more.
func (t *tracked) patient(c metav1.Condition, name, see string) error {
	if c.Status != metav1.ConditionFalse {
		t.wrong = time.Time{}
		return nil
	}
	now := time.Now()
	if t.wrong.IsZero() {
		t.wrong = now
	}
	if now.Sub(t.wrong) < patience {
		return nil
	}
	return cmdline.Advise(fmt.Errorf("%s is not %s: %s: %s", name, strings.ToLower(c.Type), c.Reason, c.Message), "see the whole state with %s", see)
}

func seeFunction(name string) string {
	return fmt.Sprintf("`knit describe %s`, its output with `knit logs %s`", name, name)
}

func buildFailed(fn *v1alpha1.Function, c metav1.Condition) error {
	err := fmt.Errorf("build of %s failed: %s: %s", fn.Name, c.Reason, c.Message)
	if fn.Status.BuildRef == "" {
		return cmdline.Advise(err, "see the whole state with `knit describe %s -n %s`", fn.Name, fn.Namespace)
	}
	return cmdline.Advise(err, "see the whole log with `knit logs --build %s -n %s`, correct the source and deploy again; to build the same source again, run `knit build` in its folder",
		fn.Name, fn.Namespace)
}

// remark is what a person wants to know of a condition that came true.
func remark(kind string, fn *v1alpha1.Function) string {
	switch {
	case kind == v1alpha1.ConditionBuilt && fn.Status.Image != "":
		return ": " + fn.Status.Image
	case kind == v1alpha1.ConditionDeployed && fn.Status.LatestReadyRevision != "":
		return ": revision " + fn.Status.LatestReadyRevision
	case kind == v1alpha1.ConditionWired && len(fn.Spec.Events) > 0:
		return ": " + plural(len(fn.Spec.Events), "event source")
	case kind == v1alpha1.ConditionReady:
		return ": " + fn.Status.URL
	}
	return ""
}

func waiting(name string, c metav1.Condition) string {
	text := fmt.Sprintf("%s: %s: %s", name, c.Type, c.Reason)
	if c.Message != "" {
		first, _, _ := strings.Cut(c.Message, "\n")
		text += ": " + first
	}
	return text
}

// currentCondition is a condition about the given generation, or an unknown
// one: what was said of an older spec says nothing of this one.
func currentCondition(conditions []metav1.Condition, kind string, generation int64) metav1.Condition {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.ObservedGeneration != generation {
		return v1alpha1.Unknown(kind, v1alpha1.ReasonPending, "")
	}
	return *c
}
