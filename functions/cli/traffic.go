package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// latest names, on the command line, the newest revision that is ready.
const latest = "latest"

// split is one run of `knit traffic`.
type split struct {
	shares, tags, untag []string
	timeout             time.Duration
	format              cmdline.Format
}

func trafficCommand(env *cmdline.Env) *cobra.Command {
	var s split
	cmd := &cobra.Command{
		Use:   "traffic NAME [REVISION=PERCENT...]",
		Short: "Show or change how requests are shared out between revisions",
		Long: "Show or change how requests are shared out between the revisions of a function.\n\n" +
			"REVISION is a name from `knit revisions`, or latest: whatever revision is the newest that is ready.\n" +
			"The percents add up to 100. A tag gives a revision a URL of its own.",
		Example: "  knit traffic hello\n  knit traffic hello hello-00001=90 latest=10\n" +
			"  knit traffic hello latest=100\n  knit traffic hello --tag hello-00002=next",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), s.timeout)
			defer cancel()
			s.shares = args[1:]
			return s.run(ctx, env, args[0])
		},
	}
	cmd.Flags().StringArrayVar(&s.tags, "tag", nil, "give a revision a URL: REVISION=TAG; may be repeated")
	cmd.Flags().StringArrayVar(&s.untag, "untag", nil, "take a tag away; may be repeated")
	cmd.Flags().DurationVar(&s.timeout, "timeout", time.Minute, "give up waiting after this long")
	s.format.AddOutput(cmd)
	return cmd
}

func (s *split) run(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	if len(s.shares)+len(s.tags)+len(s.untag) > 0 {
		targets, err := s.targets(function)
		if err != nil {
			return err
		}
		if err := checkRevisions(ctx, cluster, name, targets); err != nil {
			return err
		}
		err = changeFunction(ctx, cluster, function, func(spec *v1alpha1.FunctionSpec) {
			spec.Traffic, spec.Rollback = targets, nil
		})
		if err != nil {
			return err
		}
		if err := awaitReady(ctx, env, cluster, function); err != nil {
			return err
		}
	}
	if done, err := (cmdline.Printer{Scheme: cluster.Scheme(), Out: env.Out}).One(s.format, function); done {
		return err
	}
	return trafficTable(function).Write(env.Out, s.format)
}

// targets is the traffic that the arguments ask for. Shares that are named
// replace all shares; tags are added to those that there are.
func (s *split) targets(function *v1alpha1.Function) ([]v1alpha1.TrafficTarget, error) {
	var targets []v1alpha1.TrafficTarget
	for _, t := range function.Spec.Traffic {
		if t.Tag != "" && !slices.Contains(s.untag, t.Tag) {
			targets = append(targets, v1alpha1.TrafficTarget{Revision: t.Revision, Tag: t.Tag})
		}
		if len(s.shares) == 0 && t.Percent != nil {
			targets = append(targets, v1alpha1.TrafficTarget{Revision: t.Revision, Percent: t.Percent})
		}
	}
	for _, text := range s.tags {
		revision, tag, ok := strings.Cut(text, "=")
		if !ok || revision == "" || tag == "" {
			return nil, cmdline.Usagef("--tag %q: want REVISION=TAG, such as hello-00002=next", text)
		}
		targets = slices.DeleteFunc(targets, func(t v1alpha1.TrafficTarget) bool { return t.Tag == tag })
		targets = append(targets, v1alpha1.TrafficTarget{Revision: revisionOf(revision), Tag: tag})
	}
	for _, text := range s.shares {
		revision, share, _ := strings.Cut(text, "=")
		percent, err := strconv.ParseInt(strings.TrimSuffix(share, "%"), 10, 64)
		if err != nil || revision == "" {
			return nil, cmdline.Usagef("%q: want REVISION=PERCENT, such as hello-00001=90 or latest=100", text)
		}
		targets = append(targets, v1alpha1.TrafficTarget{Revision: revisionOf(revision), Percent: &percent})
	}
	return whole(targets)
}

func revisionOf(name string) string {
	if name == latest {
		return ""
	}
	return name
}

// whole checks the sum. When there are only tags, the newest revision gets all;
// when that is all that is said, nothing needs to be.
func whole(targets []v1alpha1.TrafficTarget) ([]v1alpha1.TrafficTarget, error) {
	var sum int64
	shared := false
	for _, t := range targets {
		sum += ptr.Deref(t.Percent, 0)
		shared = shared || t.Percent != nil
	}
	if len(targets) > 0 && !shared {
		return append(targets, v1alpha1.TrafficTarget{Percent: ptr.To(int64(100))}), nil
	}
	if shared && sum != 100 {
		return nil, cmdline.Usagef("the percents add up to %d, not to 100", sum)
	}
	if len(targets) == 1 && targets[0].Revision == "" && targets[0].Tag == "" {
		return nil, nil
	}
	return targets, nil
}

// checkRevisions finds a name that no revision has before anything is changed.
func checkRevisions(ctx context.Context, c *cmdline.Cluster, function string, targets []v1alpha1.TrafficTarget) error {
	revisions, err := getRevisions(ctx, c, function)
	if err != nil {
		return err
	}
	for _, t := range targets {
		known := t.Revision == ""
		for _, r := range revisions {
			known = known || r.Name == t.Revision
		}
		if !known {
			return cmdline.Advise(cmdline.NotFound(fmt.Errorf("function %s has no revision %s", function, t.Revision)),
				"see its revisions with `knit revisions %s`", function)
		}
	}
	return nil
}

func trafficTable(function *v1alpha1.Function) cmdline.Table {
	table := cmdline.Table{Columns: []string{"REVISION", "TRAFFIC", "TAG", "URL"}}
	for _, share := range function.Status.Traffic {
		name, percent, url := share.Revision, "", share.URL
		if share.Latest {
			name += " (latest)"
		}
		if share.Percent > 0 {
			percent = fmt.Sprintf("%d%%", share.Percent)
		}
		if share.Tag == "" {
			url = function.Status.URL
		}
		table.Rows = append(table.Rows, []string{name, percent, share.Tag, url})
	}
	return table
}
