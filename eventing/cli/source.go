package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

var sources = noun{
	word: "source", plural: "sources",
	hint:    "See what there could be: knit source types",
	kinds:   sourceKinds,
	choice:  "kind of the source, where two have the same name",
	columns: []string{"KIND", "SINK"},
	wide:    []string{"SINK ADDRESS", "API VERSION"},
	cells: func(o *unstructured.Unstructured) []string {
		s := read[duckv1.Source](o)
		return []string{o.GetKind(), sinkText(&s.Spec.Sink, o.GetNamespace()), s.Status.SinkURI.String(), o.GetAPIVersion()}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		s := read[duckv1.Source](o)
		var types string
		for _, a := range s.Status.CloudEventAttributes {
			types += spaced(a.Type, "from", a.Source) + "\n"
		}
		return []fact{
			{"Sink", sinkText(&s.Spec.Sink, o.GetNamespace())},
			{"Sink address", s.Status.SinkURI.String()},
			{"Sends", types},
			{"Spec", specText(o)},
		}
	},
}

// specText is the spec of a source without its sink, in YAML.
func specText(o *unstructured.Unstructured) string {
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	delete(spec, "sink")
	if len(spec) == 0 {
		return ""
	}
	raw, _ := yaml.Marshal(spec)
	return string(raw)
}

// sourceKinds finds every installed kind of source, and makes the client know
// them. Definitions are no tenant's: who may not read them is shown Knative's
// own kinds at least.
func sourceKinds(ctx context.Context, env *cmdline.Env, c *cmdline.Cluster) ([]kind, error) {
	kinds, err := definitions(ctx, c, labelSource)
	if apierrors.IsForbidden(err) {
		fmt.Fprintln(env.Err, "note: you may not list customresourcedefinitions, so only the kinds of source that Knative comes with are looked at")
		kinds, err = ownSources(), nil
	}
	if err != nil {
		return nil, explain(err)
	}
	if len(kinds) == 0 {
		err := errors.New("this cluster has no kind of source: no definition is labelled " + labelSource + "=true")
		return nil, cmdline.Advise(err, "install Knative Eventing, or the sources that you need")
	}
	return kinds, learn(c, kinds)
}

// ownSources are the kinds that Knative Eventing comes with.
func ownSources() []kind {
	var kinds []kind
	for _, name := range []string{"ApiServerSource", "ContainerSource", "PingSource", "SinkBinding"} {
		kinds = append(kinds, kind{GroupVersionKind: sourcesv1.SchemeGroupVersion.WithKind(name)})
	}
	return kinds
}

// sourceTypesCommand lists the kinds of source.
func sourceTypesCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "types",
		Short: "List the kinds of source that are installed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, kinds, err := connect(cmd.Context(), env, sources)
			if err != nil {
				return err
			}
			table := cmdline.Table{Columns: []string{"KIND", "API VERSION", "DESCRIPTION"}}
			for _, k := range kinds {
				table.Rows = append(table.Rows, []string{k.Kind, k.GroupVersion().String(), k.purpose()})
			}
			return table.Write(env.Out, cmdline.Text)
		},
	}
}
