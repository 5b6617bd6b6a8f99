package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// find returns the object of a name in the working namespace. Two objects of
// different kinds may have it; then nobody but the caller can choose.
func (n noun) find(ctx context.Context, c *cmdline.Cluster, kinds []kind, name string) (*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	var failures []error
	for _, k := range kinds {
		object := k.object()
		err := c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, object)
		switch {
		case err == nil:
			found = append(found, object)
		case cmdline.Code(err) != cmdline.ExitNotFound:
			failures = append(failures, explain(fmt.Errorf("read %s %s in namespace %s: %w", n.word, name, c.Namespace, err)))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		err := fmt.Errorf("%s is the name of %d %s in namespace %s: %s", name, len(found), n.plural, c.Namespace, kindNames(found))
		return nil, cmdline.Advise(cmdline.Usage(err), "choose one with --kind")
	case len(failures) > 0:
		return nil, errors.Join(failures...)
	}
	err := cmdline.NotFound(fmt.Errorf("there is no %s %s in namespace %s", n.word, name, c.Namespace))
	return nil, cmdline.Advise(err, "see what there is with `knit %s list -n %s`, or in all namespaces with -A", n.word, c.Namespace)
}

func kindNames(objects []*unstructured.Unstructured) string {
	var names []string
	for _, object := range objects {
		names = append(names, object.GetKind())
	}
	return strings.Join(names, ", ")
}

// choose returns the kind of a name, in any case, out of kinds; what they are
// is said in the error.
func choose(kinds []kind, name, what string) (kind, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return strings.EqualFold(k.Kind, name) })
	if i >= 0 {
		return kinds[i], nil
	}
	var names []string
	for _, k := range kinds {
		names = append(names, k.Kind)
	}
	return kind{}, cmdline.Usagef("%q is no installed kind of %s; there are %s", name, what, strings.Join(names, ", "))
}

// addKind declares --kind on a command about named objects, for nouns of more kinds.
func addKind(env *cmdline.Env, cmd *cobra.Command, n noun, name *string) {
	if n.choice == "" {
		return
	}
	cmd.Flags().StringVar(name, "kind", "", n.choice)
	completeKinds(env, cmd, n)
}

// completeKinds completes --kind.
func completeKinds(env *cmdline.Env, cmd *cobra.Command, n noun) {
	complete := cmdline.Complete(env, newScheme, true, func(ctx context.Context, c *cmdline.Cluster) ([]string, error) {
		kinds, err := n.kinds(ctx, quiet(env), c)
		var names []string
		for _, k := range kinds {
			names = append(names, k.Kind)
		}
		return names, err
	})
	_ = cmd.RegisterFlagCompletionFunc("kind", complete)
}

// completeNames completes names of a noun's objects.
func completeNames(env *cmdline.Env, n noun, many bool) cobra.CompletionFunc {
	return cmdline.Complete(env, newScheme, many, func(ctx context.Context, c *cmdline.Cluster) ([]string, error) {
		kinds, err := n.kinds(ctx, quiet(env), c)
		if err != nil {
			return nil, err
		}
		objects, err := fetch(ctx, quiet(env), c, kinds, c.Namespace)
		var names []string
		for _, object := range objects {
			names = append(names, object.GetName())
		}
		return names, err
	})
}

// connectTo is connect for one kind of the noun, or for all when none is named.
func connectTo(ctx context.Context, env *cmdline.Env, n noun, kindName string) (*cmdline.Cluster, []kind, error) {
	cluster, kinds, err := connect(ctx, env, n)
	if err != nil || kindName == "" {
		return cluster, kinds, err
	}
	chosen, err := choose(kinds, kindName, n.word)
	return cluster, []kind{chosen}, err
}

// quiet is env without notes on standard error.
func quiet(env *cmdline.Env) *cmdline.Env {
	silent := *env
	silent.Err = io.Discard
	return &silent
}
