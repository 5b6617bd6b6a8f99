package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

var sequenceKind = flowsv1.SchemeGroupVersion.WithKind("Sequence")

var sequences = noun{
	word: "sequence", plural: "sequences",
	hint:    "Create one: knit sequence create NAME --step FUNCTION --step FUNCTION",
	kinds:   known(sequenceKind),
	columns: []string{"URL", "STEPS", "REPLY"},
	cells: func(o *unstructured.Unstructured) []string {
		s := read[flowsv1.Sequence](o)
		return []string{addressText(o), strings.Join(stepTexts(s), " > "), sinkText(s.Spec.Reply, s.Namespace)}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		s := read[flowsv1.Sequence](o)
		facts := []fact{{"Channels of type", channelType(s.Spec.ChannelTemplate)}}
		for i, text := range stepTexts(s) {
			facts = append(facts, fact{fmt.Sprintf("Step %d", i+1), text})
		}
		return append(facts, fact{"Reply", sinkText(s.Spec.Reply, s.Namespace)})
	},
}

func stepTexts(s *flowsv1.Sequence) []string {
	var texts []string
	for i := range s.Spec.Steps {
		texts = append(texts, sinkText(&s.Spec.Steps[i].Destination, s.Namespace))
	}
	return texts
}

func createSequence(env *cmdline.Env) *cobra.Command {
	var steps []string
	var reply string
	cmd := createCommand(env, sequences, "Create a sequence, which passes an event through sinks one after another",
		"  knit sequence create order --step check --step price --step ksvc:pack --reply broker:default",
		"Each step gets what the step before answered; the answer of the last goes to --reply.\n\n"+sinkHelp,
		func(_ context.Context, c *creation) (*unstructured.Unstructured, error) {
			if len(steps) == 0 {
				return nil, cmdline.Usagef("a sequence needs a step: add --step SINK, once for each")
			}
			var spec flowsv1.SequenceSpec
			for _, raw := range steps {
				step, err := c.sink("step", raw)
				if err != nil {
					return nil, err
				}
				spec.Steps = append(spec.Steps, flowsv1.SequenceStep{Destination: step})
			}
			var err error
			if spec.Reply, err = c.optional("reply", reply); err != nil {
				return nil, err
			}
			return newObject(sequenceKind, spec)
		})
	cmd.Flags().StringArrayVar(&steps, "step", nil, "SINK of the next step; repeatable, in this order")
	cmd.Flags().StringVar(&reply, "reply", "", "SINK that gets what the last step answers")
	return cmd
}
