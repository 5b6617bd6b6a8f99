package controller

import (
	"fmt"
	"math"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// containerName is the one that Knative gives to a container without a name;
// said here so that the applied object is whole.
const containerName = "user-container"

// makeService is the Knative Service of a Function with an image.
//
// The digest of the source is on the Service and not on its revisions: a source
// that builds to the same image, a changed comment say, needs no new revision.
// configuration is the digest of what the Function refers to, and latestReady
// the revision that answers while nothing else is said.
func makeService(fn *v1alpha1.Function, configuration, latestReady string) *servingv1.Service {
	labels := map[string]string{v1alpha1.LabelFunction: fn.Name}
	if fn.Spec.Reach() == v1alpha1.VisibilityClusterLocal {
		labels[networking.VisibilityLabelKey] = serving.VisibilityClusterLocal
	}
	annotations := map[string]string{}
	if fn.Status.SourceDigest != "" {
		annotations[v1alpha1.AnnotationSourceDigest] = fn.Status.SourceDigest
	}
	template := scaling(fn.Spec.Scale)
	if fn.Spec.StartTimeout != nil {
		template[serving.ProgressDeadlineAnnotationKey] = progressDeadline(fn.Spec.TimeToListen()).String()
	}
	if configuration != "" {
		template[annotationConfiguration] = configuration
	}
	return &servingv1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: fn.Namespace, Name: fn.Name, Labels: labels, Annotations: annotations},
		Spec: servingv1.ServiceSpec{
			RouteSpec: servingv1.RouteSpec{Traffic: traffic(&fn.Spec, latestReady)},
			ConfigurationSpec: servingv1.ConfigurationSpec{
				Template: servingv1.RevisionTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{
						Labels:      map[string]string{v1alpha1.LabelFunction: fn.Name},
						Annotations: template,
					},
					Spec: servingv1.RevisionSpec{
						PodSpec:              podSpec(fn, fn.Status.Image),
						ContainerConcurrency: fn.Spec.Scale.Concurrency,
						TimeoutSeconds:       ptr.To(wholeSeconds(fn.Spec.RequestTimeout())),
					},
				},
			}},
	}
}

// podSpec runs the image with no more rights than a function needs: without
// capabilities, and without a token of the cluster unless the Function names
// the service account that it wants to be. An image that Knit built runs as
// an ordinary user; one that was given may be made for root.
func podSpec(fn *v1alpha1.Function, image string) corev1.PodSpec {
	security := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if fn.Spec.Source.Built() {
		security.RunAsNonRoot = ptr.To(true)
	}
	volumes, mounts := volumes(fn.Spec.Volumes)
	return corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(fn.Spec.ServiceAccountName != ""),
		ServiceAccountName:           fn.Spec.ServiceAccountName,
		EnableServiceLinks:           ptr.To(false),
		RuntimeClassName:             named(fn.Spec.RuntimeClassName),
		NodeSelector:                 fn.Spec.NodeSelector,
		Tolerations:                  fn.Spec.Tolerations,
		Volumes:                      volumes,
		Containers: []corev1.Container{{
			Name:            containerName,
			Image:           image,
			Env:             environment(fn),
			EnvFrom:         fn.Spec.EnvFrom,
			Resources:       fn.Spec.Resources,
			VolumeMounts:    mounts,
			SecurityContext: security,
		}},
	}
}

func named(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}

func volumes(wanted []v1alpha1.Volume) ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	for _, v := range wanted {
		volumes = append(volumes, corev1.Volume{Name: v.Name, VolumeSource: v.Source()})
		mounts = append(mounts, corev1.VolumeMount{
			Name: v.Name, MountPath: v.MountPath,
			// Knative refuses a writable mount of the two, which could not be written anyway.
			ReadOnly: v.ReadOnly || v.Secret != nil || v.ConfigMap != nil,
		})
	}
	return volumes, mounts
}

// environment tells the runtime the deadline that Knative keeps, too, and the SDK
// the namespace, in which it finds brokers and other functions; Knative gives the
// names K_SERVICE and K_REVISION itself. What the Function sets comes after and wins.
func environment(fn *v1alpha1.Function) []corev1.EnvVar {
	timeout := fmt.Sprintf("%ds", wholeSeconds(fn.Spec.RequestTimeout()))
	return append([]corev1.EnvVar{{Name: runtimeTimeout, Value: timeout}, {Name: runtimeNamespace, Value: fn.Namespace}}, fn.Spec.Env...)
}

// Settings of runtime/CONTRACT.md: the deadline of a request, and the function's
// namespace.
const (
	runtimeTimeout   = "KNIT_TIMEOUT"
	runtimeNamespace = "KNIT_NAMESPACE"
)

// scaling is a Function's scale as annotations of Knative's autoscaler.
func scaling(s v1alpha1.Scale) map[string]string {
	annotations := map[string]string{}
	number := func(key string, value *int32) {
		if value != nil {
			annotations[key] = strconv.Itoa(int(*value))
		}
	}
	number(autoscaling.MinScaleAnnotationKey, s.Min)
	number(autoscaling.InitialScaleAnnotationKey, s.Initial)
	number(autoscaling.MaxScaleAnnotationKey, s.Max)
	number(autoscaling.TargetBurstCapacityKey, s.Burst)
	number(autoscaling.TargetAnnotationKey, s.Target)
	if s.Metric != "" {
		annotations[autoscaling.MetricAnnotationKey] = string(s.Metric)
	}
	if s.IdleAfter != nil {
		annotations[autoscaling.ScaleToZeroPodRetentionPeriodKey] = s.IdleAfter.Duration.String()
	}
	return annotations
}

// beforeStart is how much longer than the start of its container a pod may take:
// a node has to be found, and an image pulled.
const beforeStart = 2 * time.Minute

// progressDeadline is when Knative gives a revision up, in whole seconds.
func progressDeadline(listen time.Duration) time.Duration {
	return time.Duration(wholeSeconds(listen+beforeStart)) * time.Second
}

func wholeSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
