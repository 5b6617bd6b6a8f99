package incluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func platform() Platform {
	return Platform{
		Registry: "198.18.0.1:5000", BuilderImage: "198.18.0.1:5000/knit/builder@" + digest, FetchImage: "198.18.0.1:5000/knit/fetch@" + digest,
		Resources: DefaultResources(),
	}
}

func build() *v1alpha1.Build {
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: "alice", Name: strings.Repeat("long-name-", 10), UID: "u1"},
		Spec: v1alpha1.BuildSpec{
			Function: "hello",
			Source:   v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: digest}},
			Env:      []v1alpha1.BuildEnv{{Name: "_GOFLAGS_" + strings.Repeat("X", 200), Value: "-tags a\nb"}, {Name: "B"}},
		},
	}
}

func pod() *corev1.Pod { return MakePod(build(), platform(), PodName(build())) }

func containers(p *corev1.Pod) []corev1.Container {
	return slices.Concat(p.Spec.InitContainers, p.Spec.Containers)
}

func container(t *testing.T, p *corev1.Pod, phase v1alpha1.PhaseName) corev1.Container {
	t.Helper()
	for _, c := range containers(p) {
		if c.Name == string(phase) {
			return c
		}
	}
	t.Fatalf("there is no container %s", phase)
	return corev1.Container{}
}

// mounted is the mode of a volume in a container: "", "ro" or "rw".
func mounted(c corev1.Container, volume string) string {
	for _, m := range c.VolumeMounts {
		if m.Name == volume && m.ReadOnly {
			return "ro"
		}
		if m.Name == volume {
			return "rw"
		}
	}
	return ""
}

func TestPhasesAreInOrder(t *testing.T) {
	var got, want []v1alpha1.PhaseName
	for _, c := range containers(pod()) {
		got = append(got, v1alpha1.PhaseName(c.Name))
	}
	for _, phase := range Phases {
		want = append(want, phase.Container())
	}
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Error(diff)
	}
	if main := pod().Spec.Containers; len(main) != 1 || main[0].Name != "export" {
		t.Error("export must be the only main container: the pod succeeds when it does")
	}
}

func TestWhoSeesWhat(t *testing.T) {
	const no = ""
	want := map[v1alpha1.PhaseName]map[string]string{
		v1alpha1.PhaseFetch:   {volumeCredentials: "ro", volumeCA: "ro", volumeWorkspace: "rw", volumeLayers: "rw", volumeAnalyzed: no, volumeTool: no, volumeTmp: "rw", volumeBuildTmp: no, volumeHome: no, volumePlatformEnv: no},
		v1alpha1.PhaseAnalyze: {volumeCredentials: "ro", volumeCA: "ro", volumeWorkspace: no, volumeLayers: "rw", volumeAnalyzed: "rw", volumeTool: "rw", volumeTmp: "rw", volumeBuildTmp: no, volumeHome: no, volumePlatformEnv: no},
		v1alpha1.PhaseBuild:   {volumeCredentials: no, volumeCA: no, volumeWorkspace: "rw", volumeLayers: "rw", volumeAnalyzed: "ro", volumeTool: "ro", volumeTmp: no, volumeBuildTmp: "rw", volumeHome: "rw", volumePlatformEnv: "ro"},
		v1alpha1.PhaseExport:  {volumeCredentials: "ro", volumeCA: "ro", volumeWorkspace: "ro", volumeLayers: "rw", volumeAnalyzed: "rw", volumeTool: no, volumeTmp: "rw", volumeBuildTmp: no, volumeHome: no, volumePlatformEnv: no},
	}
	p := pod()
	for phase, volumes := range want {
		for volume, mode := range volumes {
			if got := mounted(container(t, p, phase), volume); got != mode {
				t.Errorf("%s sees volume %s as %q, want %q", phase, volume, got, mode)
			}
		}
	}
	for _, v := range p.Spec.Volumes {
		if _, known := want[v1alpha1.PhaseBuild][v.Name]; !known {
			t.Errorf("volume %s is in no table above", v.Name)
		}
	}
}

