package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

var triggerKind = eventingv1.SchemeGroupVersion.WithKind("Trigger")

var triggers = noun{
	word: "trigger", plural: "triggers",
	hint:    "Create one: knit trigger create NAME --broker default --to FUNCTION",
	kinds:   known(triggerKind),
	columns: []string{"BROKER", "SUBSCRIBER", "FILTER"},
	wide:    []string{"SUBSCRIBER ADDRESS", "DEAD LETTERS"},
	cells: func(o *unstructured.Unstructured) []string {
		t := read[eventingv1.Trigger](o)
		return []string{
			triggerBroker(t), sinkText(&t.Spec.Subscriber, t.Namespace), strings.Join(filterTexts(t.Spec), ", "),
			t.Status.SubscriberURI.String(), deadLetters(o),
		}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		t := read[eventingv1.Trigger](o)
		filters := filterTexts(t.Spec)
		if len(filters) == 0 {
			filters = []string{"none, every event passes"}
		}
		return []fact{
			{"Broker", triggerBroker(t)},
			{"Filter", strings.Join(filters, "\n")},
			{"Subscriber", sinkText(&t.Spec.Subscriber, t.Namespace)},
			{"Subscriber address", t.Status.SubscriberURI.String()},
		}
	},
}

// triggerBroker is the broker's name, with its namespace if it is another.
func triggerBroker(t *eventingv1.Trigger) string {
	if t.Spec.BrokerRef == nil {
		return t.Spec.Broker
	}
	return strings.TrimPrefix(referenceText(t.Spec.BrokerRef, t.Namespace), "broker:")
}

func createTrigger(env *cmdline.Env) *cobra.Command {
	var broker, to string
	var filter filterFlags
	var delivery deliveryFlags
	cmd := createCommand(env, triggers, "Create a trigger, which sends events of a broker to a sink",
		"  knit trigger create paid --broker default --filter type=com.example.order.paid --to billing\n"+
			"  knit trigger create rest --broker default --filter-cesql \"NOT (type LIKE 'com.example.%')\" --to ksvc:audit --retry 3 --backoff exponential --backoff-delay PT1S",
		"An event goes to the sink when it matches all filters; without any, every event does.\n\n"+sinkHelp,
		func(_ context.Context, c *creation) (*unstructured.Unstructured, error) {
			subscriber, err := c.sink("to", to)
			if err != nil {
				return nil, err
			}
			filters, err := filter.filters()
			if err != nil {
				return nil, err
			}
			deliver, err := delivery.spec(c)
			if err != nil {
				return nil, err
			}
			c.needs = append(c.needs, need{"broker", &duckv1.KReference{
				APIVersion: brokerKind.GroupVersion().String(), Kind: brokerKind.Kind, Namespace: c.namespace, Name: broker,
			}})
			return newObject(triggerKind, eventingv1.TriggerSpec{Broker: broker, Filters: filters, Subscriber: subscriber, Delivery: deliver})
		})
	flags := cmd.Flags()
	flags.StringVar(&broker, "broker", "default", "broker whose events it sends")
	flags.StringVar(&to, "to", "", "SINK that gets the events")
	filter.add(flags)
	delivery.add(flags)
	_ = cmd.RegisterFlagCompletionFunc("broker", completeNames(env, brokers, true))
	return cmd
}
