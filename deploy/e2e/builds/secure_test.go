//go:build e2e

package builds

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// findings fails the test for everything that the hostile program got hold of.
func findings(t *testing.T, log string) {
	t.Helper()
	if strings.Contains(log, s.registry.Password) {
		t.Error("the log holds the registry's password")
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "FOUND") {
			t.Errorf("hostile code %s", strings.TrimSpace(line))
		}
	}
}

// targets are addresses that no build may reach.
func targets(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	var all []string
	services, err := s.Kube.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range services.Items {
		for _, port := range service.Spec.Ports {
			if strings.Contains(service.Spec.ClusterIP, ".") && port.Protocol == "TCP" && port.Port != 53 {
				all = append(all, fmt.Sprintf("%s:%d", service.Spec.ClusterIP, port.Port))
			}
		}
	}
	pods, err := s.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Spec.Containers {
			for _, port := range c.Ports {
				if pod.Status.PodIP != "" && port.Protocol == "TCP" && pod.Namespace != v1alpha1.NamespaceBuilds {
					all = append(all, fmt.Sprintf("%s:%d", pod.Status.PodIP, port.ContainerPort))
				}
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d pods and services to look for: %v", len(all), all)
	}
	all = all[:min(len(all), 100)]
	node, _, _ := strings.Cut(s.registry.Host, ":")
	// The API server, kubelet and its read-only port, etcd, controllers, proxy,
	// gateway (all of its ports), ssh of the node; the machine itself.
	for _, port := range []int{6443, 10250, 10255, 10248, 10256, 10257, 10259, 2379, 2380, 2381, 80, 443, 8080, 8443, 8081, 8082, 18095, 22, 8012, 9090} {
		all = append(all, fmt.Sprintf("%s:%d", node, port), fmt.Sprintf("%s:%d", strings.TrimSuffix(node, ".1")+".2", port))
	}
	return strings.Join(append(all, "169.254.169.254:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "127.0.0.1:6443", "127.0.0.1:10248"), " ")
}

// parts cuts a list of words into texts of at most size bytes.
func parts(list string, size int) []string {
	var cut []string
	for len(list) > size {
		end := strings.LastIndex(list[:size], " ")
		cut, list = append(cut, list[:end]), list[end+1:]
	}
	return append(cut, list)
}

func TestHostileCodeFindsNothing(t *testing.T) {
	t.Parallel()
	ns := s.Namespace(t)
	env := map[string]string{"REGISTRY": s.registry.Host, "VICTIM": "/v2/knit/builder/manifests/latest"}
	for i, part := range parts(targets(t), 4000) { // a variable has 4 KiB
		env[fmt.Sprintf("TARGETS%d", i)] = part
	}
	looked := func(b *v1alpha1.Build, phase v1alpha1.PhaseName) {
		t.Helper()
		log := s.log(t, b, phase)
		findings(t, log)
		if !strings.Contains(log, "LOOKED everywhere") || !strings.Contains(log, "MADE raise") {
			t.Errorf("in phase %s it did not look:\n%s", phase, log)
		}
	}
	with := func(key, attacks string) map[string]string {
		all := maps.Clone(env)
		all[key] = attacks
		return all
	}
	// The lifecycle shows what a detect says only when it fails.
	detect := s.start(t, order{namespace: ns, function: "detect", hostile: true, env: with("ATTACK_DETECT", "look,raise,fail")})
	build := s.start(t, order{namespace: ns, function: "build", hostile: true, env: with("ATTACK", "look,raise")})
	s.mustFail(t, detect, "DetectFailed")
	looked(detect, v1alpha1.PhaseDetect)
	s.mustSucceed(t, build)
	looked(build, v1alpha1.PhaseBuild)
	for _, phase := range []v1alpha1.PhaseName{v1alpha1.PhaseAnalyze, v1alpha1.PhaseRestore, v1alpha1.PhaseExport} {
		findings(t, s.log(t, build, phase))
	}
}

// A build may leave whatever it likes below its layers: the phases that hold
// the login follow nothing of it to elsewhere.
func TestPlantedFilesLeadNowhere(t *testing.T) {
	t.Parallel()
	ns := s.Namespace(t)
	const bp, secret = "/layers/evil_hostile", "/registry-credentials"
	refused := map[string]struct{ attack, detect, words string }{
		"link-layer":  {attack: "link:" + bp + "=" + secret, words: "symbolic link"},
		"link-sha":    {attack: "link:" + bp + "/function.sha=" + secret + "/config.json", words: "function.sha"},
		"link-store":  {attack: "link:" + bp + "/store.toml=" + secret + "/config.json", words: "store.toml"},
		"link-sbom":   {attack: "link:/layers/sbom/cache=" + secret, words: "/layers/sbom/cache"},
		"link-kept":   {attack: "link:" + bp + "/kept=" + secret + ",write:" + bp + "/kept.toml=[types];launch=true;cache=true", words: "kept"},
		"above":       {attack: "write:/layers/group.toml=[[group]];id=\"..\";version=\"1\";api=\"0.10\"", words: "no id of a buildpack"},
		"label":       {attack: "label:io.buildpacks.lifecycle.metadata={}", words: "io.buildpacks.lifecycle.metadata"},
		"sparse":      {attack: "sparse", words: "MiB in all"},
		"link-detect": {detect: "link:" + bp + "/kept=/analyzed", words: "symbolic link"},
	}
	started := map[string]*v1alpha1.Build{}
	for name, c := range refused {
		started[name] = s.start(t, order{namespace: ns, function: name, hostile: true, env: map[string]string{"ATTACK": c.attack, "ATTACK_DETECT": c.detect}})
	}
	// These are let through, and lead to nothing.
	harmless := s.start(t, order{namespace: ns, function: "harmless", hostile: true, env: map[string]string{
		"ATTACK": "link:" + bp + "/function/login=" + secret + "/config.json,link:/workspace/login=" + secret + ",extended,message:" + strings.Repeat("f", 64),
	}})
	for name, c := range refused {
		s.mustFail(t, started[name], "Refused", c.words)
		if s.exists(t, ns+"/"+name+":latest") {
			t.Errorf("%s: an image was pushed", name)
		}
	}
	digest := s.mustSucceed(t, harmless)
	s.mustHoldNoSecret(t, ns+"/harmless@"+digest)
}

// exists asks the registry for an image.
func (s *stand) exists(t *testing.T, reference string) bool {
	t.Helper()
	options, done := s.registry.Remote(t.Context())
	defer done()
	ref, err := name.ParseReference(s.registry.Host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.Head(ref, options...)
	return err == nil
}

// mustHoldNoSecret looks through all layers of an image.
func (s *stand) mustHoldNoSecret(t *testing.T, reference string) {
	t.Helper()
	img, done, err := s.pull(t.Context(), s.registry.Host+"/"+reference)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`"auths"|` + regexp.QuoteMeta(s.registry.Password))
	if secret.Match(config) {
		t.Error("the image's configuration holds the login")
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, layer := range layers {
		stream, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for entries := tar.NewReader(stream); ; {
			header, err := entries.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(entries)
			if err != nil {
				t.Fatal(err)
			}
			if secret.Match(content) {
				t.Errorf("%s in the image holds the login", header.Name)
			}
			if header.Typeflag == tar.TypeSymlink && strings.HasPrefix(header.Linkname, "/registry-credentials") {
				links++
			}
			// Folders get the set-group-id bit from the volume; it gives nobody rights.
			if header.Typeflag == tar.TypeReg && header.Mode&0o6000 != 0 || strings.Contains(header.Name, "become-root") {
				t.Errorf("the image holds %s with mode %o of user %d", header.Name, header.Mode, header.Uid)
			}
		}
	}
	if links != 2 {
		t.Errorf("%d links to the login's place in the image, want the two that the build made: was the attack made at all?", links)
	}
}

// The build phase of one build, and the next build of the same function: what
// the first one leaves in cache and labels must not steer the second.
func TestOneBuildDoesNotSteerTheNext(t *testing.T) {
	t.Parallel()
	ns, other := s.Namespace(t), s.Namespace(t)
	victim := s.start(t, order{namespace: other, function: "victim", files: goFunction("secret of " + other)})
	s.mustSucceed(t, victim)
	image, cache := s.digest(t, other+"/victim:latest"), s.digest(t, other+"/victim/cache:latest")

	// A cached layer whose file would be the decisions of analyze, naming
	// another tenant's image as the base to build on.
	forged := fmt.Sprintf("[run-image];  reference = \"%s/%s/victim@%s\";  image = \"x\"", s.registry.Host, other, image)
	first := s.start(t, order{namespace: ns, function: "thief", hostile: true, env: map[string]string{"ATTACK": "cache:" + forged}})
	s.mustSucceed(t, first)
	second := s.start(t, order{namespace: ns, function: "thief", hostile: true, env: map[string]string{
		"ATTACK_DETECT": "link:/layers/evil_hostile/kept=/analyzed", "ATTACK": "write:/layers/analyzed.toml=" + forged,
	}})
	s.mustFail(t, second, "Refused", "symbolic link")
	// The copy of the decisions that detect may change, naming the same.
	third := s.start(t, order{namespace: ns, function: "thief", hostile: true, env: map[string]string{"ATTACK": "write:/layers/analyzed.toml=" + strings.ReplaceAll(forged, `"x"`, fmt.Sprintf(`"%s/%s/victim@%s"`, s.registry.Host, other, image))}})
	s.mustFail(t, third, "Refused", "does not offer")
	if s.digest(t, other+"/victim:latest") != image || s.digest(t, other+"/victim/cache:latest") != cache {
		t.Error("the image or the cache of another tenant changed")
	}
}

func (s *stand) digest(t *testing.T, reference string) string {
	t.Helper()
	img, done, err := s.pull(t.Context(), s.registry.Host+"/"+reference)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// What the trusted containers are given does not depend on anything that a
// tenant writes but names, and names cannot lead elsewhere.
func TestNamesCannotLeadToAnotherRepository(t *testing.T) {
	t.Parallel()
	ns := s.Namespace(t)
	for _, function := range []string{"../knit/builder", "a/b", "A", "x:latest", "x@sha256", ""} {
		b := &v1alpha1.Build{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: "n-"},
			Spec:       v1alpha1.BuildSpec{Function: function, Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: "sha256:" + strings.Repeat("0", 64)}}},
		}
		if err := s.api.Create(t.Context(), b); err == nil {
			t.Errorf("a Build for the function %q was taken", function)
		}
	}
	foreign := s.start(t, order{namespace: ns, function: "sources"})
	s.mustFail(t, foreign, "Invalid", "another name")
	unknown := &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: "n-"},
		Spec: v1alpha1.BuildSpec{
			Function: "x", BuilderImage: s.registry.Host + "/e2e/unknown:latest",
			Source: v1alpha1.BuildSource{Archive: v1alpha1.Archive{Digest: "sha256:" + strings.Repeat("0", 64)}},
		},
	}
	if err := s.api.Create(context.WithoutCancel(t.Context()), unknown); err != nil {
		t.Fatal(err)
	}
	s.mustFail(t, unknown, "Invalid", "is not allowed")
}

