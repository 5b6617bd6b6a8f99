// Package cli holds the commands about functions: knit deploy, invoke, list,
// describe, logs, revisions, traffic, rollback, env, open and delete. main.go assembles them. They speak to the
// Kubernetes API and to the extension API of functions/service with the
// caller's kubeconfig and nothing else, and never to a controller.
package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{
		deployCommand(env), invokeCommand(env), listCommand(env),
		describeCommand(env), logsCommand(env), revisionsCommand(env), trafficCommand(env),
		rollbackCommand(env), envCommand(env), openCommand(env), deleteCommand(env),
	}
}

// newScheme holds the kinds that these commands read and write.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(project.AddToScheme(scheme))
	utilruntime.Must(servingv1.AddToScheme(scheme))
	return scheme
}

// getFunction reads one function, with advice when it does not exist.
func getFunction(ctx context.Context, c *cmdline.Cluster, name string) (*v1alpha1.Function, error) {
	var function v1alpha1.Function
	err := c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &function)
	if err == nil {
		return &function, nil
	}
	err = fmt.Errorf("read function %s in namespace %s: %w", name, c.Namespace, err)
	if cmdline.Code(err) == cmdline.ExitNotFound {
		return nil, cmdline.Advise(err, "see what there is with `knit list -n %s`, or in all namespaces with `knit list -A`", c.Namespace)
	}
	return nil, err
}

// completeFunctions completes names of functions in the shell.
func completeFunctions(env *cmdline.Env, many bool) cobra.CompletionFunc {
	return cmdline.CompleteNames(env, newScheme, func() client.ObjectList { return &v1alpha1.FunctionList{} }, many)
}
