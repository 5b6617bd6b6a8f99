package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func TestReferencesOfAFunction(t *testing.T) {
	name := func(n string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: n} }
	spec := v1alpha1.FunctionSpec{
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "x"},
			{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: name("s1"), Optional: ptr.To(true)}}},
			{Name: "B", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: name("c1")}}},
			{Name: "C", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		},
		EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: name("s1")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: name("c2"), Optional: ptr.To(true)}},
		},
		PodOptions: v1alpha1.PodOptions{Volumes: []v1alpha1.Volume{
			{Name: "a", Secret: &corev1.SecretVolumeSource{SecretName: "s2"}},
			{Name: "b", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: name("c2"), Optional: ptr.To(true)}},
			{Name: "c", EmptyDir: &corev1.EmptyDirVolumeSource{}},
		}},
	}
	want := []reference{
		{kindConfigMap, "c1", false}, {kindConfigMap, "c2", true},
		{kindSecret, "s1", false}, // one use can do without it, the other cannot
		{kindSecret, "s2", false},
	}
	if diff := cmp.Diff(want, references(&spec), cmp.AllowUnexported(reference{})); diff != "" {
		t.Error(diff)
	}
}

func withSecret(name string) option {
	return func(fn *v1alpha1.Function) {
		fn.Spec.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
	}
}

func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string][]byte{"K": []byte("1")}}
}

// service is the Knative Service as the API has it.
func (w *world) service() *servingv1.Service {
	w.t.Helper()
	var s servingv1.Service
	w.must(w.Get(w.t.Context(), client.ObjectKey{Namespace: "shop", Name: "hello"}, &s))
	return &s
}

func TestAnotherVersionOfASecretMakesAnotherRevision(t *testing.T) {
	w := newWorld(t, platform(), secret("login"), function(withSecret("login")))
	w.settle()
	before := w.service().Spec.Template.Annotations[annotationConfiguration]
	if before == "" {
		t.Fatal("the revision does not say what it was configured with")
	}
	w.settle()
	if again := w.service().Spec.Template.Annotations[annotationConfiguration]; again != before {
		t.Error("nothing changed, and the revision did")
	}
	changed := secret("login")
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(changed), changed))
	changed.Data["K"] = []byte("2")
	w.must(w.Update(t.Context(), changed))
	w.settle()
	if after := w.service().Spec.Template.Annotations[annotationConfiguration]; after == before {
		t.Error("the Secret changed, and the revision did not")
	}
}

func TestAMissingSecretIsNamedAndAwaited(t *testing.T) {
	w := newWorld(t, platform(), function(withSecret("login")))
	w.settle()
	fn := w.function()
	c := meta.FindStatusCondition(fn.Status.Conditions, v1alpha1.ConditionDeployed)
	if c == nil || c.Reason != v1alpha1.ReasonReferenceNotFound || c.Message == "" {
		t.Fatalf("condition %+v", c)
	}
	var services servingv1.ServiceList
	w.must(w.List(t.Context(), &services))
	if len(services.Items) != 0 {
		t.Error("it was deployed without its Secret")
	}
	w.must(w.Create(t.Context(), secret("login")))
	w.settle()
	if !w.function().Holds(v1alpha1.ConditionReady) {
		t.Errorf("the Secret is there and the Function not ready: %+v", w.function().Status.Conditions)
	}
}
