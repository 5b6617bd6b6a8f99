package service

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/emission"
)

// target is an object that takes events.
type target struct {
	resource string // emission.Brokers or emission.Channels
	key      types.NamespacedName
}

func (t target) noun() string   { return strings.TrimSuffix(t.resource, "s") }
func (t target) String() string { return t.noun() + " " + t.key.String() }

// addresses finds where Brokers and Channels take events.
//
// It follows the status, which those who may edit a namespace can write: what is
// sent there goes by reconcile.Egress, and nothing of an answer is told.
type addresses struct {
	reader client.Reader
}

func (a addresses) find(ctx context.Context, to target) (string, error) {
	var status duckv1.Status
	var address duckv1.AddressStatus
	var group schema.GroupResource
	var err error
	switch to.resource {
	case emission.Brokers:
		var broker eventingv1.Broker
		group = eventingv1.SchemeGroupVersion.WithResource(to.resource).GroupResource()
		err = a.reader.Get(ctx, to.key, &broker)
		status, address = broker.Status.Status, broker.Status.AddressStatus
	case emission.Channels:
		var channel messagingv1.Channel
		group = messagingv1.SchemeGroupVersion.WithResource(to.resource).GroupResource()
		err = a.reader.Get(ctx, to.key, &channel)
		status, address = channel.Status.Status, channel.Status.AddressStatus
	default:
		return "", fmt.Errorf("events cannot be sent to %s", to.resource)
	}
	switch {
	case apierrors.IsNotFound(err):
		return "", apierrors.NewNotFound(group, to.key.Name)
	case err != nil:
		return "", fmt.Errorf("read %s: %w", to, hidden(err))
	}
	if url := plain(address); url != "" {
		return url, nil
	}
	return "", statusError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		fmt.Sprintf("%s has no address yet%s; see `knit %s describe %s -n %s`", to, unready(status), to.noun(), to.key.Name, to.key.Namespace))
}

// plain is the address without TLS where there are both: inside of the cluster an
// authority of its own would have to be trusted for the other.
func plain(status duckv1.AddressStatus) string {
	for _, address := range status.Addresses {
		if address.URL != nil && address.URL.Scheme == "http" {
			return address.URL.String()
		}
	}
	if status.Address == nil || status.Address.URL == nil {
		return ""
	}
	return status.Address.URL.String()
}

// unready is what an object says of why it is not ready.
func unready(status duckv1.Status) string {
	ready := status.GetCondition(apis.ConditionReady)
	if ready == nil || ready.IsTrue() || ready.Reason+ready.Message == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(ready.Reason+": "+ready.Message, ": ")
}
