package controller

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Unresolved says that a sink has no address, and why.
type Unresolved struct {
	// Reason is the reason of the condition that shows it.
	Reason  string
	message string
}

func (u *Unresolved) Error() string { return u.message }

func unresolved(reason, format string, args ...any) error {
	return &Unresolved{Reason: reason, message: fmt.Sprintf(format, args...)}
}

func asUnresolved(err error) (*Unresolved, bool) {
	var u *Unresolved
	ok := errors.As(err, &u)
	return u, ok
}

// Addresses finds addresses by asking the API server for the object: anything
// that has an address in its status, in the way of Knative, and Services of
// Kubernetes.
type Addresses struct{ Reader client.Reader }

// Resolve implements Resolver. An object is only looked for in the namespace of the
// Schedule: the control plane reads on a tenant's behalf what the tenant owns.
func (r Addresses) Resolve(ctx context.Context, namespace string, sink v1alpha1.Destination) (string, error) {
	if sink.Ref == nil {
		return absolute(sink.URI, "spec.sink.uri")
	}
	ref := *sink.Ref
	what := fmt.Sprintf("%s %s/%s (%s)", ref.Kind, namespace, ref.Name, ref.APIVersion)
	if ref.APIVersion == "v1" && ref.Kind == "Service" {
		// Its address follows from its name; whether it is there shows when it
		// does not answer.
		return fmt.Sprintf("http://%s.%s.svc", ref.Name, namespace), nil
	}
	var obj unstructured.Unstructured
	obj.SetAPIVersion(ref.APIVersion)
	obj.SetKind(ref.Kind)
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &obj)
	switch {
	case apierrors.IsNotFound(err):
		return "", unresolved(v1alpha1.ReasonSinkNotFound, "the sink %s is not there; create it or change spec.sink", what)
	case meta.IsNoMatchError(err):
		return "", unresolved(v1alpha1.ReasonSinkNotFound, "the cluster has no kind %s in %s; correct spec.sink.ref", ref.Kind, ref.APIVersion)
	case apierrors.IsForbidden(err):
		return "", unresolved(v1alpha1.ReasonSinkNotFound, "Knit may not read the sink %s; a ClusterRole with the label duck.knative.dev/addressable=true allows it", what)
	case err != nil:
		return "", fmt.Errorf("read the sink %s: %w", what, err)
	}
	return addressOf(&obj, what)
}

func addressOf(obj *unstructured.Unstructured, what string) (string, error) {
	address, found, err := unstructured.NestedString(obj.Object, "status", "address", "url")
	if err == nil && found && address != "" {
		return absolute(address, "the address of "+what)
	}
	several, _, _ := unstructured.NestedSlice(obj.Object, "status", "addresses")
	for _, one := range several {
		if m, ok := one.(map[string]any); ok {
			if address, ok := m["url"].(string); ok && address != "" {
				return absolute(address, "the address of "+what)
			}
		}
	}
	return "", unresolved(v1alpha1.ReasonSinkNotReady, "the sink %s has no address yet; see `kubectl describe` of it if that lasts", what)
}

func absolute(address, what string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", unresolved(v1alpha1.ReasonSinkNotFound, "%s is %q, not an absolute http or https URL", what, address)
	}
	return address, nil
}