// Phases that run a tenant's code know no secret by any way that a container can.
func TestUntrustedPhasesHaveNoSecret(t *testing.T) {
	p := pod()
	if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
		t.Error("a service account token is mounted")
	}
	secret := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		if v.Secret != nil || v.Projected != nil || v.CSI != nil || v.HostPath != nil {
			secret[v.Name] = true
		}
	}
	for _, phase := range []v1alpha1.PhaseName{v1alpha1.PhaseDetect, v1alpha1.PhaseBuild} {
		c := container(t, p, phase.Container())
		for _, m := range c.VolumeMounts {
			if secret[m.Name] {
				t.Errorf("%s mounts %s", phase, m.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil || e.Name == "DOCKER_CONFIG" || e.Name == "CNB_REGISTRY_AUTH" {
				t.Errorf("%s has the variable %s", phase, e.Name)
			}
		}
		if len(c.EnvFrom) > 0 {
			t.Errorf("%s has envFrom", phase)
		}
	}
}

func TestPodIsRestricted(t *testing.T) {
	p := pod()
	for name, ok := range map[string]bool{
		"host network":  !p.Spec.HostNetwork,
		"host pids":     !p.Spec.HostPID,
		"host ipc":      !p.Spec.HostIPC,
		"service links": p.Spec.EnableServiceLinks != nil && !*p.Spec.EnableServiceLinks,
		"never again":   p.Spec.RestartPolicy == corev1.RestartPolicyNever,
		"user":          *p.Spec.SecurityContext.RunAsUser == 1000 && *p.Spec.SecurityContext.RunAsGroup == 1000 && *p.Spec.SecurityContext.FSGroup == 1000,
		"not root":      *p.Spec.SecurityContext.RunAsNonRoot,
		"seccomp":       p.Spec.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"deadline":      *p.Spec.ActiveDeadlineSeconds == 900,
		"namespace":     p.Namespace == "knit-builds",
	} {
		if !ok {
			t.Errorf("the pod lacks: %s", name)
		}
	}
	for _, v := range p.Spec.Volumes {
		if v.EmptyDir == nil && v.Secret == nil && v.ConfigMap == nil && v.DownwardAPI == nil {
			t.Errorf("volume %s is of a type that the restricted profile or this package refuses", v.Name)
		}
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			t.Errorf("volume %s has no limit", v.Name)
		}
	}
	for _, c := range containers(p) {
		s := c.SecurityContext
		for name, ok := range map[string]bool{
			"capabilities":   slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(s.Capabilities.Add) == 0,
			"escalation":     !*s.AllowPrivilegeEscalation,
			"privileged":     !*s.Privileged,
			"user":           *s.RunAsUser == 1000 && *s.RunAsGroup == 1000 && *s.RunAsNonRoot,
			"seccomp":        s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
			"read-only root": *s.ReadOnlyRootFilesystem,
			"memory limit":   !c.Resources.Limits.Memory().IsZero(),
			"disk limit":     !c.Resources.Limits.StorageEphemeral().IsZero(),
			"requests":       !c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(),
			"ports":          len(c.Ports) == 0,
			"image digest":   strings.Contains(c.Image, "@sha256:"),
		} {
			if !ok {
				t.Errorf("container %s lacks: %s", c.Name, name)
			}
		}
	}
}

func TestArguments(t *testing.T) {
	const repository = "198.18.0.1:5000/alice/hello"
	want := map[v1alpha1.PhaseName]string{
		v1alpha1.PhaseFetch: "-source=198.18.0.1:5000/alice/sources@" + digest + " -dir=/volumes/workspace/folder -make=/volumes/workspace/folder,/volumes/layers/folder -message=/dev/termination-log",
		v1alpha1.PhaseAnalyze: "/opt/knit/phase analyze -analyzed /analyzed/analyzed.toml -proposed /layers/analyzed.toml -restored /analyzed/restored.toml -install /knit/phase -message /dev/termination-log --" +
			" /cnb/lifecycle/analyzer -layers /layers -analyzed /analyzed/analyzed.toml -cache-image " + repository + "/cache:latest -previous-image " + repository + ":latest -tag " + repository + ":latest " + repository + ":build-u1" +
			" --then /cnb/lifecycle/restorer -layers /layers -analyzed /analyzed/analyzed.toml -group /analyzed/restored.toml -cache-image " + repository + "/cache:latest",
		v1alpha1.PhaseBuild: "/knit/phase build -analyzed /analyzed/analyzed.toml -proposed /layers/analyzed.toml -message /dev/termination-log --" +
			" /cnb/lifecycle/detector -app /workspace -layers /layers -platform /platform -analyzed /layers/analyzed.toml -group /layers/group.toml -plan /layers/plan.toml" +
			" --then /cnb/lifecycle/builder -app /workspace -layers /layers -platform /platform -analyzed /layers/analyzed.toml -group /layers/group.toml -plan /layers/plan.toml",
		v1alpha1.PhaseExport: "/opt/knit/phase export -analyzed /analyzed/analyzed.toml -proposed /layers/analyzed.toml -app /workspace -max-bytes 4294967296 --" +
			" /cnb/lifecycle/exporter -app /workspace -layers /layers -analyzed /analyzed/analyzed.toml -group /layers/group.toml -extended /analyzed/extended -project-metadata /analyzed/project-metadata.toml -cache-image " + repository + "/cache:latest -process-type web -report /dev/termination-log " + repository + ":build-u1 " + repository + ":latest",
	}
	p := pod()
	for phase, line := range want {
		c := container(t, p, phase)
		if got := strings.Join(slices.Concat(c.Command, c.Args), " "); got != line {
			t.Errorf("%s:\n got %s\nwant %s", phase, got, line)
		}
	}
}

