package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// follow tells the phases of builds until all have ended. It returns the
// failures of all of them.
func follow(ctx context.Context, c *cmdline.Cluster, p *cmdline.Progress, builds []*v1alpha1.Build) error {
	told := sets.New[string]()
	var failures []error
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		all := true
		for _, b := range builds {
			if told.Has(b.Name) {
				continue
			}
			if err := c.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
				return false, fmt.Errorf("watch build %s: %w", b.Name, err)
			}
			tell(p, b, told)
			ended, succeeded := b.Done()
			if !ended {
				all = false
				continue
			}
			told.Insert(b.Name)
			if !succeeded {
				word, _ := state(b)
				p.Failed(word, "%s", b.Spec.Function)
				failures = append(failures, failed(b))
				continue
			}
			word := "Built"
			if b.Status.ReusedFrom != "" {
				word = "Unchanged"
			} else if b.Spec.Rebase != nil {
				word = "Rebased"
			}
			p.Done(word, "%s: %s", b.Spec.Function, b.Status.Image)
		}
		return all, nil
	})
	return errors.Join(append(failures, err)...)
}

// tell tells what of a build is new.
func tell(p *cmdline.Progress, b *v1alpha1.Build, told sets.Set[string]) {
	word, why := state(b)
	doing := fmt.Sprintf("%s: %s", b.Spec.Function, word)
	if word == "Queued" || word == "Waiting" {
		doing += ": " + why
	}
	for _, phase := range b.Status.Phases {
		key := b.Name + " " + string(phase.Name)
		if phase.State == v1alpha1.PhaseRunning {
			doing = fmt.Sprintf("%s: %s", b.Spec.Function, phase.Name)
		}
		if phase.State == v1alpha1.PhaseSucceeded && !told.Has(key) {
			told.Insert(key)
			p.Took("  "+string(phase.Name), took(phase), "%s", b.Spec.Function)
		}
	}
	p.Doing("%s", doing)
}

func took(phase v1alpha1.BuildPhase) time.Duration {
	if phase.StartTime == nil || phase.FinishTime == nil {
		return 0
	}
	return phase.FinishTime.Sub(phase.StartTime.Time)
}

// printImages writes the images: one alone for a single build, so that a script
// can take it as it is, or else each after the function's name.
func printImages(env *cmdline.Env, p *cmdline.Progress, format cmdline.Format, builds []*v1alpha1.Build) error {
	p.Clear()
	objects := make([]client.Object, 0, len(builds))
	for _, b := range builds {
		objects = append(objects, b)
	}
	if done, err := (cmdline.Printer{Scheme: newScheme(), Out: env.Out}).List(format, objects); done {
		return err
	}
	for _, b := range builds {
		if len(builds) > 1 {
			fmt.Fprintf(env.Out, "%s\t", b.Spec.Function)
		}
		fmt.Fprintln(env.Out, b.Status.Image)
	}
	return nil
}
