package incluster

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// LabelSource marks pods whose source comes from a git repository: a
// NetworkPolicy of their own opens the ranges that the platform allows.
const (
	LabelSource = "build.knit.dev/source"
	SourceGit   = "git"
)

const (
	volumeGitLogin = "git-login"
	pathGitLogin   = "/git-login"
)

// checkGit refuses an address that the platform does not go to. The fetch
// program checks again, with the addresses that it really dials.
func checkGit(s v1alpha1.BuildSource, p Platform) error {
	if err := s.Git.Validate(field.NewPath("source", "git"), s.Include).ToAggregate(); err != nil {
		return err
	}
	address, err := gitsource.Parse(s.Git.URL)
	if err == nil {
		err = p.Git.Check(address)
	}
	if err != nil {
		return fmt.Errorf("source.git.url %s: %w", address, err)
	}
	return nil
}

// fetchFromGit turns the first phase of a pod into one that clones. It talks to
// a server of the tenant's choice, so it does not hold the registry's login.
func fetchFromGit(pod *corev1.Pod, b *v1alpha1.Build, p Platform) {
	pod.Labels[LabelSource] = SourceGit
	fetch := &pod.Spec.InitContainers[0]
	fetch.Args = append(gitArguments(b.Spec.Source, p), sharedArguments()...)
	fetch.VolumeMounts = slices.DeleteFunc(fetch.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volumeCredentials })
	fetch.Env = slices.DeleteFunc(fetch.Env, func(e corev1.EnvVar) bool { return e.Name == "DOCKER_CONFIG" })
	if b.Spec.Source.Git.SecretName == "" {
		return
	}
	fetch.Args = append(fetch.Args, "-git-login="+pathGitLogin)
	fetch.VolumeMounts = append(fetch.VolumeMounts, readOnly(volumeGitLogin, pathGitLogin))
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volumeGitLogin, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: gitSecretName(pod.Name), DefaultMode: ptr.To(int32(0o440))},
	}})
}

// gitArguments are each one word, so that no value can become an option.
func gitArguments(s v1alpha1.BuildSource, p Platform) []string {
	args := []string{"-git-url=" + s.Git.URL, "-dir=" + fetchWorkspace}
	add := func(name, value string) {
		if value != "" {
			args = append(args, "-"+name+"="+value)
		}
	}
	add("git-revision", s.Git.Revision)
	add("git-path", s.Git.Path)
	for _, include := range s.Include {
		add("git-include", include)
	}
	if s.Git.Submodules {
		add("git-submodules", "true")
	}
	add("git-allowed-hosts", strings.Join(p.Git.Hosts, ","))
	ranges := make([]string, 0, len(p.Git.Ranges))
	for _, r := range p.Git.Ranges {
		ranges = append(ranges, r.String())
	}
	add("git-allowed-cidrs", strings.Join(ranges, ","))
	return args
}

// gitSecretName is the name of the Secret with a pod's git login.
func gitSecretName(pod string) string { return pod + "-git" }

// MakeGitSecret returns the copy of a git login that is mounted in the fetch
// phase of one pod. The pod owns it: the cluster removes it with the pod.
func MakeGitSecret(pod *corev1.Pod, login map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace,
			Name:      gitSecretName(pod.Name),
			Labels: map[string]string{
				LabelComponent:               ComponentBuild,
				"app.kubernetes.io/part-of":  "knit",
				v1alpha1.LabelBuildNamespace: pod.Labels[v1alpha1.LabelBuildNamespace],
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Type:      corev1.SecretTypeOpaque,
		Immutable: ptr.To(true),
		Data:      login,
	}
}
