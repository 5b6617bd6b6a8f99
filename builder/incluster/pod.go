package incluster

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// LabelComponent marks build pods; the NetworkPolicy selects by it.
const (
	LabelComponent = "app.kubernetes.io/component"
	ComponentBuild = "build"
)

// userID is the user and the group of every phase with the platform's builder.
const userID = 1000

// stopSeconds is how long a deleted pod may take to stop: nothing of it is worth waiting for.
const stopSeconds = 5

// PodName is the name of a build's first pod: the same at every try to create it.
func PodName(b *v1alpha1.Build) string { return "build-" + string(b.UID) }

// RetryPodName is the name of the pod that replaces one which the cluster lost.
func RetryPodName(b *v1alpha1.Build) string { return PodName(b) + "-retry" }

// MakePod returns the pod of a build. The Build must have passed Check.
func MakePod(b *v1alpha1.Build, p Platform, name string) *corev1.Pod {
	phases := makePhases(b, p)
	last := len(phases) - 1
	user, group := p.ids()
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Namespace:   p.namespace(),
			Labels:      makeLabels(b),
			Annotations: makeAnnotations(b, p),
		},
		Spec: corev1.PodSpec{
			InitContainers:                phases[:last],
			Containers:                    phases[last:],
			Volumes:                       makeVolumes(b, p),
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         ptr.To(int64(p.deadline(b).Seconds())),
			TerminationGracePeriodSeconds: ptr.To(int64(stopSeconds)),
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser:           ptr.To(user),
				RunAsGroup:          ptr.To(group),
				RunAsNonRoot:        ptr.To(true),
				FSGroup:             ptr.To(group),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		},
	}
	if b.Spec.Source.Git != nil && b.Spec.Rebase == nil {
		fetchFromGit(pod, b, p)
	}
	return pod
}

func (p Platform) namespace() string {
	if p.Namespace == "" {
		return DefaultNamespace
	}
	return p.Namespace
}

func makeLabels(b *v1alpha1.Build) map[string]string {
	return map[string]string{
		LabelComponent:               ComponentBuild,
		"app.kubernetes.io/part-of":  "knit",
		v1alpha1.LabelBuildNamespace: b.Namespace,
		v1alpha1.LabelFunction:       b.Spec.Function,
	}
}

// makeAnnotations holds what is too long or too free for a label: the Build's
// name and the variables, which the kubelet writes into files.
func makeAnnotations(b *v1alpha1.Build, p Platform) map[string]string {
	annotations := map[string]string{v1alpha1.LabelBuild: b.Name}
	for i, env := range p.variables(b) {
		annotations[envAnnotation(i)] = env.Value
	}
	return annotations
}

// BuildOf is the namespace and name of the Build that a pod belongs to.
func BuildOf(pod metav1.Object) (namespace, name string, ok bool) {
	if pod.GetLabels()[LabelComponent] != ComponentBuild {
		return "", "", false
	}
	namespace, name = pod.GetLabels()[v1alpha1.LabelBuildNamespace], pod.GetAnnotations()[v1alpha1.LabelBuild]
	return namespace, name, namespace != "" && name != ""
}
