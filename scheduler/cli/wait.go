package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// pollEvery is how often a wait looks again.
const pollEvery = 250 * time.Millisecond

// waiting waits until a request is done.
type waiting struct {
	env      *cmdline.Env
	cluster  *cmdline.Cluster
	schedule string
	request  string
	planned  int // how many actions it asks for
	progress *cmdline.Progress
}

func (w *waiting) run(ctx context.Context) error {
	w.progress = cmdline.NewProgress(w.env)
	defer w.progress.Clear()
	text := progressText(nil)
	var s *v1alpha1.Schedule
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		var err error
		if s, err = getSchedule(ctx, w.cluster, w.schedule); err != nil {
			return false, err
		}
		if !requested(s, w.request) {
			return false, fmt.Errorf("request %s was taken out of schedule %s while it was waited for", w.request, w.schedule)
		}
		status := requestStatus(s, w.request)
		text = progressText(status)
		w.progress.Doing("%s of %d: %s", w.request, w.planned, cmdline.Plain(text))
		return status != nil && status.Done, nil
	})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = cmdline.Timeout(fmt.Errorf("wait for request %s of schedule %s: %w: %s", w.request, w.schedule, ctx.Err(), cmdline.Plain(text)))
		return cmdline.Advise(err, "it goes on without you; see how far it is with `knit schedule describe %s -n %s`", w.schedule, w.cluster.Namespace)
	case err != nil:
		return err
	}
	return w.report(s, requestStatus(s, w.request))
}

// report shows what became of the actions, as far as the history keeps them.
func (w *waiting) report(s *v1alpha1.Schedule, status *v1alpha1.RequestStatus) error {
	var own []v1alpha1.ScheduleAction
	for _, a := range s.Status.LastActions {
		if a.Request == w.request {
			own = append(own, a)
		}
	}
	text := fmt.Sprintf("%s: %s", w.request, cmdline.Plain(progressText(status)))
	failed := status.Failures > 0 || status.Message != ""
	if failed {
		w.progress.Failed("Acted", "%s", text)
	} else {
		w.progress.Done("Acted", "%s", text)
	}
	if len(own) > 0 {
		if err := actionTable(own).Write(w.env.Out, cmdline.Text); err != nil {
			return err
		}
	}
	if !failed {
		return nil
	}
	err := fmt.Errorf("%d of %d actions of request %s failed", status.Failures, status.Actions, w.request)
	if status.Message != "" {
		err = fmt.Errorf("request %s of schedule %s: %s", w.request, w.schedule, cmdline.Plain(strings.TrimSpace(status.Message)))
	}
	return cmdline.Advise(err, "see why with `knit schedule history %s -n %s --result Failed`", w.schedule, w.cluster.Namespace)
}
