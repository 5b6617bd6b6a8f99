package cli

import (
	"context"
	"crypto/rand"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// lettersName is the name of the store of dead letters and of its login.
const lettersName = "knit-dead-letters"

// letterLogin is the Secret with the login to the store of dead letters, unless
// there is one. The control plane would make it, too; but a pod that waits for a
// Secret looks for it again only after ten seconds.
func letterLogin(ctx context.Context, c client.Client) ([]*unstructured.Unstructured, error) {
	login := &unstructured.Unstructured{Object: map[string]any{"stringData": map[string]any{"password": "k" + rand.Text()}}}
	login.SetAPIVersion("v1")
	login.SetKind("Secret")
	login.SetNamespace(systemNamespace)
	login.SetName(lettersName)
	err := c.Get(ctx, client.ObjectKeyFromObject(login), login.DeepCopy())
	if apierrors.IsNotFound(err) {
		return []*unstructured.Unstructured{login}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(login), err)
	}
	return nil, nil
}

// kept waits until every replica of a StatefulSet is of the wanted version and
// ready.
func kept(ctx context.Context, c client.Client, namespace, name string) error {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := waitFor(ctx, c, s, fmt.Sprintf("StatefulSet %s/%s", namespace, name), func() string {
		want := int32(1)
		if s.Spec.Replicas != nil {
			want = *s.Spec.Replicas
		}
		ready := min(s.Status.UpdatedReplicas, s.Status.ReadyReplicas)
		if s.Status.ObservedGeneration < s.Generation || ready < want {
			return fmt.Sprintf("%d of %d replicas are ready", ready, want)
		}
		return ""
	})
	if err != nil {
		return cmdline.Advise(err, "it needs a volume: look at `kubectl -n %s describe pvc,pods` and at the default of `kubectl get storageclass`", namespace)
	}
	return nil
}
