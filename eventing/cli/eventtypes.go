package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	eventingv1beta2 "knative.dev/eventing/pkg/apis/eventing/v1beta2"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// eventTypes are the types of events that brokers and sources say they have.
var eventTypes = noun{
	word: "event type", plural: "event types",
	hint: "Sources announce them, and brokers where Knative's feature eventtype-auto-create is on.",
	// The version that Knative 0.50 stores.
	kinds:   known(eventingv1beta2.SchemeGroupVersion.WithKind("EventType")),
	columns: []string{"TYPE", "SOURCE", "SCHEMA", "REFERENCE"},
	wide:    []string{"DESCRIPTION"},
	cells: func(o *unstructured.Unstructured) []string {
		e := read[eventingv1beta2.EventType](o)
		from := referenceText(e.Spec.Reference, e.Namespace)
		if from == "" && e.Spec.Broker != "" {
			from = "broker:" + e.Spec.Broker
		}
		return []string{e.Spec.Type, e.Spec.Source.String(), e.Spec.Schema.String(), from, strings.TrimSpace(e.Spec.Description)}
	},
}

// eventTypesCommand lists types of events.
func eventTypesCommand(env *cmdline.Env) *cobra.Command {
	cmd := listCommand(env, eventTypes)
	cmd.Use, cmd.Aliases = "types", nil
	cmd.Short = "List the types of events that are known, with what has them"
	return cmd
}
