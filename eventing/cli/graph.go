package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/eventing/graph"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// graphFormat is a value of --output of `knit graph`.
type graphFormat string

// graphWriters write a graph in each format.
var graphWriters = map[graphFormat]func(io.Writer, *graph.Graph) error{
	"text": graph.Text, "json": graph.JSON, "yaml": writeYAML, "dot": graph.DOT, "mermaid": graph.Mermaid,
}

var graphFormats = []string{"text", "json", "yaml", "dot", "mermaid"}

// String is the value as a flag shows it.
func (f *graphFormat) String() string { return string(*f) }

// Type names the value in help.
func (f *graphFormat) Type() string { return strings.Join(graphFormats, "|") }

// Set takes the value of a flag.
func (f *graphFormat) Set(value string) error {
	if !slices.Contains(graphFormats, value) {
		return fmt.Errorf("%q is none of %s", value, strings.Join(graphFormats, ", "))
	}
	*f = graphFormat(value)
	return nil
}

func writeYAML(out io.Writer, g *graph.Graph) error {
	_, err := cmdline.PrintValue(out, cmdline.YAML, g)
	return err
}

func graphCommand(env *cmdline.Env) *cobra.Command {
	var everywhere bool
	format := graphFormat("text")
	cmd := &cobra.Command{
		Use:   "graph",
		Short: "Show who sends events to whom",
		Long: "Show who sends events to whom: from sources and schedules over brokers, channels and flows to functions,\n" +
			"their replies and dead letters, with what is not ready or missing, and the ways on which events may loop.\n\n" +
			"Only what objects say is shown. An event that a program sends by itself to an address of its own is not.",
		Example: "  knit graph\n" +
			"  knit graph -A -o dot | dot -Tsvg >events.svg",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showGraph(cmd.Context(), env, everywhere, format)
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "events of all namespaces")
	cmd.Flags().VarP(&format, "output", "o", "output format")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(graphFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func showGraph(ctx context.Context, env *cmdline.Env, everywhere bool, format graphFormat) error {
	cluster, err := env.Connect(graphScheme())
	if err != nil {
		return err
	}
	namespace := cluster.Namespace
	if everywhere {
		namespace = ""
	}
	read := newReading(cluster, namespace)
	if err := read.all(ctx); err != nil {
		return err
	}
	g := graph.Build(read.objects)
	g.Omitted = read.omitted()
	for _, o := range g.Omitted {
		fmt.Fprintf(env.Err, "left out: %s: %s\n", o.Kind, o.Reason)
	}
	if len(g.Nodes) == 0 && format == "text" {
		where := "in namespace " + namespace
		if everywhere {
			where = "in any namespace"
		}
		fmt.Fprintf(env.Err, "Nothing sends or takes events %s. Deploy a function with events: knit deploy samples/hello\n", where)
	}
	return graphWriters[format](env.Out, g)
}
