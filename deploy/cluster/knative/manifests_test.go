package knative

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

const testDigest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"

func testOptions() Options {
	refs := map[string]string{}
	for _, c := range Commands("..") {
		refs[c.Package] = "198.18.0.1:5000/" + c.Name + testDigest
	}
	return Options{
		ModuleDir: "..", Images: refs, Domain: "knit.localhost",
		IngressClass: "knit.ingress.networking.knative.dev", Registry: "198.18.0.1:5000",
	}
}

func testStages(t *testing.T) []Stage {
	t.Helper()
	stages, err := Manifests(t.Context(), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

func testObjects(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	var all []unstructured.Unstructured
	for _, s := range testStages(t) {
		all = append(all, s.Objects...)
	}
	return all
}

func convert[T any](t *testing.T, o unstructured.Unstructured) T {
	t.Helper()
	var out T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &out, true); err != nil {
		t.Fatalf("%s: %v", describe(&o), err)
	}
	return out
}

func TestStagesComeInOrder(t *testing.T) {
	var got []string
	for _, s := range testStages(t) {
		if len(s.Objects) == 0 {
			t.Errorf("stage %s is empty", s.Name)
		}
		got = append(got, fmt.Sprint(s.Name, " ", s.Wait))
	}
	want := []string{"namespaces 0", "definitions and settings 1", "workloads 0", "webhooks 2", "guarded objects 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefinitionsAreComplete(t *testing.T) {
	want := strings.Fields(`
		Service Route Configuration Revision DomainMapping
		PodAutoscaler Metric Ingress Certificate ServerlessService ClusterDomainClaim Image
		Broker Trigger EventType EventPolicy EventTransform RequestReply
		Channel Subscription InMemoryChannel Sequence Parallel
		PingSource ApiServerSource ContainerSource SinkBinding IntegrationSource
		JobSink IntegrationSink`)
	var got []string
	for _, o := range testObjects(t) {
		if o.GetKind() == "CustomResourceDefinition" {
			got = append(got, convert[apiextensionsv1.CustomResourceDefinition](t, o).Spec.Names.Kind)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// eachString calls f for every string value of the object.
func eachString(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			eachString(e, f)
		}
	case []any:
		for _, e := range v {
			eachString(e, f)
		}
	case string:
		f(v)
	}
}

// variable is what the overlay's files use; definitions explain $(VAR_NAME).
var variable = regexp.MustCompile(`\$\((DOMAIN|INGRESS_CLASS|REGISTRY|JSONATA_IMAGE)\)`)

func TestEveryImageIsResolvedAndEveryCommandUsed(t *testing.T) {
	used := map[string]bool{}
	for _, o := range testObjects(t) {
		eachString(o.Object, func(s string) {
			if strings.Contains(s, imagePrefix) || variable.MatchString(s) {
				t.Errorf("%s holds %q", describe(&o), s)
			}
			if image, ok := strings.CutPrefix(s, "198.18.0.1:5000/"); ok && strings.HasSuffix(image, testDigest) {
				used[strings.TrimSuffix(image, testDigest)] = true
			}
		})
	}
	for _, c := range Commands("..") {
		if !used[c.Name] {
			t.Errorf("no manifest names the image of %s", c.Package)
		}
	}
}

func TestMissingImageIsNamed(t *testing.T) {
	o := testOptions()
	delete(o.Images, "knative.dev/serving/cmd/queue")
	if _, err := Manifests(t.Context(), o); err == nil || !strings.Contains(err.Error(), "serving/cmd/queue") {
		t.Errorf("error %v", err)
	}
}

// pods are the pod templates of all workloads, by namespace/name.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for _, o := range testObjects(t) {
		key := o.GetNamespace() + "/" + o.GetName()
		want, replicas := int32(1), (*int32)(nil)
		switch o.GetKind() {
		case "Deployment":
			d := convert[appsv1.Deployment](t, o)
			out[key], replicas = d.Spec.Template, d.Spec.Replicas
		case "StatefulSet":
			d := convert[appsv1.StatefulSet](t, o)
			out[key], replicas = d.Spec.Template, d.Spec.Replicas
		default:
			continue
		}
		if key == "knative-eventing/pingsource-mt-adapter" {
			want = 0 // the controller starts it with the first PingSource
		}
		if replicas == nil || *replicas != want {
			t.Errorf("%s has %v replicas, want %d", key, replicas, want)
		}
	}
	return out
}

func TestWorkloadsFitOneNode(t *testing.T) {
	all := pods(t)
	if len(all) != 14 {
		t.Errorf("%d workloads, want 14", len(all))
	}
	for name, pod := range all {
		for _, c := range pod.Spec.Containers {
			if cpu, memory := c.Resources.Requests.Cpu(), c.Resources.Requests.Memory(); cpu.MilliValue() != 10 || memory.Value() != 32<<20 {
				t.Errorf("%s requests %s, %s", name, cpu, memory)
			}
			limit := int64(256 << 20)
			if name == "knative-eventing/imc-dispatcher" { // it holds the events
				limit = 1 << 30
			}
			if _, limited := c.Resources.Limits[corev1.ResourceCPU]; limited || c.Resources.Limits.Memory().Value() != limit {
				t.Errorf("%s has limits %v", name, c.Resources.Limits)
			}
			env := map[string]string{}
			for _, e := range c.Env {
				if _, twice := env[e.Name]; twice {
					t.Errorf("%s has %s twice", name, e.Name)
				}
				env[e.Name] = e.Value
			}
			for _, want := range []string{"GOGC", "GOMEMLIMIT", "KUBE_API_QPS", "KUBE_API_BURST", "SYSTEM_NAMESPACE"} {
				if _, ok := env[want]; !ok {
					t.Errorf("%s lacks %s", name, want)
				}
			}
			if p := c.ReadinessProbe; p != nil && (p.InitialDelaySeconds != 0 || p.PeriodSeconds != 1) {
				t.Errorf("%s: readiness is asked after %d s, every %d s", name, p.InitialDelaySeconds, p.PeriodSeconds)
			}
		}
	}
	for _, o := range testObjects(t) {
		if k := o.GetKind(); k == "HorizontalPodAutoscaler" || k == "PodDisruptionBudget" {
			t.Errorf("%s is there", describe(&o))
		}
	}
}

func TestWorkloadsMeetTheRestrictedProfile(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for name, pod := range pods(t) {
		if r := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)); !r.Allowed {
			t.Errorf("%s: %s", name, r.ForbiddenDetail())
		}
	}
	for _, o := range testObjects(t) {
		if o.GetKind() == "Namespace" && o.GetLabels()[psaapi.EnforceLevelLabel] != string(psaapi.LevelRestricted) {
			t.Errorf("%s does not enforce the profile", describe(&o))
		}
	}
}

