package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxRequests is how many requests the API server takes in one schedule.
const maxRequests = 16

// asking is what run-now and backfill have in common: they put a request into a
// schedule, and may wait until it is done.
type asking struct {
	env     *cmdline.Env
	request string
	wait    bool
	timeout time.Duration
	format  cmdline.Format
}

// outcome is what machines are told of a request.
type outcome struct {
	Request v1alpha1.ScheduleRequest `json:"request"`
	// Status and Actions are empty when it was not waited for. Actions are those
	// that the history still holds, newest first.
	Status  *v1alpha1.RequestStatus   `json:"status,omitempty"`
	Actions []v1alpha1.ScheduleAction `json:"actions,omitempty"`
}

// print writes the outcome for machines. It reports false for people.
func (a *asking) print(o outcome) (bool, error) {
	if a.format == cmdline.Name {
		fmt.Fprintln(a.env.Out, o.Request.Name)
		return true, nil
	}
	return cmdline.PrintValue(a.env.Out, a.format, o)
}

func (a *asking) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&a.request, "request", "", "name of the request, part of the ids of its events (default: a new one)")
	flags.BoolVar(&a.wait, "wait", false, "wait until it is done; exit code 1 when something failed")
	flags.DurationVar(&a.timeout, "timeout", 5*time.Minute, "give up waiting after this long")
	_ = cmd.RegisterFlagCompletionFunc("request", cobra.NoFileCompletions)
	a.format.AddOutput(cmd)
}

// requestName is how the API server takes names of requests.
var requestName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// name is the name that was given, or one that nobody else has.
func (a *asking) name(word string) (string, error) {
	if a.request == "" {
		return fmt.Sprintf("%s-%s-%s", word, a.env.Now().UTC().Format("20060102-150405"), strings.ToLower(rand.Text()[:6])), nil
	}
	if !requestName.MatchString(a.request) {
		return "", cmdline.Usagef("--request %.60q is no name of at most 40 small letters, digits and dashes", a.request)
	}
	return a.request, nil
}

// ask puts the request into the schedule. Planned is how many actions it asks for.
func (a *asking) ask(ctx context.Context, c *cmdline.Cluster, schedule string, r v1alpha1.ScheduleRequest, planned int) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	_, err := change(ctx, c, schedule, func(s *v1alpha1.Schedule) error { return addRequest(s, r) })
	if err != nil {
		return err
	}
	if !a.wait {
		if done, err := a.print(outcome{Request: r}); done {
			return err
		}
		fmt.Fprintf(a.env.Out, "schedule %s: request %s made\n", schedule, r.Name)
		fmt.Fprintf(a.env.Err, "see how far it is with `knit schedule describe %s -n %s`\n", schedule, c.Namespace)
		return nil
	}
	w := waiting{asking: a, cluster: c, schedule: schedule, asked: r, planned: planned}
	return w.run(ctx)
}

// addRequest adds a request, for which the one that has been done the longest
// makes room.
func addRequest(s *v1alpha1.Schedule, r v1alpha1.ScheduleRequest) error {
	if known(s, r.Name) {
		err := cmdline.Usagef("schedule %s has had a request %s", s.Name, r.Name)
		return cmdline.Advise(err, "choose another --request, or leave it out")
	}
	if len(s.Spec.Requests) >= maxRequests {
		i := longestDone(s)
		if i < 0 {
			err := fmt.Errorf("schedule %s has %d requests under way, and takes no more", s.Name, len(s.Spec.Requests))
			return cmdline.Advise(err, "wait until one is done; see them with `knit schedule describe %s -n %s`", s.Name, s.Namespace)
		}
		s.Spec.Requests = slices.Delete(s.Spec.Requests, i, i+1)
	}
	s.Spec.Requests = append(s.Spec.Requests, r)
	return nil
}

// known tells whether a name was had before, as far as the schedule remembers.
func known(s *v1alpha1.Schedule, name string) bool {
	return requestStatus(s, name) != nil || requested(s, name) ||
		slices.ContainsFunc(s.Status.LastActions, func(a v1alpha1.ScheduleAction) bool { return a.Request == name })
}

// requested tells whether a request stands in the spec.
func requested(s *v1alpha1.Schedule, name string) bool {
	return slices.ContainsFunc(s.Spec.Requests, func(r v1alpha1.ScheduleRequest) bool { return r.Name == name })
}

// longestDone is where the request stands that was done first; -1 for none.
func longestDone(s *v1alpha1.Schedule) int {
	found := -1
	var since time.Time
	for i, r := range s.Spec.Requests {
		status := requestStatus(s, r.Name)
		if status == nil || !status.Done {
			continue
		}
		var at time.Time
		if status.CompletionTime != nil {
			at = status.CompletionTime.Time
		}
		if found < 0 || at.Before(since) {
			found, since = i, at
		}
	}
	return found
}
