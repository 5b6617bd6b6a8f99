package cli

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/knit-dev/knit/deploy/manifests"
)

const testImage = "registry:5000/knit/controlplane@sha256:1111111111111111111111111111111111111111111111111111111111111111"

// deploymentOf renders an overlay and returns its Deployment.
func deploymentOf(t *testing.T, overlay string) (*appsv1.Deployment, []*unstructured.Unstructured) {
	t.Helper()
	objects, err := render(overlay, map[string]string{controlplaneImage: testImage})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			var d appsv1.Deployment
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &d, true); err != nil {
				t.Fatal(err)
			}
			return &d, objects
		}
	}
	t.Fatalf("overlay %s has no Deployment", overlay)
	return nil, nil
}

func TestEveryOverlayRunsWithoutPrivilege(t *testing.T) {
	for _, overlay := range manifests.Overlays {
		t.Run(overlay, func(t *testing.T) {
			d, objects := deploymentOf(t, overlay)
			pod := d.Spec.Template.Spec
			container := pod.Containers[0]
			if container.Image != testImage {
				t.Errorf("image = %s, want the given one", container.Image)
			}
			if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot {
				t.Error("runs as root")
			}
			s := container.SecurityContext
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				!cmp.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("security context = %+v, want a read-only root, no escalation, no capabilities", s)
			}
			if container.Resources.Limits.Memory().IsZero() || container.LivenessProbe == nil || container.ReadinessProbe == nil {
				t.Error("has no memory limit, or no probes")
			}
			for _, object := range objects {
				if object.GetKind() == "Namespace" && object.GetLabels()["pod-security.kubernetes.io/enforce"] != "restricted" {
					t.Errorf("namespace %s does not enforce the restricted level", object.GetName())
				}
			}
		})
	}
}

func TestNoRoleReachesForAnything(t *testing.T) {
	_, objects := deploymentOf(t, "cluster")
	for _, object := range objects {
		if object.GetKind() != "ClusterRole" && object.GetKind() != "Role" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(object.Object, "rules")
		for _, rule := range rules {
			for _, part := range []string{"apiGroups", "resources", "verbs"} {
				for _, value := range values(rule, part) {
					if strings.Contains(value, "*") {
						t.Errorf("%s has a wildcard in %s: %v", describe(object), part, rule)
					}
				}
			}
			if object.GetKind() == "ClusterRole" && tenantsData(rule) && !isNeeded(object.GetName(), rule) {
				t.Errorf("%s reaches for what is every tenant's: %v", describe(object), rule)
			}
		}
	}
}

func values(rule any, part string) []string {
	list, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), part)
	return list
}

func tenantsData(rule any) bool {
	return slices.ContainsFunc(values(rule, "resources"), func(resource string) bool {
		return slices.Contains([]string{"secrets", "configmaps", "pods", "pods/log", "pods/exec"}, resource)
	})
}

// neededOfTenants is all that the control plane has of tenants' data. Rights
// know neither metadata nor labels, so they cannot say the reasons themselves.
var neededOfTenants = []struct {
	reason, role     string
	resources, verbs []string
}{
	{"a change of what a Function refers to makes a revision; its metadata is watched",
		"knit-controlplane", []string{"secrets", "configmaps"}, []string{"get", "list", "watch"}},
	{"why a revision does not start", "knit-controlplane", []string{"pods"}, []string{"list"}},
	{"the logs of replicas outlive them", "knit-function-logs", []string{"pods"}, []string{"list", "watch"}},
	{"the logs of replicas outlive them", "knit-function-logs", []string{"pods/log"}, []string{"get"}},
}

func isNeeded(role string, rule any) bool {
	for _, n := range neededOfTenants {
		if role == n.role && slices.Equal(values(rule, "resources"), n.resources) && slices.Equal(values(rule, "verbs"), n.verbs) {
			return true
		}
	}
	return false
}

func TestObjectsAreAppliedInAnOrderThatWorks(t *testing.T) {
	_, objects := deploymentOf(t, "istio")
	parts := split(objects)
	got := map[string]int{}
	total := 0
	for n, part := range parts {
		total += len(part)
		for _, object := range part {
			got[object.GetKind()] = n
		}
	}
	if total != len(objects) {
		t.Errorf("%d objects in stages, want %d", total, len(objects))
	}
	for _, pair := range [][2]string{{"Namespace", "ServiceAccount"}, {"CustomResourceDefinition", "Deployment"}, {"ClusterRoleBinding", "Deployment"}} {
		if got[pair[0]] >= got[pair[1]] {
			t.Errorf("%s is applied in stage %d, not before %s in %d", pair[0], got[pair[0]], pair[1], got[pair[1]])
		}
	}
	for _, object := range parts[0] {
		if object.GetLabels()["istio-injection"] != "disabled" {
			t.Errorf("%s has no istio-injection=disabled: a sidecar would keep builds from ending", describe(object))
		}
	}
}

