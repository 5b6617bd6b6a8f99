// Package cli holds the commands about events: knit event send, tap and types,
// knit deadletter, knit graph, and those for Knative's own objects, hand-written ones too: knit
// broker, trigger, channel, subscription, source, sequence and parallel. main.go assembles them.
// They reach the cluster through the API server with the caller's kubeconfig,
// and never import a controller.
package cli

import (
	"context"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	eventingv1beta2 "knative.dev/eventing/pkg/apis/eventing/v1beta2"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{
		cmdline.Parent("event", "Send and watch events, and see which types of them there are", sendCommand(env), tapCommand(env), eventTypesCommand(env)),
		deadLetterCommand(env),
		graphCommand(env),
		parent(env, brokers, createBroker(env)),
		parent(env, triggers, createTrigger(env)),
		parent(env, channels, createChannel(env)),
		parent(env, subscriptions, createSubscription(env)),
		parent(env, sources, createSource(env), sourceTypesCommand(env)),
		parent(env, sequences, createSequence(env)),
		parent(env, parallels, createParallel(env)),
	}
}

// parent returns the command of a noun.
func parent(env *cmdline.Env, n noun, more ...*cobra.Command) *cobra.Command {
	children := append([]*cobra.Command{listCommand(env, n), describeCommand(env, n), deleteCommand(env, n)}, more...)
	return cmdline.Parent(n.word, "List, describe, create and delete Knative's "+n.plural, children...)
}

// newScheme holds the kinds known beforehand: those of the nouns, those that
// may be a sink, and definitions of kinds.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		eventingv1.AddToScheme, eventingv1beta2.AddToScheme, messagingv1.AddToScheme, flowsv1.AddToScheme,
		servingv1.AddToScheme, corev1.AddToScheme, apiextensionsv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	return scheme
}

// connect opens the cluster and finds the kinds of a noun.
func connect(ctx context.Context, env *cmdline.Env, n noun) (*cmdline.Cluster, []kind, error) {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return nil, nil, err
	}
	kinds, err := n.kinds(ctx, env, cluster)
	return cluster, kinds, err
}

// explain adds the next step that fits Knative's kinds to an error of the API server.
func explain(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return cmdline.Advise(err, "ask for the ClusterRole edit (view to read only) in that namespace, which includes Knative's kinds")
	case apierrors.IsNotFound(err) && cmdline.Code(err) != cmdline.ExitNotFound:
		return cmdline.Advise(err, "install Knative Eventing on this cluster; `knit cluster up` makes one that has it")
	}
	return err
}
