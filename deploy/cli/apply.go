package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// fieldOwner is the installer's name in managed fields.
const fieldOwner = client.FieldOwner("knit-install")

// pollEvery is how often a wait looks again.
const pollEvery = 250 * time.Millisecond

// newScheme holds every kind that the installer reads or writes.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(apiregistrationv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// stage is a part of the manifests that must be there before the next.
type stage struct {
	name  string
	kinds []string // nil: all that is left
}

var stages = []stage{
	{"Namespaces", []string{"Namespace"}},
	{"Kinds", []string{"CustomResourceDefinition"}},
	{"Rights", []string{"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}},
	{"Settings", []string{"ConfigMap", "Secret", "NetworkPolicy"}},
	{"Workloads", nil},
}

// split returns the objects of each stage, in the order given.
func split(objects []*unstructured.Unstructured) [][]*unstructured.Unstructured {
	parts := make([][]*unstructured.Unstructured, len(stages))
	for _, object := range objects {
		i := slices.IndexFunc(stages, func(s stage) bool { return s.kinds == nil || slices.Contains(s.kinds, object.GetKind()) })
		parts[i] = append(parts[i], object)
	}
	return parts
}

// apply makes one object as the manifests say. What others set stays.
func apply(ctx context.Context, c client.Client, object *unstructured.Unstructured) error {
	err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), fieldOwner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s: %w", describe(object), err)
	}
	return nil
}

// describe names an object as a person would.
func describe(object client.Object) string {
	kind := object.GetObjectKind().GroupVersionKind().Kind
	if object.GetNamespace() == "" {
		return kind + " " + object.GetName()
	}
	return fmt.Sprintf("%s %s/%s", kind, object.GetNamespace(), object.GetName())
}

// waitFor asks until the object is as wanted. check returns what is missing,
// or "" when nothing is. An absent object and an unreachable server count as
// missing too: both happen while a cluster settles.
func waitFor(ctx context.Context, c client.Client, object client.Object, what string, check func() string) error {
	key, missing := client.ObjectKeyFromObject(object), "not there yet"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, key, object)
		switch {
		case ctx.Err() != nil:
			return false, nil
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return false, err
		case err != nil:
			missing = err.Error()
		default:
			missing = check()
		}
		return err == nil && missing == "", nil
	})
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return cmdline.Timeout(fmt.Errorf("wait for %s: %s", what, missing))
	}
	return fmt.Errorf("wait for %s: %w", what, err)
}

// established waits until the API server serves a kind.
func established(ctx context.Context, c client.Client, name string) error {
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return waitFor(ctx, c, crd, "kind "+name, func() string {
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return ""
			}
			if condition.Type == apiextensionsv1.NamesAccepted && condition.Status == apiextensionsv1.ConditionFalse {
				return condition.Message
			}
		}
		return "not established"
	})
}

// available waits until every replica of a Deployment is of the wanted
// version and ready.
func available(ctx context.Context, c client.Client, namespace, name string) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	what := fmt.Sprintf("Deployment %s/%s", namespace, name)
	err := waitFor(ctx, c, d, what, func() string { return unavailable(d) })
	if err != nil {
		return cmdline.Advise(err, "look at `kubectl -n %s describe pods` and `kubectl -n %s logs deployment/%s`", namespace, namespace, name)
	}
	return nil
}

func unavailable(d *appsv1.Deployment) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration < d.Generation {
		return "not looked at yet"
	}
	if d.Status.UpdatedReplicas >= want && d.Status.AvailableReplicas >= want && d.Status.Replicas == d.Status.UpdatedReplicas {
		return ""
	}
	for _, condition := range d.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Type == appsv1.DeploymentProgressing ||
			condition.Status == corev1.ConditionTrue && condition.Type == appsv1.DeploymentReplicaFailure {
			return condition.Message
		}
	}
	return fmt.Sprintf("%d of %d replicas are ready", min(d.Status.UpdatedReplicas, d.Status.AvailableReplicas), want)
}

// served waits until the API server can reach the extension API.
func served(ctx context.Context, c client.Client, name string) error {
	api := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := waitFor(ctx, c, api, "APIService "+name, func() string {
		for _, condition := range api.Status.Conditions {
			if condition.Type != apiregistrationv1.Available {
				continue
			}
			if condition.Status == apiregistrationv1.ConditionTrue {
				return ""
			}
			return condition.Message
		}
		return "not looked at yet"
	})
	if err != nil {
		return cmdline.Advise(err, "the API server must reach Service %s/%s: look at `kubectl get apiservice %s -o yaml`", systemNamespace, serviceName, name)
	}
	return nil
}