func TestPrefixTagAndRunImage(t *testing.T) {
	b, p := build(), platform()
	b.Spec.Tag, p.Prefix, p.RunImage = "v1", "team/knit", "r/run@"+digest
	pod := MakePod(b, p, "x")
	analyze := strings.Join(container(t, pod, v1alpha1.PhaseAnalyze).Args, " ")
	for _, part := range []string{"-run-image r/run@" + digest, "198.18.0.1:5000/team/knit/alice/hello:v1"} {
		if !strings.Contains(analyze, part) {
			t.Errorf("%q lacks %q", analyze, part)
		}
	}
	if export := strings.Join(container(t, pod, v1alpha1.PhaseExport).Command, " "); !strings.HasSuffix(export, "-run-image r/run@"+digest+" --") {
		t.Errorf("%q does not allow the platform's run image", export)
	}
}

func TestARebaseRunsNoUserCode(t *testing.T) {
	b, p := build(), platform()
	b.Spec.Rebase, p.RunImage = &v1alpha1.BuildRebase{Digest: digest, RunImage: "x"}, "r/run@"+digest
	all := containers(MakePod(b, p, "x"))
	if len(all) != 1 || all[0].Name != "rebase" || all[0].Image != p.BuilderImage {
		t.Fatalf("containers %v", all)
	}
	const repository = "198.18.0.1:5000/alice/hello"
	want := "/cnb/lifecycle/rebaser -previous-image " + repository + "@" + digest + " -run-image r/run@" + digest +
		" -force -report /dev/termination-log " + repository + ":build-u1 " + repository + ":latest"
	if got := strings.Join(slices.Concat(all[0].Command, all[0].Args), " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if mounted(all[0], volumeCredentials) != "ro" || mounted(all[0], volumeWorkspace) != "" {
		t.Errorf("mounts %v", all[0].VolumeMounts)
	}
}

// Only the phases that run buildpacks run another builder's code; the login
// stays with the platform's lifecycle.
func TestAnotherBuilderGetsNoLogin(t *testing.T) {
	p := platform()
	p.Builder = &Builder{Image: "paketo@" + digest, UserID: 1001, GroupID: 1002, PlatformAPI: "0.12", RunImage: "paketo-run"}
	pod := MakePod(build(), p, "x")
	for _, phase := range Phases {
		c := container(t, pod, phase.Container())
		foreign := phase == v1alpha1.PhaseDetect || phase == v1alpha1.PhaseBuild
		if (c.Image == p.Builder.Image) != foreign || foreign && mounted(c, volumeCredentials) != "" {
			t.Errorf("%s runs %s with credentials %q", phase, c.Image, mounted(c, volumeCredentials))
		}
		if *c.SecurityContext.RunAsUser != 1001 || *c.SecurityContext.RunAsGroup != 1002 {
			t.Errorf("%s runs as %d:%d", phase, *c.SecurityContext.RunAsUser, *c.SecurityContext.RunAsGroup)
		}
		if phase != v1alpha1.PhaseFetch && variable(c, "CNB_PLATFORM_API") != "0.12" {
			t.Errorf("%s speaks %s", phase, variable(c, "CNB_PLATFORM_API"))
		}
	}
	if *pod.Spec.SecurityContext.FSGroup != 1002 {
		t.Error("the volumes belong to another group than the builder's")
	}
	if args := container(t, pod, v1alpha1.PhaseAnalyze).Args; !strings.Contains(strings.Join(args, " "), "-run-image paketo-run") {
		t.Errorf("analyze: %q", args)
	}
}

func TestChoosePlatformAPI(t *testing.T) {
	for want, supported := range map[string][]string{"0.13": {"0.9", "0.13", "0.14"}, "0.12": {"0.3", "0.12"}, "": {"0.3", "9.9"}} {
		if got := ChoosePlatformAPI(supported); got != want {
			t.Errorf("%v: %q, want %q", supported, got, want)
		}
	}
}

