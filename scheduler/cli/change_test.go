package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// cluster holds one schedule. As often as faster says, somebody else makes a
// request just before a patch.
func cluster(t *testing.T, faster int) (*cmdline.Cluster, *int) {
	t.Helper()
	s := &v1alpha1.Schedule{}
	s.Name, s.Namespace = "tick", "default"
	s.Spec.Cron = []string{"@daily"}
	tries := 0
	api := interceptor.NewClient(clientfake.NewClientBuilder().WithScheme(newScheme()).WithObjects(s).Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if tries++; tries <= faster {
				var other v1alpha1.Schedule
				if err := c.Get(ctx, client.ObjectKeyFromObject(o), &other); err != nil {
					return err
				}
				other.Spec.Requests = append(other.Spec.Requests, v1alpha1.ScheduleRequest{Name: "other-" + strings.Repeat("x", tries)})
				if err := c.Update(ctx, &other); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, p, options...)
		},
	})
	return &cmdline.Cluster{WithWatch: api, Namespace: "default"}, &tries
}

func TestAChangeThatLostARaceIsMadeAgainOnTheNewerOne(t *testing.T) {
	c, tries := cluster(t, 3)
	got, err := change(t.Context(), c, "tick", func(s *v1alpha1.Schedule) error {
		return addRequest(s, v1alpha1.ScheduleRequest{Name: "mine"})
	})
	if err != nil || *tries != 4 {
		t.Fatalf("%d tries: %v", *tries, err)
	}
	var names []string
	for _, r := range got.Spec.Requests {
		names = append(names, r.Name)
	}
	if want := "other-x other-xx other-xxx mine"; strings.Join(names, " ") != want {
		t.Errorf("requests %v, want %s: those of others stay", names, want)
	}
}

func TestAChangeGivesUpWhenOthersAreAlwaysFaster(t *testing.T) {
	c, tries := cluster(t, 1000)
	_, err := change(t.Context(), c, "tick", func(s *v1alpha1.Schedule) error {
		s.Spec.Suspend = true
		return nil
	})
	if !apierrors.IsConflict(err) || *tries != conflictBackoff.Steps {
		t.Errorf("%d tries, want %d and a conflict: %v", *tries, conflictBackoff.Steps, err)
	}
}

func TestAnEditThatChangesNothingOrFailsSendsNothing(t *testing.T) {
	c, tries := cluster(t, 0)
	if _, err := change(t.Context(), c, "tick", func(*v1alpha1.Schedule) error { return nil }); err != nil {
		t.Error(err)
	}
	refused := errors.New("no")
	if _, err := change(t.Context(), c, "tick", func(s *v1alpha1.Schedule) error { s.Spec.Suspend = true; return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "schedules"}, "tick", refused)
	if _, err := change(t.Context(), c, "tick", func(*v1alpha1.Schedule) error { return forbidden }); !apierrors.IsForbidden(err) {
		t.Error(err)
	}
	if *tries != 0 {
		t.Errorf("%d patches, want none", *tries)
	}
}

func TestAWaitEndsWhenItsRequestIsTakenOut(t *testing.T) {
	c, _ := cluster(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := waiting{
		asking: &asking{env: &cmdline.Env{Out: io.Discard, Err: io.Discard, Now: time.Now}}, cluster: c,
		schedule: "tick", asked: v1alpha1.ScheduleRequest{Name: "mine"}, planned: 1,
	}
	if err := w.run(ctx); err == nil || !strings.Contains(err.Error(), "request mine was taken out of schedule tick") {
		t.Errorf("got %v", err)
	}
}
