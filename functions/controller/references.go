package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

// reference is a Secret or ConfigMap that a Function's pods read.
type reference struct {
	kind, name string
	// optional is whether every use of it can do without it.
	optional bool
}

// The kinds of references.
const (
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
)

// annotationConfiguration is on a revision's template: a digest of the versions
// of what it refers to. Another version makes another revision, as another
// image would: pods read environment variables only when they start.
const annotationConfiguration = "knit.dev/configuration"

// references lists what a Function refers to, each once and in order.
func references(spec *v1alpha1.FunctionSpec) []reference {
	var all []reference
	add := func(kind, name string, optional *bool) {
		if name != "" {
			all = append(all, reference{kind, name, optional != nil && *optional})
		}
	}
	for _, env := range spec.Env {
		if from := env.ValueFrom; from != nil && from.SecretKeyRef != nil {
			add(kindSecret, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
		} else if from != nil && from.ConfigMapKeyRef != nil {
			add(kindConfigMap, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		}
	}
	for _, from := range spec.EnvFrom {
		if from.SecretRef != nil {
			add(kindSecret, from.SecretRef.Name, from.SecretRef.Optional)
		}
		if from.ConfigMapRef != nil {
			add(kindConfigMap, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		}
	}
	for _, volume := range spec.Volumes {
		if volume.Secret != nil {
			add(kindSecret, volume.Secret.SecretName, volume.Secret.Optional)
		}
		if volume.ConfigMap != nil {
			add(kindConfigMap, volume.ConfigMap.Name, volume.ConfigMap.Optional)
		}
	}
	return merge(all)
}

// merge sorts references and joins those to the same object: one use that
// cannot do without it is enough.
func merge(all []reference) []reference {
	slices.SortFunc(all, func(a, b reference) int { return strings.Compare(a.kind+"/"+a.name, b.kind+"/"+b.name) })
	var merged []reference
	for _, r := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].kind == r.kind && merged[last].name == r.name {
			merged[last].optional = merged[last].optional && r.optional
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// configuration is a digest of the versions of everything that a Function
// refers to, empty when that is nothing. It reads names and versions, never
// contents. What is missing and needed ends the step with a condition.
func (r *Reconciler) configuration(ctx context.Context, fn *v1alpha1.Function) (string, error) {
	refs := references(&fn.Spec)
	if len(refs) == 0 {
		return "", nil
	}
	hash := sha256.New()
	var missing []string
	for _, ref := range refs {
		version, err := r.version(ctx, fn.Namespace, ref)
		if err != nil {
			return "", err
		}
		if version == "" && !ref.optional {
			missing = append(missing, fmt.Sprintf("%s %s/%s", ref.kind, fn.Namespace, ref.name))
		}
		fmt.Fprintf(hash, "%s/%s=%s\n", ref.kind, ref.name, version)
	}
	if len(missing) > 0 {
		message := fmt.Sprintf("%s is not there; create it, or mark the reference optional", strings.Join(missing, ", "))
		fn.Set(v1alpha1.False(v1alpha1.ConditionDeployed, v1alpha1.ReasonReferenceNotFound, message))
		return "", reconcile.Wait(message, 0)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// version identifies the present content of an object; empty when there is none.
func (r *Reconciler) version(ctx context.Context, namespace string, ref reference) (string, error) {
	object := metadataOf(ref.kind)
	key := client.ObjectKey{Namespace: namespace, Name: ref.name}
	err := r.references.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the metadata of %s %s: %w", ref.kind, key, err)
	}
	return string(object.UID) + ":" + object.ResourceVersion, nil
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return object
}

// functionsOfReference finds the Functions that read a Secret or ConfigMap.
func (r *Reconciler) functionsOfReference(kind string) func(context.Context, *metav1.PartialObjectMetadata) []ctrl.Request {
	return func(ctx context.Context, object *metav1.PartialObjectMetadata) []ctrl.Request {
		return r.requests(ctx, func(fn *v1alpha1.Function) bool {
			return slices.ContainsFunc(references(&fn.Spec), func(ref reference) bool {
				return ref.kind == kind && ref.name == object.Name
			})
		}, client.InNamespace(object.Namespace))
	}
}

// stripReference keeps of an object what a reference needs, so that the names
// and versions of all Secrets of a large cluster fit into a small cache.
func stripReference(object any) (any, error) {
	metadata, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	metadata.ObjectMeta = metav1.ObjectMeta{
		Namespace: metadata.Namespace, Name: metadata.Name,
		UID: types.UID(strings.Clone(string(metadata.UID))), ResourceVersion: metadata.ResourceVersion,
	}
	return metadata, nil
}
