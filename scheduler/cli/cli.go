// Package cli holds the commands about schedules: knit schedule list,
// describe, next and history look at them, create, pause, resume, run-now,
// backfill and delete change them. main.go assembles them. They use the
// Kubernetes API with the caller's kubeconfig and the pure timetable of the
// scheduler, and never import a controller.
package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{cmdline.Parent("schedule", "Create, look at and change schedules",
		createCommand(env), listCommand(env), describeCommand(env), nextCommand(env), historyCommand(env),
		pauseCommand(env), resumeCommand(env), runNowCommand(env), backfillCommand(env), deleteCommand(env))}
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// getSchedule reads one schedule, with advice when it does not exist.
func getSchedule(ctx context.Context, c *cmdline.Cluster, name string) (*v1alpha1.Schedule, error) {
	var schedule v1alpha1.Schedule
	err := c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &schedule)
	if err == nil {
		return &schedule, nil
	}
	err = fmt.Errorf("read schedule %s in namespace %s: %w", name, c.Namespace, err)
	if cmdline.Code(err) == cmdline.ExitNotFound {
		return nil, cmdline.Advise(err, "see what there is with `knit schedule list -n %s`", c.Namespace)
	}
	return nil, err
}

// openSchedule opens the cluster and reads one schedule.
func openSchedule(ctx context.Context, env *cmdline.Env, name string) (*cmdline.Cluster, *v1alpha1.Schedule, error) {
	cluster, err := env.Connect(newScheme())
	if err != nil {
		return nil, nil, err
	}
	schedule, err := getSchedule(ctx, cluster, name)
	return cluster, schedule, err
}

// completeSchedules completes names of schedules in the shell.
func completeSchedules(env *cmdline.Env, many bool) cobra.CompletionFunc {
	return cmdline.CompleteNames(env, newScheme, func() client.ObjectList { return &v1alpha1.ScheduleList{} }, many)
}
