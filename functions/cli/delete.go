package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

func deleteCommand(env *cmdline.Env) *cobra.Command {
	deletion := &cmdline.Deletion{Env: env}
	cmd := &cobra.Command{
		Use:   "delete NAME|FOLDER...",
		Short: "Delete functions, or all that a project deployed",
		Long: "Delete functions, or all that a project deployed, and wait until they are gone.\n\n" +
			"An argument with a slash, or . or .., is a folder: every object of its " + project.FileName + " is deleted,\n" +
			"and it does not matter which of them exist. Another argument is the name of a function.",
		Example:           "  knit delete hello\n  knit delete ./samples/hello",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeFunctions(env, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := deletion.Bound(cmd.Context())
			defer cancel()
			return deleteAll(ctx, env, deletion, args)
		},
	}
	deletion.AddFlags(cmd)
	return cmd
}

// doomed is an object to delete. One that a manifest names may be absent.
type doomed struct {
	object   client.Object
	mayBeOff bool
}

func deleteAll(ctx context.Context, env *cmdline.Env, deletion *cmdline.Deletion, args []string) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	var all []doomed
	for _, arg := range args {
		found, err := toDelete(cluster, env, arg)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	// One absent name must not keep the others alive.
	var failures []error
	for _, d := range all {
		failures = append(failures, deleteOne(ctx, cluster, deletion, d))
	}
	return errors.Join(failures...)
}

// toDelete reads one argument.
func toDelete(cluster *cmdline.Cluster, env *cmdline.Env, arg string) ([]doomed, error) {
	if arg != "." && arg != ".." && !strings.Contains(arg, "/") {
		function := &v1alpha1.Function{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: arg}}
		return []doomed{{object: function}}, nil
	}
	m, err := project.Read(arg, cluster.Namespace, env.Namespace != "")
	if err != nil {
		return nil, err
	}
	var senders, functions []doomed
	for _, doc := range m.Documents {
		d := doomed{object: doc.Object(), mayBeOff: true}
		if doc.Function == nil {
			senders = append(senders, d)
			continue
		}
		functions = append(functions, d)
	}
	// Functions last: what sends to them would only fail to reach what is gone.
	return append(senders, functions...), nil
}

// deleteOne deletes an object, which goes last: when it is gone its Knative
// Service and triggers are gone too.
func deleteOne(ctx context.Context, c *cmdline.Cluster, deletion *cmdline.Deletion, d doomed) error {
	kind, name, namespace := kindOf(c.Scheme(), d.object), d.object.GetName(), d.object.GetNamespace()
	err := deletion.One(ctx, c, d.object, kind+" "+name, fmt.Sprintf("kubectl get %s %s -n %s -o yaml", kind, name, namespace))
	if d.mayBeOff && apierrors.IsNotFound(err) && cmdline.Code(err) == cmdline.ExitNotFound {
		return nil
	}
	return err
}

// kindOf is the kind of an object as people type it.
func kindOf(scheme *runtime.Scheme, object client.Object) string {
	kind, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return "object"
	}
	return strings.ToLower(kind.Kind)
}
