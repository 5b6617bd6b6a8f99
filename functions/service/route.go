package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// AddToScheme registers the kinds that this server reads.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, servingv1.AddToScheme, netv1alpha1.AddToScheme, eventingv1.AddToScheme, messagingv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// route is how a function is reached inside of the cluster.
type route struct {
	gateway string // host:port to connect to
	host    string // name by which the gateway knows the function
}

// routes finds the way to functions.
//
// It follows Knative's Ingress, which tenants cannot write, and no URL of a
// status, nor the Service by which Knative's name for a function resolves: both
// are in the tenant's hands, and would lead the control plane anywhere.
type routes struct {
	reader client.Reader
}

func (r routes) find(ctx context.Context, key types.NamespacedName) (route, error) {
	var fn v1alpha1.Function
	if err := r.reader.Get(ctx, key, &fn); apierrors.IsNotFound(err) {
		return route{}, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(resourceFunctions).GroupResource(), key.Name)
	} else if err != nil {
		return route{}, fmt.Errorf("%w %s: read the Function: %w", errRoute, key, hidden(err))
	}
	var service servingv1.Service
	if err := r.reader.Get(ctx, key, &service); client.IgnoreNotFound(err) != nil {
		return route{}, fmt.Errorf("%w %s: read the Knative Service: %w", errRoute, key, hidden(err))
	} else if err != nil || !metav1.IsControlledBy(&service, &fn) {
		return route{}, notReady(key, state(&fn))
	}
	var ingress netv1alpha1.Ingress
	if err := r.reader.Get(ctx, key, &ingress); client.IgnoreNotFound(err) != nil {
		return route{}, fmt.Errorf("%w %s: read Knative's Ingress: %w", errRoute, key, hidden(err))
	} else if err != nil {
		return route{}, notReady(key, state(&fn))
	}
	way := route{gateway: gatewayOf(&ingress), host: hostOf(&ingress)}
	if way.gateway == "" || way.host == "" {
		return route{}, notReady(key, "the ingress of this cluster has not said yet by which gateway it is reached inside of the cluster")
	}
	return way, nil
}

// hidden drops the kind of an API error: that the control plane may not read
// something is not the caller's doing.
func hidden(err error) error { return errors.New(err.Error()) }

// state is what keeps a function from being called, in its own words.
func state(fn *v1alpha1.Function) string {
	ready := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return "it has just been made or is being changed"
	}
	return "it is not ready: " + strings.TrimSuffix(ready.Reason+": "+ready.Message, ": ")
}

// gatewayOf is the gateway for requests from inside of the cluster.
func gatewayOf(ingress *netv1alpha1.Ingress) string {
	balancer := ingress.Status.PrivateLoadBalancer
	if balancer == nil {
		return ""
	}
	for _, at := range balancer.Ingress {
		if at.DomainInternal != "" {
			return net.JoinHostPort(at.DomainInternal, "80")
		}
	}
	return ""
}

// hostOf is the function's full name inside of the cluster, whatever the
// cluster's domain is.
func hostOf(ingress *netv1alpha1.Ingress) string {
	full := ""
	for _, rule := range ingress.Spec.Rules {
		if rule.Visibility != netv1alpha1.IngressVisibilityClusterLocal {
			continue
		}
		for _, host := range rule.Hosts {
			if strings.HasPrefix(host, ingress.Name+"."+ingress.Namespace+".svc") && len(host) > len(full) {
				full = host
			}
		}
	}
	return full
}
