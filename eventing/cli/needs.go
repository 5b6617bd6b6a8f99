package cli

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// need is an object that the new one refers to.
type need struct {
	word string // as a SINK names its kind
	ref  *duckv1.KReference
}

// sink reads the SINK of a flag, which must be there.
func (c *creation) sink(flag, raw string) (duckv1.Destination, error) {
	if raw == "" {
		return duckv1.Destination{}, cmdline.Usagef("say where events go: add --%s SINK", flag)
	}
	s, err := parseSink(raw)
	if err != nil {
		return duckv1.Destination{}, fmt.Errorf("--%s: %w", flag, err)
	}
	if ref := s.reference(c.namespace); ref != nil {
		c.needs = append(c.needs, need{s.word, ref})
	}
	return s.destination(c.namespace), nil
}

// optional is sink for a flag that may be left out.
func (c *creation) optional(flag, raw string) (*duckv1.Destination, error) {
	if raw == "" {
		return nil, nil
	}
	destination, err := c.sink(flag, raw)
	if err != nil {
		return nil, err
	}
	return &destination, nil
}

// note tells which objects that the new one refers to are not there. That is
// no mistake: Knative waits for them. Whoever may not read them is told nothing.
func (c *creation) note(ctx context.Context) {
	told := map[string]bool{}
	for _, n := range c.needs {
		what := n.word + " " + n.ref.Name
		if told[what] {
			continue
		}
		told[what] = true
		object := kind{GroupVersionKind: schema.FromAPIVersionAndKind(n.ref.APIVersion, n.ref.Kind)}.object()
		err := c.cluster.Get(ctx, client.ObjectKey{Namespace: n.ref.Namespace, Name: n.ref.Name}, object)
		if cmdline.Code(err) == cmdline.ExitNotFound {
			fmt.Fprintf(c.Env.Err, "note: there is no %s in namespace %s yet, and the %s is not ready before; %s\n", what, c.namespace, c.noun.word, n.remedy())
		}
	}
}

// remedy is how what is missing comes into being.
func (n need) remedy() string {
	switch n.word {
	case "function":
		return "deploy it with `knit deploy`"
	case "ksvc", "service":
		return "check the name, or create it"
	}
	return fmt.Sprintf("create it with `knit %s create %s`", n.word, n.ref.Name)
}
