package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func describeCommand(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a function: its state and why, its build, its events and schedules",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return describe(cmd.Context(), env, args[0], format)
		},
	}
	format.AddOutput(cmd)
	return cmd
}

func describe(ctx context.Context, env *cmdline.Env, name string, format cmdline.Format) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).One(format, function); done {
		return err
	}
	d := description{function: function, now: env.Now()}
	if ref := function.Status.BuildRef; ref != "" {
		var build v1alpha1.Build
		err := cluster.Get(ctx, client.ObjectKey{Namespace: function.Namespace, Name: ref}, &build)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read build %s: %w", ref, err)
		}
		if err == nil {
			d.build = &build
		}
	}
	var schedules v1alpha1.ScheduleList
	if err := cluster.List(ctx, &schedules, client.InNamespace(function.Namespace)); err != nil {
		return fmt.Errorf("list the schedules of function %s: %w", name, err)
	}
	for _, s := range schedules.Items {
		if ref := s.Spec.Sink.Ref; ref != nil && ref.Kind == v1alpha1.KindFunction && ref.Name == name {
			d.schedules = append(d.schedules, s)
		}
	}
	return d.write(env.Out)
}

// description is all that is told about a function.
type description struct {
	function  *v1alpha1.Function
	build     *v1alpha1.Build // nil when there is none
	schedules []v1alpha1.Schedule
	now       time.Time
}

func (d description) write(to io.Writer) error {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	f := d.function
	line(out, "Name", f.Name)
	line(out, "Namespace", f.Namespace)
	line(out, "Age", age(f, d.now))
	line(out, "URL", f.Status.URL)
	line(out, "Source", sourceText(f.Spec.Source))
	line(out, "Commit", f.Status.SourceRevision)
	line(out, "Image", f.Status.Image)
	line(out, "Revision", f.Status.LatestReadyRevision)
	line(out, "Traffic", trafficText(f))
	line(out, "Visibility", string(f.Spec.Reach()))
	line(out, "Timeout", f.Spec.RequestTimeout().String())
	line(out, "Scale", scaleText(f.Spec.Scale))
	d.conditions(out)
	d.phases(out)
	d.events(out)
	d.times(out)
	return out.Flush()
}

func (d description) conditions(out io.Writer) {
	fmt.Fprintln(out, "Conditions:")
	for _, kind := range []string{v1alpha1.ConditionBuilt, v1alpha1.ConditionDeployed, v1alpha1.ConditionWired, v1alpha1.ConditionReady} {
		c := currentCondition(d.function.Status.Conditions, kind, d.function.Generation)
		since := ""
		if !c.LastTransitionTime.IsZero() {
			since = d.now.Sub(c.LastTransitionTime.Time).Truncate(time.Second).String()
		}
		fmt.Fprintf(out, "  %s\t%s\t%s\t%s\n", kind, c.Status, c.Reason, since)
		if c.Status != metav1.ConditionTrue && c.Message != "" {
			fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(c.Message, "\n", "\n    "))
		}
	}
}

func (d description) phases(out io.Writer) {
	if d.build == nil {
		return
	}
	cache := "without cache"
	if d.build.Status.CacheUsed {
		cache = "with cache"
	}
	fmt.Fprintf(out, "Build:\t%s, %s\n", d.build.Name, cache)
	for _, phase := range d.build.Status.Phases {
		fmt.Fprintf(out, "  %s\t%s\t%.2fs\n", phase.Name, phase.State, took(phase).Seconds())
	}
}

func (d description) events(out io.Writer) {
	if len(d.function.Spec.Events) == 0 {
		return
	}
	fmt.Fprintln(out, "Events:")
	for _, e := range d.function.Spec.Events {
		from, chosen := "broker "+e.BrokerName(), "all"
		switch {
		case e.Source != nil:
			from = "source " + e.Source.Kind
		case e.Channel != "":
			from = "channel " + e.Channel
		case len(e.Filters) > 0:
			chosen = plural(len(e.Filters), "filter")
		}
		fmt.Fprintf(out, "  %s\t%s%s\n", from, chosen, hops(e))
	}
}

// hops says where events go on to: answers, and what could not be delivered.
func hops(e v1alpha1.EventSource) string {
	text := ""
	if e.Reply != nil {
		text += ", replies to " + destination(e.Reply)
	}
	if e.Delivery != nil && e.Delivery.DeadLetterSink != nil {
		text += ", dead letters to " + destination(e.Delivery.DeadLetterSink)
	}
	return text
}

func destination(d *v1alpha1.Destination) string {
	if d.Ref != nil {
		return strings.ToLower(d.Ref.Kind) + " " + d.Ref.Name
	}
	return d.URI
}

func (d description) times(out io.Writer) {
	if len(d.schedules) == 0 {
		return
	}
	fmt.Fprintln(out, "Schedules:")
	for _, s := range d.schedules {
		next := "-"
		if s.Status.NextTime != nil {
			next = s.Status.NextTime.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(out, "  %s\t%s\tnext %s\n", s.Name, s.Spec.When(), next)
	}
}

func line(out io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(out, "%s:\t%s\n", name, value)
	}
}

// trafficText says how requests are shared out, when not all go to the newest
// ready revision.
func trafficText(f *v1alpha1.Function) string {
	if r := f.Spec.Rollback; r != nil && r.From == f.Status.LatestReadyRevision {
		return fmt.Sprintf("rolled back to %s until a revision after %s is ready", r.To, r.From)
	}
	if len(f.Spec.Traffic) == 0 {
		return ""
	}
	var parts []string
	for _, share := range f.Status.Traffic {
		if share.Percent > 0 {
			parts = append(parts, fmt.Sprintf("%d%% %s", share.Percent, share.Revision))
		}
	}
	return strings.Join(parts, ", ")
}

func sourceText(s v1alpha1.Source) string {
	switch {
	case s.Archive != nil && s.Path != "":
		return fmt.Sprintf("folder %s, %s", s.Path, s.Archive.Digest)
	case s.Archive != nil:
		return s.Archive.Digest
	}
	if s.Git != nil {
		return gitText(s.Git)
	}
	return "image " + s.Image
}

func gitText(g *v1alpha1.GitSource) string {
	text := "git " + g.URL
	if g.Revision != "" {
		text += " at " + g.Revision
	}
	if g.Path != "" {
		text += ", folder " + g.Path
	}
	return text
}

func scaleText(s v1alpha1.Scale) string {
	low, high := "0", "the platform's limit"
	if s.Min != nil {
		low = fmt.Sprint(*s.Min)
	}
	if s.Max != nil && *s.Max > 0 {
		high = fmt.Sprint(*s.Max)
	}
	return low + " to " + high
}
