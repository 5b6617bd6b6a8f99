package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func envCommand(env *cmdline.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "env NAME",
		Short:             "Show or change the environment of a function",
		Long:              "Show the environment of a function, or change it with `knit env set` and `knit env unset`. A change makes a new revision.\nA variable that the manifest names is the manifest's: the next `knit deploy` sets it again.",
		Example:           "  knit env hello\n  knit env set hello GREETING=Hi\n  knit env unset hello GREETING",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showEnv(cmd.Context(), env, args[0])
		},
	}
	cmd.AddCommand(
		envChange(env, "set NAME VARIABLE=VALUE...", "Set variables", setVariables),
		envChange(env, "unset NAME VARIABLE...", "Remove variables", unsetVariables),
	)
	return cmd
}

// envChange is a subcommand that changes variables by its arguments.
func envChange(env *cmdline.Env, use, short string, change func([]corev1.EnvVar, []string) ([]corev1.EnvVar, error)) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return changeEnv(ctx, env, args[0], func(old []corev1.EnvVar) ([]corev1.EnvVar, error) { return change(old, args[1:]) })
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "give up waiting after this long")
	return cmd
}

func showEnv(ctx context.Context, env *cmdline.Env, name string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	for _, variable := range function.Spec.Env {
		fmt.Fprintf(env.Out, "%s=%s\n", variable.Name, valueOf(variable))
	}
	return nil
}

// valueOf is a plain value, or where another comes from: never a Secret's content.
func valueOf(variable corev1.EnvVar) string {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return variable.Value
	case from.SecretKeyRef != nil:
		return fmt.Sprintf("<Secret %s, key %s>", from.SecretKeyRef.Name, from.SecretKeyRef.Key)
	case from.ConfigMapKeyRef != nil:
		return fmt.Sprintf("<ConfigMap %s, key %s>", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
	case from.FieldRef != nil:
		return fmt.Sprintf("<field %s>", from.FieldRef.FieldPath)
	}
	return "<other>"
}

func changeEnv(ctx context.Context, env *cmdline.Env, name string, change func([]corev1.EnvVar) ([]corev1.EnvVar, error)) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	variables, err := change(slices.Clone(function.Spec.Env))
	if err != nil {
		return err
	}
	progress := cmdline.NewProgress(env)
	if err := changeFunction(ctx, cluster, function, func(spec *v1alpha1.FunctionSpec) { spec.Env = variables }); err != nil {
		return err
	}
	if err := awaitReady(ctx, env, cluster, function); err != nil {
		return err
	}
	progress.Done("Changed", "%s: revision %s", name, function.Status.LatestReadyRevision)
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func setVariables(variables []corev1.EnvVar, args []string) ([]corev1.EnvVar, error) {
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || !variableName.MatchString(name) {
			return nil, cmdline.Usagef("%q: want VARIABLE=VALUE", arg)
		}
		at := slices.IndexFunc(variables, func(v corev1.EnvVar) bool { return v.Name == name })
		if at < 0 {
			variables = append(variables, corev1.EnvVar{Name: name, Value: value})
			continue
		}
		variables[at] = corev1.EnvVar{Name: name, Value: value}
	}
	return variables, nil
}

func unsetVariables(variables []corev1.EnvVar, args []string) ([]corev1.EnvVar, error) {
	for _, name := range args {
		at := slices.IndexFunc(variables, func(v corev1.EnvVar) bool { return v.Name == name })
		if at < 0 {
			return nil, cmdline.NotFound(fmt.Errorf("the function has no variable %s", name))
		}
		variables = slices.Delete(variables, at, at+1)
	}
	return variables, nil
}