func TestOtherSettingsAreOtherPods(t *testing.T) {
	_, objects := deploymentOf(t, "embedded")
	if err := stampSettings(objects, "abc"); err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		stamp, found, _ := unstructured.NestedString(object.Object, "spec", "template", "metadata", "annotations", "knit.dev/settings")
		if want := object.GetKind() == "Deployment"; found != want || found && stamp != "abc" {
			t.Errorf("%s: stamp %q, found %v", describe(object), stamp, found)
		}
	}
}

func TestImageReferences(t *testing.T) {
	cases := map[string]struct{ ref, name, tag, digest string }{
		"digest":              {ref: "r:5000/a@sha256:x", name: "r:5000/a", digest: "sha256:x"},
		"tag":                 {ref: "r/a:v1", name: "r/a", tag: "v1"},
		"port and no tag":     {ref: "r:5000/a", name: "r:5000/a"},
		"port and tag":        {ref: "r:5000/a:v1", name: "r:5000/a", tag: "v1"},
		"a name and no host ": {ref: "a", name: "a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := imageOf("n", c.ref)
			if got.NewName != c.name || got.NewTag != c.tag || got.Digest != c.digest {
				t.Errorf("imageOf(%q) = %+v", c.ref, got)
			}
		})
	}
}

func TestClusterRangesAreDeniedToBuilds(t *testing.T) {
	services := []networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12", "fd00::/112"}}}}
	nodes := []corev1.Node{
		{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24"}}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "203.0.113.7"}, {Type: corev1.NodeHostName, Address: "node-1"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.7"}}}},
	}
	var got []string
	for _, prefix := range rangesOf(services, nodes) {
		got = append(got, prefix.String())
	}
	want := []string{"10.1.0.0/24", "10.96.0.0/12", "203.0.113.7/32", "fd00::/112"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestRegistryLogin(t *testing.T) {
	cases := map[string]struct{ config, user, password, fails string }{
		"encoded":        {config: `{"auths":{"r:5000":{"auth":"a25pdDpzZWM6cmV0"}}}`, user: "knit", password: "sec:ret"},
		"plain":          {config: `{"auths":{"r:5000":{"username":"knit","password":"secret"}}}`, user: "knit", password: "secret"},
		"none":           {},
		"of another":     {config: `{"auths":{"other":{"auth":"x"}}}`, fails: "no login for r:5000, only for other"},
		"no json":        {config: `x`, fails: "no docker config.json"},
		"no user":        {config: `{"auths":{"r:5000":{"auth":"eA=="}}}`, fails: "not base64 of user:password"},
		"broken base 64": {config: `{"auths":{"r:5000":{"auth":"%"}}}`, fails: "not base64 of user:password"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			user, password, err := platform{Registry: "r:5000", DockerConfig: []byte(c.config)}.login()
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error = %v, want one with %q", err, c.fails)
				}
				return
			}
			if err != nil || user != c.user || password != c.password {
				t.Errorf("login = %q, %q, %v; want %q, %q", user, password, err, c.user, c.password)
			}
		})
	}
}

// What a later `knit install` is not told, it keeps.
func TestGitSettings(t *testing.T) {
	installed := gitSettings{Hosts: "github.com", Ranges: "10.0.0.0/24", KnownHosts: "k"}
	cases := map[string]struct {
		args []string
		want gitSettings
		err  string
	}{
		"kept":     {nil, installed, ""},
		"replaced": {[]string{"--git-allowed-cidrs=10.1.2.3/32"}, gitSettings{Hosts: "github.com", Ranges: "10.1.2.3/32", KnownHosts: "k"}, ""},
		"removed":  {[]string{"--git-allowed-cidrs=", "--git-allowed-hosts=", "--git-known-hosts="}, gitSettings{}, ""},
		"refused":  {[]string{"--git-allowed-cidrs=0.0.0.0/0"}, gitSettings{}, "never allowed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var g gitFlags
			flags := pflag.NewFlagSet("install", pflag.ContinueOnError)
			g.add(flags)
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			got, err := g.over(installed)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			data := map[string]string{}
			if got.write(data); err != nil || readGitSettings(data) != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
			if rules := got.policy().Spec.Egress; (len(rules) > 0) != (c.want.Ranges != "") {
				t.Errorf("the fence has the rules %v", rules)
			}
		})
	}
}
