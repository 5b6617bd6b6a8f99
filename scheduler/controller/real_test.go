package controller

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile/reconciletest"
)

// The intent, the result and the history must survive the schema of a real API
// server: what it prunes or rounds would be forgotten.
func TestOnARealClusterTheStatusIsKept(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	cluster := reconciletest.Real(t, scheme, filepath.Join("..", "..", "deploy", "manifests", "crds", "knit.dev_schedules.yaml"))
	s := &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "tick"},
		// Once a year, so that a controller of the cluster has nothing to do here.
		Spec: v1alpha1.ScheduleSpec{
			Cron: []string{"@yearly"}, Sink: v1alpha1.Destination{URI: "http://sink.example"},
			Event: v1alpha1.EventTemplate{Data: &runtime.RawExtension{Raw: []byte(`[1,{"deep":{"er":null}}]`)}},
		},
	}
	if err := cluster.Client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	year := time.Now().UTC().Year() + 1
	w := inWorld(t, cluster.Client, client.ObjectKeyFromObject(s), time.Date(year, 1, 1, 0, 0, 5, 0, time.UTC))
	for range 3 {
		if _, _, err := w.look(reconciletest.Crash{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
		t.Fatal(err)
	}
	if len(w.sent) != 1 || string(w.sent[0].Data()) != `[1,{"deep":{"er":null}}]` {
		t.Fatalf("sent %v", w.sent)
	}
	a := s.Status.LastActions
	if len(a) != 1 || a[0].Result != v1alpha1.ActionDelivered || a[0].ID != w.sent[0].ID() || !s.Status.LastHandledTime.Equal(&a[0].PlannedTime) {
		t.Errorf("status %+v", s.Status)
	}
	s.Spec.Cron = []string{"TZ=UTC"}
	if err := w.api.Update(t.Context(), s); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.cron") {
		t.Errorf("a line that the library panics on: %v", err)
	}
}
