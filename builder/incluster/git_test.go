package incluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

func gitBuild(change ...func(*v1alpha1.Build)) *v1alpha1.Build {
	b := build()
	b.Spec.Source = v1alpha1.BuildSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/a/b"}}
	for _, c := range change {
		c(b)
	}
	return b
}

func TestFetchFromGit(t *testing.T) {
	p := platform()
	p.Git = gitsource.Policy{Hosts: []string{"git.example.com", "*.corp"}, Ranges: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")}}
	b := gitBuild(func(b *v1alpha1.Build) {
		b.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example.com/a/b", Revision: "v1", Path: "apps/fn", SecretName: "login", Submodules: true}
		b.Spec.Source.Include = []string{"apps/shared", "-x"}
	})
	pod := MakePod(b, p, "build-u1")
	fetch := container(t, pod, v1alpha1.PhaseFetch)
	want := []string{
		"-git-url=https://git.example.com/a/b", "-dir=/volumes/workspace/folder", "-git-revision=v1", "-git-path=apps/fn",
		"-git-include=apps/shared", "-git-include=-x", "-git-submodules=true", "-git-allowed-hosts=git.example.com,*.corp",
		"-git-allowed-cidrs=10.1.2.3/32", "-make=/volumes/workspace/folder,/volumes/layers/folder", "-message=/dev/termination-log", "-git-login=/git-login",
	}
	if diff := cmp.Diff(want, fetch.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	// Who talks to a server of a tenant's choice does not hold the registry's
	// login, and nobody but it holds that of the server.
	for _, c := range containers(pod) {
		wanted := ""
		if c.Name == "fetch" {
			wanted = "ro"
		}
		if got := mounted(c, volumeGitLogin); got != wanted {
			t.Errorf("%s sees the git login as %q, want %q", c.Name, got, wanted)
		}
	}
	if mounted(fetch, volumeCredentials) != "" || slices.ContainsFunc(fetch.Env, func(e corev1.EnvVar) bool { return e.Name == "DOCKER_CONFIG" }) {
		t.Error("fetch holds the registry's login")
	}
	if mounted(fetch, volumeCA) != "ro" {
		t.Error("fetch does not know the platform's certificate authorities")
	}
	last := pod.Spec.Volumes[len(pod.Spec.Volumes)-1]
	if last.Secret == nil || last.Secret.SecretName != "build-u1-git" || pod.Labels[LabelSource] != SourceGit {
		t.Errorf("volume %+v, labels %v", last, pod.Labels)
	}
	if public := MakePod(gitBuild(), platform(), "x"); len(public.Spec.Volumes) != len(pod.Spec.Volumes)-1 {
		t.Error("a build without a Secret has a volume for one")
	}
	if _, found := MakePod(build(), platform(), "x").Labels[LabelSource]; found {
		t.Error("a pushed source reaches the git servers' ranges")
	}
}

func TestGitSecretBelongsToItsPod(t *testing.T) {
	pod := MakePod(gitBuild(), platform(), "build-u1")
	pod.UID = "pod-uid"
	s := MakeGitSecret(pod, map[string][]byte{"password": []byte("x")})
	owner := s.OwnerReferences[0]
	if s.Namespace != "knit-builds" || s.Name != "build-u1-git" || owner.Kind != "Pod" || owner.Name != "build-u1" || owner.UID != "pod-uid" || !*s.Immutable {
		t.Errorf("%+v", s.ObjectMeta)
	}
}

func TestFunctionPathBecomesAVariable(t *testing.T) {
	value := func(b *v1alpha1.Build) string {
		got := "none"
		for _, v := range (Platform{}).variables(b) {
			if v.Name == "KNIT_FUNCTION_PATH" {
				got = v.Value
			}
		}
		return got
	}
	cases := map[string]struct {
		build *v1alpha1.Build
		want  string
	}{
		"the root":   {build(), "none"},
		"in archive": {func() *v1alpha1.Build { b := build(); b.Spec.Source.Archive.Path = "a/fn"; return b }(), "a/fn"},
		"git folder": {gitBuild(func(b *v1alpha1.Build) { b.Spec.Source.Git.Path = "fn" }), "none"},
		"git, shared": {gitBuild(func(b *v1alpha1.Build) {
			b.Spec.Source.Git.Path = "apps/fn"
			b.Spec.Source.Include = []string{"apps/x"}
		}), "fn"},
		"by the user": {gitBuild(func(b *v1alpha1.Build) { b.Spec.Env = []v1alpha1.BuildEnv{{Name: "KNIT_FUNCTION_PATH", Value: "../x"}} }), "none"},
	}
	for name, c := range cases {
		if got := value(c.build); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCheckGit(t *testing.T) {
	open := platform()
	own := platform()
	own.Git = gitsource.Policy{Hosts: []string{"*.example.com", "10.1.2.3"}, Ranges: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")}}
	cases := map[string]struct {
		platform Platform
		url      string
		want     string
	}{
		"public":               {open, "https://git.example.com/a", ""},
		"file":                 {open, "file:///etc", "knit deploy"},
		"loopback":             {open, "https://127.0.0.1/a", "not public"},
		"metadata":             {open, "https://169.254.169.254/a", "metadata"},
		"private":              {open, "https://10.1.2.3/a", "git-allowed-cidrs"},
		"private, allowed":     {own, "https://10.1.2.3/a", ""},
		"private, beside":      {own, "https://10.1.2.4/a", "git-allowed-cidrs"},
		"host not allowed":     {own, "https://github.com/a", "git-allowed-hosts"},
		"ssh without a Secret": {open, "git@git.example.com:a", "secretName"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := gitBuild(func(b *v1alpha1.Build) { b.Spec.Source.Git.URL = c.url })
			if err := Check(b, c.platform); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	out := build()
	out.Spec.Source.Archive.Path = "../x"
	if err := Check(out, open); err == nil {
		t.Error("a path out of the archive is taken")
	}
}

func TestGitPolicyOpensOnlyWhatIsAllowed(t *testing.T) {
	policy := MakeGitPolicy("knit-builds", []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")})
	rule := policy.Spec.Egress[0]
	if len(policy.Spec.Egress) != 1 || len(rule.To) != 1 || rule.To[0].IPBlock.CIDR != "10.1.2.0/24" || *rule.Ports[0].Protocol != corev1.ProtocolTCP {
		t.Errorf("rules %+v", policy.Spec.Egress)
	}
	if policy.Spec.PodSelector.MatchLabels[LabelSource] != SourceGit {
		t.Error("pods of pushed sources are let out as well")
	}
	if rules := MakeGitPolicy("knit-builds", nil).Spec.Egress; len(rules) != 0 {
		t.Errorf("without ranges: %v", rules)
	}
}
