package cli

import (
	"context"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// labelSubscribable marks definitions of kinds that work as channels.
const labelSubscribable = "messaging.knative.dev/subscribable"

var channelKind = messagingv1.SchemeGroupVersion.WithKind("Channel")

var channels = noun{
	word: "channel", plural: "channels",
	hint:    "Create one: knit channel create NAME",
	kinds:   known(channelKind),
	columns: []string{"URL", "TYPE"},
	wide:    []string{"DEAD LETTERS"},
	cells: func(o *unstructured.Unstructured) []string {
		return []string{addressText(o), channelType(read[messagingv1.Channel](o).Spec.ChannelTemplate), deadLetters(o)}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		c := read[messagingv1.Channel](o)
		facts := []fact{{"Type", channelType(c.Spec.ChannelTemplate)}, {"Made of", referenceText(c.Status.Channel, c.Namespace)}}
		var subscribers string
		for _, s := range c.Spec.Subscribers {
			subscribers += s.SubscriberURI.String() + "\n"
		}
		return append(facts, fact{"Subscribers", subscribers})
	},
}

func channelType(template *messagingv1.ChannelTemplateSpec) string {
	if template == nil {
		return ""
	}
	return template.Kind
}

func createChannel(env *cmdline.Env) *cobra.Command {
	var kindName string
	cmd := createCommand(env, channels, "Create a channel, which hands every event to all of its subscriptions",
		"  knit channel create orders\n  knit channel create orders --type InMemoryChannel",
		"The type of a channel cannot change. One that is named is looked up in the cluster, with --dry-run too.",
		func(ctx context.Context, c *creation) (*unstructured.Unstructured, error) {
			template, err := c.channelTemplate(ctx, kindName)
			if err != nil {
				return nil, err
			}
			return newObject(channelKind, messagingv1.ChannelSpec{ChannelTemplate: template})
		})
	cmd.Flags().StringVar(&kindName, "type", "", "kind that the channel is made of, such as InMemoryChannel (default: the cluster's)")
	return cmd
}

// channelTemplate names the kind that a channel is made of, nil for the
// cluster's default.
func (c *creation) channelTemplate(ctx context.Context, kindName string) (*messagingv1.ChannelTemplateSpec, error) {
	if kindName == "" {
		return nil, nil
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	kinds, err := definitions(ctx, c.cluster, labelSubscribable)
	if err != nil {
		return nil, err
	}
	// A Channel is made of another kind, never of itself.
	var real []kind
	for _, k := range kinds {
		if k.GroupKind() != channelKind.GroupKind() {
			real = append(real, k)
		}
	}
	chosen, err := choose(real, kindName, c.noun.word)
	if err != nil {
		return nil, err
	}
	return &messagingv1.ChannelTemplateSpec{TypeMeta: metav1.TypeMeta{APIVersion: chosen.GroupVersion().String(), Kind: chosen.Kind}}, nil
}
