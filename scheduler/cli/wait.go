package cli

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// waiting waits until a request is done.
type waiting struct {
	*asking
	cluster  *cmdline.Cluster
	schedule string
	asked    v1alpha1.ScheduleRequest
	planned  int // how many actions it asks for
	progress *cmdline.Progress
}

func (w *waiting) run(ctx context.Context) error {
	w.progress = cmdline.NewProgress(w.env)
	defer w.progress.Clear()
	text := progressText(nil)
	var s *v1alpha1.Schedule
	err := wait.PollUntilContextCancel(ctx, cmdline.PollEvery, true, func(ctx context.Context) (bool, error) {
		var err error
		if s, err = getSchedule(ctx, w.cluster, w.schedule); err != nil {
			return false, err
		}
		if !requested(s, w.asked.Name) {
			return false, fmt.Errorf("request %s was taken out of schedule %s while it was waited for", w.asked.Name, w.schedule)
		}
		status := requestStatus(s, w.asked.Name)
		text = cmdline.Plain(progressText(status) + hindrance(s, w.asked.Name))
		w.progress.Doing("%s: %d planned, %s", w.asked.Name, w.planned, text)
		return status != nil && status.Done, nil
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("wait for request %s of schedule %s: %w: %s", w.asked.Name, w.schedule, ctx.Err(), text)
		return cmdline.Advise(err, "it goes on without you; see how far it is with `knit schedule describe %s -n %s`", w.schedule, w.cluster.Namespace)
	}
	if err != nil {
		return err
	}
	return w.report(s, requestStatus(s, w.asked.Name))
}

// hindrance is what keeps a request from going on, as far as the status says.
func hindrance(s *v1alpha1.Schedule, request string) string {
	for _, a := range s.Status.Active {
		if a.Request == request && a.Message != "" {
			return fmt.Sprintf("; %s: %s", activeText(a), a.Message)
		}
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status == metav1.ConditionFalse && ready.ObservedGeneration == s.Generation {
		return fmt.Sprintf("; %s: %s", ready.Reason, ready.Message)
	}
	return ""
}

// report shows what became of the actions, as far as the history keeps them.
func (w *waiting) report(s *v1alpha1.Schedule, status *v1alpha1.RequestStatus) error {
	var own []v1alpha1.ScheduleAction
	for _, a := range s.Status.LastActions {
		if a.Request == w.asked.Name {
			own = append(own, a)
		}
	}
	text := fmt.Sprintf("%s: %s", w.asked.Name, cmdline.Plain(progressText(status)))
	failed := status.Failures > 0 || status.Message != ""
	if failed {
		w.progress.Failed("Acted", "%s", text)
	} else {
		w.progress.Done("Acted", "%s", text)
	}
	if err := w.show(outcome{Request: w.asked, Status: status, Actions: own}); err != nil {
		return err
	}
	if !failed {
		return nil
	}
	err := fmt.Errorf("%d of %d actions of request %s failed", status.Failures, status.Actions, w.asked.Name)
	if status.Message != "" {
		err = fmt.Errorf("request %s of schedule %s: %s", w.asked.Name, w.schedule, cmdline.Plain(strings.TrimSpace(status.Message)))
	}
	return cmdline.Advise(err, "see why with `knit schedule history %s -n %s --result Failed`", w.schedule, w.cluster.Namespace)
}

// show writes the outcome: for people the actions, if there are any.
func (w *waiting) show(o outcome) error {
	if done, err := w.print(o); done || len(o.Actions) == 0 {
		return err
	}
	return actionTable(o.Actions).Write(w.env.Out, w.format)
}
