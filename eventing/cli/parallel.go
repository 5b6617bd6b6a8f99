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

var parallelKind = flowsv1.SchemeGroupVersion.WithKind("Parallel")

var parallels = noun{
	word: "parallel", plural: "parallels",
	hint:    "Create one: knit parallel create NAME --branch FUNCTION --branch FUNCTION",
	kinds:   known(parallelKind),
	columns: []string{"URL", "BRANCHES", "REPLY"},
	cells: func(o *unstructured.Unstructured) []string {
		p := read[flowsv1.Parallel](o)
		return []string{addressText(o), strings.Join(branchTexts(p), "; "), sinkText(p.Spec.Reply, p.Namespace)}
	},
	facts: func(o *unstructured.Unstructured) []fact {
		p := read[flowsv1.Parallel](o)
		facts := []fact{{"Channels of type", channelType(p.Spec.ChannelTemplate)}}
		for i, text := range branchTexts(p) {
			facts = append(facts, fact{fmt.Sprintf("Branch %d", i+1), text})
			facts = append(facts, fact{fmt.Sprintf("Reply of branch %d", i+1), sinkText(p.Spec.Branches[i].Reply, p.Namespace)})
		}
		return append(facts, fact{"Reply", sinkText(p.Spec.Reply, p.Namespace)})
	},
}

// branchTexts shows branches as --branch takes them, with room after the comma.
func branchTexts(p *flowsv1.Parallel) []string {
	var texts []string
	for i := range p.Spec.Branches {
		branch := &p.Spec.Branches[i]
		text := sinkText(&branch.Subscriber, p.Namespace)
		if branch.Filter != nil {
			text = sinkText(branch.Filter, p.Namespace) + ", " + text
		}
		texts = append(texts, text)
	}
	return texts
}

func createParallel(env *cmdline.Env) *cobra.Command {
	var branches []string
	var reply string
	cmd := createCommand(env, parallels, "Create a parallel, which passes an event through branches beside each other",
		"  knit parallel create order --branch is-gift,wrap --branch bill --reply broker:default",
		"A branch is [FILTER,]SINK. Where it has a filter, which is a SINK too, the event goes there first, and on only\n"+
			"if the filter answers with an event. The first comma parts the two; in an address, write it as %2C.\n\n"+sinkHelp,
		func(_ context.Context, c *creation) (*unstructured.Unstructured, error) {
			if len(branches) == 0 {
				return nil, cmdline.Usagef("a parallel needs a branch: add --branch [FILTER,]SINK, once for each")
			}
			var spec flowsv1.ParallelSpec
			for _, raw := range branches {
				branch, err := c.branch(raw)
				if err != nil {
					return nil, err
				}
				spec.Branches = append(spec.Branches, branch)
			}
			var err error
			if spec.Reply, err = c.optional("reply", reply); err != nil {
				return nil, err
			}
			return newObject(parallelKind, spec)
		})
	cmd.Flags().StringArrayVar(&branches, "branch", nil, "[FILTER,]SINK of a branch; repeatable")
	cmd.Flags().StringVar(&reply, "reply", "", "SINK that gets what the branches answer")
	return cmd
}

// branch reads [FILTER,]SINK.
func (c *creation) branch(raw string) (flowsv1.ParallelBranch, error) {
	var branch flowsv1.ParallelBranch
	to := raw
	if filter, rest, ok := strings.Cut(raw, ","); ok {
		sink, err := c.sink("branch", filter)
		if err != nil {
			return branch, fmt.Errorf("filter of branch %q: %w", raw, err)
		}
		branch.Filter, to = &sink, rest
	}
	sink, err := c.sink("branch", to)
	if err != nil {
		return branch, fmt.Errorf("branch %q: %w", raw, err)
	}
	branch.Subscriber = sink
	return branch, nil
}