func TestEveryWorkloadIsAComponent(t *testing.T) {
	ids, err := components()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, id := range ids {
		got = append(got, id.namespace+"/"+id.name)
	}
	for name := range pods(t) {
		want = append(want, name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReferencesOfPodsExist(t *testing.T) {
	have := map[string]bool{}
	for _, o := range testObjects(t) {
		have[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = true
		if o.GetKind() == "ConfigMap" {
			data, _, _ := unstructured.NestedMap(o.Object, "data")
			for k := range data {
				have["key "+o.GetNamespace()+"/"+o.GetName()+"/"+k] = true
			}
		}
	}
	for name, pod := range pods(t) {
		ns, _, _ := strings.Cut(name, "/")
		need := []string{"ServiceAccount " + ns + "/" + pod.Spec.ServiceAccountName}
		for _, c := range pod.Spec.Containers {
			for _, e := range c.Env {
				if r := e.ValueFrom; r != nil && r.ConfigMapKeyRef != nil {
					need = append(need, "key "+ns+"/"+r.ConfigMapKeyRef.Name+"/"+r.ConfigMapKeyRef.Key)
				}
			}
		}
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil {
				need = append(need, "Secret "+ns+"/"+v.Secret.SecretName)
			}
		}
		for _, n := range need {
			if !have[n] {
				t.Errorf("%s needs %s", name, n)
			}
		}
	}
}

func TestOptionsCannotBreakTheManifests(t *testing.T) {
	for reason, change := range map[string]func(*Options){
		"empty domain":        func(o *Options) { o.Domain = "" },
		"second line":         func(o *Options) { o.Registry = "a:1\n  evil: x" },
		"quote in the class":  func(o *Options) { o.IngressClass = `a"b` },
		"space in the domain": func(o *Options) { o.Domain = "a b" },
	} {
		o := testOptions()
		change(&o)
		if _, err := Manifests(t.Context(), o); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

func TestMissingModulesSayGoModDownload(t *testing.T) {
	dir := t.TempDir()
	mod := "module x\n\ngo 1.24\n\nrequire (\n"
	for _, s := range sources {
		mod += "\t" + s.module + " v0.0.1\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod+")\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	o := testOptions()
	o.ModuleDir = dir
	if _, err := Manifests(t.Context(), o); err == nil || !strings.Contains(err.Error(), "go mod download") {
		t.Errorf("error %v", err)
	}
}

func TestManifestsAreTheSameEveryTime(t *testing.T) {
	if diff := cmp.Diff(testStages(t), testStages(t)); diff != "" {
		t.Error(diff)
	}
}
