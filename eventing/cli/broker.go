package cli

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

var brokerKind = eventingv1.SchemeGroupVersion.WithKind("Broker")

var brokers = noun{
	word: "broker", plural: "brokers",
	hint:    "Create one: knit broker create default",
	kinds:   known(brokerKind),
	columns: []string{"URL", "CLASS"},
	wide:    []string{"DEAD LETTERS"},
	cells: func(o *unstructured.Unstructured) []string {
		return []string{addressText(o), brokerClass(o), deadLetters(o)}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		b := read[eventingv1.Broker](o)
		return []fact{{"Class", brokerClass(o)}, {"Configuration", referenceText(b.Spec.Config, b.Namespace)}}
	},
}

func brokerClass(o *unstructured.Unstructured) string {
	return o.GetAnnotations()[eventingv1.BrokerClassAnnotationKey]
}

func createBroker(env *cmdline.Env) *cobra.Command {
	var class string
	var delivery deliveryFlags
	cmd := createCommand(env, brokers, "Create a broker, which takes events and hands them to triggers",
		"  knit broker create default\n  knit broker create orders --retry 5 --dead-letter undelivered",
		"What a broker does with events that are not taken applies to its triggers, unless they say otherwise.\n\n"+sinkHelp,
		func(_ context.Context, c *creation) (*unstructured.Unstructured, error) {
			spec, err := delivery.spec(c)
			if err != nil {
				return nil, err
			}
			object, err := newObject(brokerKind, eventingv1.BrokerSpec{Delivery: spec})
			if err == nil && class != "" {
				object.SetAnnotations(map[string]string{eventingv1.BrokerClassAnnotationKey: class})
			}
			return object, err
		})
	cmd.Flags().StringVar(&class, "class", "", "class of the broker, such as MTChannelBasedBroker (default: the cluster's)")
	delivery.add(cmd.Flags())
	return cmd
}
