package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func uninstallCommand(env *cmdline.Env) *cobra.Command {
	var everything bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Knit's control plane from a cluster",
		Long: "Remove Knit's control plane from a cluster.\n\n" +
			"Functions stay and go on answering, because they run on Knative; installing again takes them up.\n" +
			"With --functions they, their builds and schedules, and Knit's kinds are deleted as well.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return uninstall(ctx, env, everything)
		},
	}
	cmd.Flags().BoolVar(&everything, "functions", false, "delete all functions, builds and schedules of all namespaces too")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "give up after this long")
	return cmd
}

func uninstall(ctx context.Context, env *cmdline.Env, everything bool) error {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return err
	}
	progress := cmdline.NewProgress(env)
	defer progress.Clear()
	if everything {
		// While the controllers still run, so that they can clean up.
		if err := deleteAll(ctx, cluster, progress); err != nil {
			return err
		}
	}
	// The overlays differ in settings, not in names, but for the disruption
	// budget: the largest one names everything.
	objects, err := render("cluster", nil)
	if err != nil {
		return err
	}
	api := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: apiServiceName}}
	if err := client.IgnoreNotFound(cluster.Delete(ctx, api)); err != nil {
		return fmt.Errorf("delete APIService %s: %w", apiServiceName, err)
	}
	slices.Reverse(objects)
	var namespaces []*unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == "CustomResourceDefinition" && !everything {
			continue
		}
		progress.Doing("deleting %s", describe(object))
		if err := client.IgnoreNotFound(cluster.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationForeground))); err != nil {
			return fmt.Errorf("delete %s: %w", describe(object), err)
		}
		if object.GetKind() == "Namespace" {
			namespaces = append(namespaces, object)
		}
	}
	for _, namespace := range namespaces {
		if err := gone(ctx, cluster, namespace); err != nil {
			return err
		}
	}
	progress.Done("Removed", "%d objects", len(objects))
	return nil
}

// deleteAll deletes every object of Knit's kinds and waits until they are gone.
func deleteAll(ctx context.Context, c *cmdline.Cluster, progress *cmdline.Progress) error {
	for _, kind := range []string{v1alpha1.KindSchedule, v1alpha1.KindFunction, v1alpha1.KindBuild} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		err := c.List(ctx, list)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list what to delete: %w", err)
		}
		for _, object := range list.Items {
			if err := client.IgnoreNotFound(c.Delete(ctx, &object)); err != nil {
				return fmt.Errorf("delete %s: %w", describe(&object), err)
			}
		}
		for _, object := range list.Items {
			progress.Doing("waiting for %s to go", describe(&object))
			if err := gone(ctx, c, &object); err != nil {
				return err
			}
		}
	}
	progress.Done("Functions", "deleted with their builds and schedules")
	return nil
}

// gone waits until an object no longer exists.
func gone(ctx context.Context, c client.Client, object client.Object) error {
	name, key := describe(object), client.ObjectKeyFromObject(object)
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, key, object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return cmdline.Advise(fmt.Errorf("wait for %s to go: %w", name, err), "see its finalizers and conditions with `kubectl get -o yaml`")
	}
	return nil
}
