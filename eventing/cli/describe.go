package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// describeCommand describes one object of a noun.
func describeCommand(env *cmdline.Env, n noun) *cobra.Command {
	var format cmdline.Format
	var kindName string
	cmd := &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a " + n.word + ": what it does, where it is, its state and why",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(env, n, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return describe(cmd.Context(), env, n, kindName, args[0], format)
		},
	}
	format.AddOutput(cmd)
	addKind(env, cmd, n, &kindName)
	return cmd
}

func describe(ctx context.Context, env *cmdline.Env, n noun, kindName, name string, format cmdline.Format) error {
	cluster, kinds, err := connectTo(ctx, env, n, kindName)
	if err != nil {
		return err
	}
	object, err := n.find(ctx, cluster, kinds, name)
	if err != nil {
		return err
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).One(format, object); done {
		return err
	}
	out := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	for _, f := range n.description(env, object) {
		f.write(out)
	}
	conditions(out, env, object)
	return out.Flush()
}

// description is all facts about an object, in the order of reading.
func (n noun) description(env *cmdline.Env, object *unstructured.Unstructured) []fact {
	about := read[shared](object)
	facts := []fact{
		{"Name", object.GetName()},
		{"Namespace", object.GetNamespace()},
		{"Kind", object.GetKind() + ", " + object.GetAPIVersion()},
		{"Age", age(env, object)},
	}
	facts = append(facts, n.facts(object)...)
	facts = append(facts, addressFacts(about)...)
	facts = append(facts, deliveryFacts(about.Spec.Delivery, object.GetNamespace())...)
	return append(facts, fact{"Dead letter address", about.Status.DeadLetterSinkURI.String()})
}

// write writes a fact as plain text, with the further lines of its value below.
func (f fact) write(out io.Writer) {
	value := strings.TrimRight(f.value, "\n")
	if value == "" {
		return
	}
	if !strings.Contains(value, "\n") {
		fmt.Fprintf(out, "%s:\t%s\n", f.name, cmdline.Plain(value))
		return
	}
	fmt.Fprintf(out, "%s:\n", f.name)
	for line := range strings.Lines(value) {
		fmt.Fprintf(out, "  %s\n", cmdline.Plain(strings.TrimSuffix(line, "\n")))
	}
}

// conditions writes the conditions, those that are not True with their message.
func conditions(out io.Writer, env *cmdline.Env, object *unstructured.Unstructured) {
	status := read[shared](object).Status
	if len(status.Conditions) == 0 {
		fmt.Fprintln(out, "Conditions:\tnone yet")
		return
	}
	fmt.Fprintln(out, "Conditions:")
	for _, c := range status.Conditions {
		since := ""
		if t := c.LastTransitionTime.Inner; !t.IsZero() {
			since = env.Now().Sub(t.Time).Truncate(time.Second).String()
		}
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", cmdline.Plain(string(c.Type)), cmdline.Plain(string(c.Status)), cmdline.Plain(c.Reason), since)
		if c.IsTrue() || c.Message == "" {
			continue
		}
		for line := range strings.Lines(c.Message) {
			fmt.Fprintf(out, "    %s\n", cmdline.Plain(strings.TrimSuffix(line, "\n")))
		}
	}
	if seen := status.ObservedGeneration; seen != 0 && seen != object.GetGeneration() {
		fmt.Fprintf(out, "  These are of generation %d; the object is at %d, which no controller has looked at yet.\n", seen, object.GetGeneration())
	}
}
