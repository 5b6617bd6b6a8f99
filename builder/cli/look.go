package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func logsCommand(env *cmdline.Env) *cobra.Command {
	var following bool
	var phase string
	cmd := &cobra.Command{
		Use:               "logs BUILD|FUNCTION",
		Short:             "Show the log of a build, or of a function's last one",
		Example:           "  knit build logs hello -f\n  knit build logs hello --phase build",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeBuilds(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := fmt.Sprintf("log?follow=%t", following)
			if phase != "" {
				query += "&phase=" + phase
			}
			err := passOn(cmd.Context(), env, args[0], query)
			if following && interrupted(err) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&following, "follow", "f", false, "wait for the build and go on until it ends")
	cmd.Flags().StringVar(&phase, "phase", "", "only this phase, such as build")
	return cmd
}

func sbomCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:               "sbom BUILD|FUNCTION",
		Short:             "Write the bill of materials of an image (CycloneDX, JSON)",
		Example:           "  knit build sbom hello > hello.cdx.json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return passOn(cmd.Context(), env, args[0], "sbom")
		},
	}
}

// maker is the build that made the image of one that only took it over.
func maker(ctx context.Context, c *cmdline.Cluster, b *v1alpha1.Build) (*v1alpha1.Build, error) {
	if b.Status.ReusedFrom == "" {
		return b, nil
	}
	var made v1alpha1.Build
	err := c.Get(ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.Status.ReusedFrom}, &made)
	return &made, wrap(err, "read build %s, which made the image of build %s", b.Status.ReusedFrom, b.Name)
}

// passOn writes what the extension API answers about a build.
func passOn(ctx context.Context, env *cmdline.Env, name, what string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	build, err := findBuild(ctx, cluster, name)
	if err != nil {
		return err
	}
	if build, err = maker(ctx, cluster, build); err != nil {
		return err
	}
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/builds/%s/%s", build.Namespace, build.Name, what)
	response, err := cluster.Do(ctx, http.MethodGet, path, nil, 0)
	if err != nil {
		return fmt.Errorf("read build %s: %w", build.Name, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(env.Out, response.Body); err != nil {
		return fmt.Errorf("read build %s: %w", build.Name, err)
	}
	return nil
}

func explainCommand(env *cmdline.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "explain BUILD|FUNCTION",
		Short: "Show which check decided to build, to rebase or to reuse an image",
		Long: "Show which check decided to build, to rebase or to reuse an image.\n\n" +
			"For a function it is the last decision, and that of the build whose image it runs. The first check that is\n" +
			"not \"same\" decided. Variables are shown with the beginning of their values' digests.",
		Example:           "  knit build explain hello",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.Context(), env, args[0])
		},
	}
}

func explain(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	var function v1alpha1.Function
	err = cluster.Get(ctx, client.ObjectKey{Namespace: cluster.Namespace, Name: name}, &function)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read function %s in namespace %s: %w", name, cluster.Namespace, err)
	}
	if d := function.Status.Decision; err == nil && d != nil {
		fmt.Fprintf(env.Out, "Function %s: ", name)
		if err := writeDecision(env.Out, d); err != nil {
			return err
		}
	}
	build, err := findBuild(ctx, cluster, name)
	if err != nil {
		return err
	}
	d := build.Status.Decision
	switch {
	case build.Spec.Rebase != nil:
		_, err = fmt.Fprintf(env.Out, "Build %s: rebase\n  image  %s\n  base   %s\n", build.Name, build.Spec.Rebase.Digest, build.Status.RunImage)
		return err
	case d == nil:
		_, err = fmt.Fprintf(env.Out, "Build %s: not looked at yet\n", build.Name)
		return err
	}
	fmt.Fprintf(env.Out, "Build %s: ", build.Name)
	return writeDecision(env.Out, d)
}

// writeDecision writes a decision and its checks as a table.
func writeDecision(to io.Writer, d *v1alpha1.BuildDecision) error {
	against := ""
	if d.Against != "" {
		against = ", against build " + d.Against
	}
	fmt.Fprintf(to, "%s (%s%s)\n", d.Result, d.Reason, against)
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, c := range d.Checks {
		switch c.Result {
		case v1alpha1.CheckChanged:
			fmt.Fprintf(out, "  %s\t%s\twas %s, is %s\n", c.Name, c.Result, orNothing(c.Was), orNothing(c.Is))
		default:
			fmt.Fprintf(out, "  %s\t%s\t%s\n", c.Name, c.Result, orNothing(c.Is))
		}
	}
	return out.Flush()
}

func orNothing(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