func variable(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func TestVariablesOfThePlatformAndTheBuild(t *testing.T) {
	b, p := build(), platform()
	b.Spec.Language = "go"
	b.Spec.Env = []v1alpha1.BuildEnv{{Name: "GOPROXY", Value: "mine"}}
	p.Env = []v1alpha1.BuildEnv{{Name: "GOPROXY", Value: "corp"}, {Name: "HTTP_PROXY", Value: "http://proxy"}}
	p.Proxies, p.IndexCA = p.Env[1:], "corp-ca"
	got := map[string]string{}
	for _, e := range p.variables(b) {
		got[e.Name] = e.Value
	}
	want := map[string]string{
		"GOPROXY": "mine", "HTTP_PROXY": "http://proxy", "KNIT_LANGUAGE": "go",
		"SSL_CERT_DIR": "/index-ca", "NODE_EXTRA_CA_CERTS": "/index-ca/ca.crt", "PIP_CERT": "/index-ca/ca.crt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	pod := MakePod(b, p, "x")
	if proxy := variable(container(t, pod, v1alpha1.PhaseExport), "HTTP_PROXY"); proxy != "http://proxy" {
		t.Errorf("export reaches the registry by the proxy %q", proxy)
	}
	if build := container(t, pod, v1alpha1.PhaseBuild); mounted(build, volumeIndexCA) != "ro" || mounted(container(t, pod, v1alpha1.PhaseExport), volumeIndexCA) != "" {
		t.Error("the authorities of indexes are for those who download packages")
	}
}

func TestPrivateRangesAreOpenedWithoutTheCluster(t *testing.T) {
	n := Network{Registry: "198.18.0.1:5000", Denied: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("10.1.2.9/32")}}
	n.Allowed = []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("10.64.0.0/10")}
	policy, err := MakePolicy("knit-builds", n)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{"10.1.2.3": true, "10.1.2.9": false, "10.1.3.3": false, "10.65.0.1": true, "10.96.0.1": false} {
		if got := allowed(t, policy, netip.MustParseAddr(address), 443); got != want {
			t.Errorf("%s allowed: %v, want %v", address, got, want)
		}
	}
	n.Allowed = []netip.Prefix{netip.MustParsePrefix("10.96.4.0/24")}
	if _, err := MakePolicy("knit-builds", n); err == nil || !strings.Contains(err.Error(), "10.96.0.0/16") {
		t.Errorf("a range of the cluster itself: %v", err)
	}
}

func TestVariablesBecomeFiles(t *testing.T) {
	b, p := build(), pod()
	for _, v := range p.Spec.Volumes {
		if v.Name != volumePlatformEnv {
			continue
		}
		for i, item := range v.DownwardAPI.Items {
			key := strings.TrimSuffix(strings.TrimPrefix(item.FieldRef.FieldPath, "metadata.annotations['"), "']")
			if item.Path != b.Spec.Env[i].Name || p.Annotations[key] != b.Spec.Env[i].Value {
				t.Errorf("file %s holds %q", item.Path, p.Annotations[key])
			}
		}
		if len(v.DownwardAPI.Items) != 2 {
			t.Errorf("%d files, want 2", len(v.DownwardAPI.Items))
		}
	}
}

func TestLanguageBecomesAVariable(t *testing.T) {
	b := build()
	b.Spec.Env = []v1alpha1.BuildEnv{{Name: "KNIT_LANGUAGE", Value: "cobol"}, {Name: "A", Value: "1"}}
	b.Spec.Language = v1alpha1.LanguageGo
	p := MakePod(b, platform(), "x")
	if got := []string{p.Annotations[envAnnotation(0)], p.Annotations[envAnnotation(1)], p.Annotations[envAnnotation(2)]}; !slices.Equal(got, []string{"go", "1", ""}) {
		t.Errorf("values %q, want A's and the language of the spec", got)
	}
}

