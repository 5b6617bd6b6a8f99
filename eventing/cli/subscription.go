package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

var subscriptionKind = messagingv1.SchemeGroupVersion.WithKind("Subscription")

var subscriptions = noun{
	word: "subscription", plural: "subscriptions",
	hint:    "Create one: knit subscription create NAME --channel CHANNEL --to FUNCTION",
	kinds:   known(subscriptionKind),
	columns: []string{"CHANNEL", "SUBSCRIBER", "REPLY"},
	wide:    []string{"SUBSCRIBER ADDRESS", "REPLY ADDRESS", "DEAD LETTERS"},
	cells: func(o *unstructured.Unstructured) []string {
		s := read[messagingv1.Subscription](o)
		resolved := s.Status.PhysicalSubscription
		return []string{
			subscribedChannel(s), sinkText(s.Spec.Subscriber, s.Namespace), sinkText(s.Spec.Reply, s.Namespace),
			resolved.SubscriberURI.String(), resolved.ReplyURI.String(), deadLetters(o),
		}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		s := read[messagingv1.Subscription](o)
		resolved := s.Status.PhysicalSubscription
		return []fact{
			{"Channel", subscribedChannel(s)},
			{"Subscriber", sinkText(s.Spec.Subscriber, s.Namespace)},
			{"Subscriber address", resolved.SubscriberURI.String()},
			{"Reply", sinkText(s.Spec.Reply, s.Namespace)},
			{"Reply address", resolved.ReplyURI.String()},
			{"Dead letter address", resolved.DeadLetterSinkURI.String()},
		}
	},
}

func subscribedChannel(s *messagingv1.Subscription) string {
	return strings.TrimPrefix(referenceText(&s.Spec.Channel, s.Namespace), "channel:")
}

func createSubscription(env *cmdline.Env) *cobra.Command {
	var channel, to, reply string
	var delivery deliveryFlags
	cmd := createCommand(env, subscriptions, "Create a subscription, which sends events of a channel to a sink",
		"  knit subscription create billing --channel orders --to billing --reply channel:billed",
		"Every event of the channel goes to the sink; what the sink answers goes to --reply.\n\n"+sinkHelp,
		func(_ context.Context, c *creation) (*unstructured.Unstructured, error) {
			if channel == "" {
				return nil, cmdline.Usagef("say whose events it sends: add --channel CHANNEL")
			}
			subscriber, err := c.sink("to", to)
			if err != nil {
				return nil, err
			}
			answer, err := c.optional("reply", reply)
			if err != nil {
				return nil, err
			}
			deliver, err := delivery.spec(c)
			if err != nil {
				return nil, err
			}
			// The field takes no namespace: a channel is of the subscription's own.
			of := duckv1.KReference{APIVersion: channelKind.GroupVersion().String(), Kind: channelKind.Kind, Name: channel}
			there := of
			there.Namespace = c.namespace
			c.needs = append(c.needs, need{"channel", &there})
			return newObject(subscriptionKind, messagingv1.SubscriptionSpec{Channel: of, Subscriber: &subscriber, Reply: answer, Delivery: deliver})
		})
	flags := cmd.Flags()
	flags.StringVar(&channel, "channel", "", "channel whose events it sends")
	flags.StringVar(&to, "to", "", "SINK that gets the events")
	flags.StringVar(&reply, "reply", "", "SINK that gets what the first answers")
	delivery.add(flags)
	_ = cmd.RegisterFlagCompletionFunc("channel", completeNames(env, channels, true))
	return cmd
}