// What a builder image says of itself makes no build run as root, and no phase
// with the login read another tenant's image.
func TestBuilderCannotAskForMore(t *testing.T) {
	t.Parallel()
	ns, other := s.Namespace(t), s.Namespace(t)
	cases := map[string]struct {
		change func(*v1.Config)
		want   string
	}{
		"root": {func(c *v1.Config) { c.Env = append([]string{"CNB_USER_ID=0"}, c.Env...) }, "root"},
		"base": {func(c *v1.Config) {
			c.Labels["io.buildpacks.builder.metadata"] = regexp.MustCompile(`"image":"[^"]*/run-static@[^"]*"`).ReplaceAllString(
				c.Labels["io.buildpacks.builder.metadata"], `"image":"`+s.registry.Host+"/"+other+`/victim:latest"`)
		}, "allowed-run-images"},
		"words": {func(c *v1.Config) { c.Labels["io.buildpacks.builder.metadata"] = strings.Repeat("{", 1<<20) }, "builder"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, err := s.pushBuilder(t.Context(), name, c.change)
			if err != nil {
				t.Fatal(err)
			}
			b := s.start(t, order{namespace: ns, function: name, builder: image})
			s.Eventually(t, "refusal of the builder", func(ctx context.Context) (bool, error) {
				var now v1alpha1.Build
				if err := s.api.Get(ctx, client.ObjectKeyFromObject(b), &now); err != nil {
					return false, nil
				}
				if _, good := now.Done(); good || now.Status.PodName != "" {
					return false, errors.New("it is taken")
				}
				return strings.Contains(condition(&now).Message, c.want), nil
			})
			s.deleted(t, b)
		})
	}
}
