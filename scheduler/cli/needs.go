package cli

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// sinkScheme knows the kinds of sinks besides those of Knit, without their fields.
func sinkScheme() *runtime.Scheme {
	scheme := newScheme()
	for _, k := range sinkKinds {
		if gvk := schema.FromAPIVersionAndKind(k.apiVersion, k.kind); !scheme.Recognizes(gvk) {
			scheme.AddKnownTypeWithName(gvk, &unstructured.Unstructured{})
		}
	}
	return scheme
}

// note tells when the sink is not there. That is no mistake: the scheduler waits
// for it. Whoever may not read it is told nothing.
func (c *creation) note(ctx context.Context, cluster *cmdline.Cluster, s *v1alpha1.Schedule) {
	ref := s.Spec.Sink.Ref
	if ref == nil {
		return
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind))
	err := cluster.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: ref.Name}, object)
	if cmdline.Code(err) == cmdline.ExitNotFound {
		fmt.Fprintf(c.Env.Err, "note: there is no %s in namespace %s yet, and nothing can be sent before; check the name, or create it\n", sinkText(s.Spec.Sink), s.Namespace)
	}
}