func TestNamesAreAllowed(t *testing.T) {
	p := pod()
	for key, value := range p.Labels {
		if errs := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(errs) > 0 {
			t.Errorf("label %s=%s: %v", key, value, errs)
		}
	}
	for key := range p.Annotations {
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			t.Errorf("annotation %s: %v", key, errs)
		}
	}
	if namespace, name, ok := BuildOf(p); !ok || namespace != "alice" || name != build().Name {
		t.Errorf("BuildOf: %s/%s %v", namespace, name, ok)
	}
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		change func(*v1alpha1.Build)
		want   string
	}{
		"good":             {change: func(*v1alpha1.Build) {}},
		"platform builder": {change: func(b *v1alpha1.Build) { b.Spec.BuilderImage = platform().BuilderImage }},
		"other builder":    {change: func(b *v1alpha1.Build) { b.Spec.BuilderImage = "evil/x" }, want: "allowed-builders"},
		"earlier builder":  {change: func(b *v1alpha1.Build) { b.Spec.BuilderImage = "198.18.0.1:5000/knit/builder@sha256:old" }},
		"allowed builder":  {change: func(b *v1alpha1.Build) { b.Spec.BuilderImage = "paketobuildpacks/builder:latest" }},
		"platform's place": {change: func(b *v1alpha1.Build) { b.Namespace = "knit" }, want: "platform's own images"},
		"no digest":        {change: func(b *v1alpha1.Build) { b.Spec.Source.Archive.Digest = "" }, want: "knit deploy"},
		"much env":         {change: func(b *v1alpha1.Build) { b.Spec.Env[0].Value = strings.Repeat("x", maxEnvBytes) }, want: "env has"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := build()
			c.change(b)
			p := platform()
			p.AllowedBuilders = []string{"paketobuildpacks/*"}
			if err := Check(b, p); (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	policy, err := MakePolicy("knit-builds", Network{
		Registry: "198.18.0.1:5000", DNS: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/32")}, Denied: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		address string
		port    int32
		want    bool
	}{
		"registry":           {"198.18.0.1", 5000, true},
		"dns":                {"198.18.0.1", 53, true},
		"cluster api":        {"198.18.0.1", 6443, false},
		"kubelet":            {"198.18.0.1", 10250, false},
		"gateway":            {"198.18.0.1", 8081, false},
		"another pod":        {"198.18.4.4", 8080, false},
		"a service":          {"198.19.0.1", 443, false},
		"metadata":           {"169.254.169.254", 80, false},
		"office 10":          {"10.1.2.3", 443, false},
		"office 172":         {"172.31.0.1", 443, false},
		"office 192":         {"192.168.1.1", 80, false},
		"carrier":            {"100.64.0.1", 80, false},
		"api of its own":     {"203.0.113.7", 443, false},
		"module proxy":       {"142.250.1.1", 443, true},
		"public v6":          {"2607:f8b0::1", 443, true},
		"unique local v6":    {"fd00:ec2::254", 80, false},
		"loopback v6":        {"::1", 6443, false},
		"translated v4":      {"64:ff9b::a00:1", 443, false},
		"link local v6":      {"fe80::1", 443, false},
		"dns of somebody":    {"10.0.0.1", 53, false},
		"registry's friends": {"198.18.0.2", 5000, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := allowed(t, policy, netip.MustParseAddr(c.address), c.port); got != c.want {
				t.Errorf("%s:%d allowed: %v, want %v", c.address, c.port, got, c.want)
			}
		})
	}
	if len(policy.Spec.Ingress) != 0 || !slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Error("somebody can reach build pods")
	}
	if len(policy.Spec.PodSelector.MatchLabels) != 0 {
		t.Error("a pod of the namespace escapes the policy")
	}
}

// allowed is what NetworkPolicy says of egress by address.
func allowed(t *testing.T, policy *networkingv1.NetworkPolicy, to netip.Addr, port int32) bool {
	t.Helper()
	for _, rule := range policy.Spec.Egress {
		ports := len(rule.Ports) == 0
		for _, p := range rule.Ports {
			ports = ports || p.Port.IntVal == port
		}
		for _, peer := range rule.To {
			if ports && peer.IPBlock != nil && inBlock(t, peer.IPBlock, to) {
				return true
			}
		}
	}
	return false
}

func inBlock(t *testing.T, block *networkingv1.IPBlock, to netip.Addr) bool {
	t.Helper()
	outer := netip.MustParsePrefix(block.CIDR)
	for _, except := range block.Except {
		// The API refuses an exception that is not within its block.
		inner := netip.MustParsePrefix(except)
		if inner.Addr().Is4() != outer.Addr().Is4() || inner.Masked() != inner {
			t.Fatalf("exception %s of %s would be refused", except, block.CIDR)
		}
		if inner.Contains(to) {
			return false
		}
	}
	return outer.Contains(to)
}

func TestPolicyNeedsARegistry(t *testing.T) {
	if _, err := MakePolicy("x", Network{Registry: "host:port"}); err == nil {
		t.Error("a port that is no number was taken")
	}
	policy, err := MakePolicy("x", Network{Registry: "registry.example"})
	if err != nil {
		t.Fatal(err)
	}
	dns := policy.Spec.Egress[0].To[0]
	if dns.PodSelector == nil || dns.PodSelector.MatchLabels["k8s-app"] != "kube-dns" {
		t.Errorf("without addresses of DNS servers: %+v", dns)
	}
}
