package cli

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// showDifferences writes what a deployment would change: the fields of each object
// between what is there and what the API server would make of it, and whether an
// image would be built. Exit codes are those of kubectl diff.
func (d *deployment) showDifferences(ctx context.Context, wanted []client.Object) error {
	d.progress.Clear()
	different := false
	for _, object := range wanted {
		changed, err := d.showDifference(ctx, object)
		if err != nil {
			return err
		}
		different = different || changed
	}
	if different {
		return cmdline.Different()
	}
	return nil
}

func (d *deployment) showDifference(ctx context.Context, wanted client.Object) (different bool, err error) {
	kind, err := apiutil.GVKForObject(wanted, d.cluster.Scheme())
	if err != nil {
		return false, err
	}
	typed, err := d.cluster.Scheme().New(kind)
	if err != nil {
		return false, err
	}
	live := typed.(client.Object)
	err = d.cluster.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read %s %s in namespace %s: %w", strings.ToLower(kind.Kind), wanted.GetName(), wanted.GetNamespace(), err)
	}
	var before []byte
	if !apierrors.IsNotFound(err) {
		live.GetObjectKind().SetGroupVersionKind(kind) // which a typed client drops
		if before, err = fields(live); err != nil {
			return false, err
		}
	}
	after, err := fields(wanted)
	if err != nil {
		return false, err
	}
	name := path.Join(wanted.GetNamespace(), strings.ToLower(kind.Kind), wanted.GetName())
	text := diff.Diff("live/"+name, before, "deployed/"+name, after)
	if _, err := d.env.Out.Write(text); err != nil {
		return false, err
	}
	function, ok := wanted.(*v1alpha1.Function)
	if !ok || !function.Spec.Source.Built() {
		return len(text) > 0, nil
	}
	builds, err := d.foretell(ctx, function)
	return len(text) > 0 || builds, err
}

// fields are what people say of an object, as YAML: not its status, and not what
// the API server keeps for itself.
func fields(object client.Object) ([]byte, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object.GetName(), err)
	}
	delete(content, "status")
	for _, own := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(content, "metadata", own)
	}
	return yaml.Marshal(content)
}

// foretell writes whether the function would be built, and why, as a comment
// between differences. It reports whether an image would be made.
func (d *deployment) foretell(ctx context.Context, function *v1alpha1.Function) (bool, error) {
	var builds v1alpha1.BuildList
	if err := d.cluster.List(ctx, &builds, client.InNamespace(function.Namespace), client.MatchingLabels{v1alpha1.LabelFunction: function.Name}); err != nil {
		return false, fmt.Errorf("list the builds of function %s: %w", function.Name, err)
	}
	answer := decision.Foretell(function, builds.Items)
	text, makes := foretold(answer)
	_, err := fmt.Fprintf(d.env.Out, "# %s %s\n", function.Name, text)
	return makes, err
}

// foretold says in a sentence what a decision comes to.
func foretold(answer decision.Answer) (text string, makes bool) {
	if answer.Result == v1alpha1.DecisionReuse {
		return fmt.Sprintf("would not be built: %s since build %s", answer.Reason, answer.Against), false
	}
	if next := answer.Next; next != nil {
		if ended, _ := next.Done(); ended {
			return fmt.Sprintf("would not be built: build %s of the same failed; see `knit build explain %s`", next.Name, next.Name), false
		}
		return fmt.Sprintf("is being built already: build %s", next.Name), false
	}
	against := ""
	if answer.Against != "" {
		against = ", against build " + answer.Against
	}
	if answer.Result == v1alpha1.DecisionRebase {
		return "would be put on another base: " + answer.Reason + against, true
	}
	return "would be built: " + answer.Reason + against, true
}
